"""The log of one build: a file that is written line by line and never grows beyond `MAX_LOG_BYTES`.

The first half is written as it comes. What comes after waits in memory, where the latest takes the place of the
oldest, and is written at the end, below a line that says what is missing.
"""

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from pathlib import Path

from dxd.telemetry import get_logger

MAX_LOG_BYTES = 4 << 20
"""Where the log of a build is cut: 40,000 lines, ten times a long build's."""

MAX_LINE_BYTES = 4096
"""Of which the rest is left out."""

CHUNK_BYTES = 1 << 16

log = get_logger("store")

Submit = Callable[[Callable[[], None]], "Future[None]"]
"""Does something in the thread that writes."""


class LogFile:
    """A log that is being written; lines are taken on the loop, the file is touched in the thread."""

    def __init__(self, path: Path, submit: Submit, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._submit = submit
        self._half_bytes = max_bytes // 2
        self._head_bytes = 0
        self._pending: deque[bytes] = deque()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._lost_bytes = 0
        self._fd: int | None = None
        self._broken = False
        self._flush()  # so that there is a file from the beginning on

    def tell(self, text: str) -> None:
        """Add one or more lines; must neither block nor raise."""
        for each in text.splitlines():
            self._add(each.encode(errors="backslashreplace")[:MAX_LINE_BYTES] + b"\n")

    def close(self) -> "Future[None]":
        """Write what is left; nothing may be told after."""
        if self._lost_bytes:
            self._pending.append(b"... %d bytes are left out here ...\n" % self._lost_bytes)
        self._pending += self._tail
        self._tail.clear()
        return self._submit(self._end)

    def tail(self) -> bytes:
        """What is not in the file yet, of a build that goes on."""
        return b"".join(self._tail)

    def _add(self, line: bytes) -> None:
        if not self._tail and self._head_bytes + len(line) <= self._half_bytes:
            self._head_bytes += len(line)
            self._pending.append(line)
            if len(self._pending) == 1:
                self._flush()
            return
        self._tail.append(line)
        self._tail_bytes += len(line)
        while self._tail_bytes > self._half_bytes:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._lost_bytes += gone

    def _flush(self) -> None:
        _ = self._submit(self._write)

    def _write(self) -> None:
        """In the thread: what is pending."""
        lines = []
        while self._pending:
            lines.append(self._pending.popleft())
        if self._broken:
            return
        try:
            if self._fd is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self._path, flags, 0o600)
            data = b"".join(lines)
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._broken = True
            if self._fd is not None and os.fstat(self._fd).st_size == 0:  # none at all says more than an empty one
                self._path.unlink(missing_ok=True)
            log.warning("a build's log is not kept", file=str(self._path), reason=error.strerror)

    def _end(self) -> None:
        self._write()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def chunks(path: Path) -> Generator[bytes, None, None]:
    """The content of a file bit by bit; blocks, and raises `OSError` at the first."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while data := os.read(fd, CHUNK_BYTES):
            yield data
    finally:
        os.close(fd)
