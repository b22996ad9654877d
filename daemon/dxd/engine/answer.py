"""What the engine answers: a refusal, or a stream of JSON records."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from dxd.errors import EngineError

MAX_RECORD_BYTES = 16 << 20
"""A record that is larger than this is no answer of an engine; the largest that were seen are some 100 KiB."""


class Answer(EngineError):
    """The engine did not do what it was asked: `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the engine refuses: {message}")
        self.status = status
        self.reason = message


class Records:
    """The JSON objects of a stream, one a line, however the network cuts them.

    `read` gives the next bytes, none at the end. A stream that ends inside an object, or holds anything but objects,
    is `EngineError`; whether an end in between is a good one only the caller knows.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._buffer = bytearray()
        self._searched = 0

    def __aiter__(self) -> "Records":
        return self

    async def __anext__(self) -> dict[str, Any]:
        while True:
            if (end := self._buffer.find(b"\n", self._searched)) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
            elif data := await self._read():
                self._searched = len(self._buffer)
                self._buffer += data
                if self._searched > MAX_RECORD_BYTES:
                    raise EngineError("the engine sends a record without an end", "is it a container engine?")
                continue
            elif line := bytes(self._buffer):
                self._buffer.clear()
                self._searched = 0
            else:
                raise StopAsyncIteration
            if line := line.strip():
                return _record(line)


def error_in(record: dict[str, Any]) -> str:
    """Why the work of a stream has failed, where a record says so; empty where it does not."""
    error = record.get("errorDetail") or record.get("error")
    return str(error.get("message") or record.get("error") or error) if isinstance(error, dict) else str(error or "")


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise EngineError(f"the engine sends what is no record: {line[:80]!r}", "is it a container engine?")
    return record
