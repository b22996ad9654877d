"""A program in a container, begun by the engine, whose standard streams are ours: one connection, taken over from HTTP.

What is written to the connection is the program's stdin, byte for byte, and its end the end of stdin. What comes is cut
into pieces with a head each, which says whether it is of stdout or stderr; only stdout is passed on, by asyncio's own
protocol, so that whoever listens need not know what lies between.
"""

import asyncio
import struct
from collections.abc import Callable

from dxd.engine.answer import Answer

_HEAD = struct.Struct(">BxxxI")
_STDOUT, _STDERR = 1, 2
_MAX_PIECE = 16 << 20
_MAX_REPLY = 65536
_TAKEN_OVER = (101, 200)
"""Older engines, and Podman, take the connection over without saying so."""


class Exec(asyncio.Protocol):
    """The engine's end of the connection; `inner` is told what the program prints, and when it is over."""

    def __init__(self, request: bytes, inner: asyncio.Protocol) -> None:
        self._request = request
        self._inner = inner
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._begun = False
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is the program's; `Answer` where the engine refuses, else `ConnectionError`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Pass on what the program prints."""
        self._buffer += data
        if not self._begun and not self._take_head():
            return
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer, at)
            if kind not in {_STDOUT, _STDERR} or length > _MAX_PIECE:
                self.fail()  # an engine that could not begin it says so in plain text
                return
            if len(self._buffer) - at - _HEAD.size < length:
                break
            at += _HEAD.size
            if kind == _STDOUT:
                self._inner.data_received(bytes(self._buffer[at : at + length]))
            at += length
        del self._buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """The program has ended, or the engine."""
        self._transport = None
        if not self.begun.done():
            self.begun.set_exception(ConnectionError("the engine closed the connection"))
        if self._begun:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The program does not read."""
        if self._begun:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        if self._begun:
            self._inner.resume_writing()

    def _take_head(self) -> bool:
        """Whether the connection is the program's now."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(self._buffer) > _MAX_REPLY:
                self.fail()
            return False
        words = bytes(head.partition(b"\r\n")[0]).split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if status not in _TAKEN_OVER:
            if not self.begun.done():
                self.begun.set_exception(Answer(status, rest.decode(errors="replace").strip() or "no reason given"))
            self.fail()
            return False
        self._buffer = rest
        self._begun = True
        assert self._transport is not None
        self._inner.connection_made(self._transport)
        if not self.begun.done():
            self.begun.set_result(None)
        return True

    def fail(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


def unframed(data: bytes) -> bytes:
    """What a program printed, both streams in order, without the heads; a last piece may be cut short."""
    printed = bytearray()
    at = 0
    while len(data) - at >= _HEAD.size:
        _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        printed += data[at : at + length]
        at += length
    return bytes(printed)


async def begin(
    connect: Callable[[Callable[[], asyncio.Protocol]], "asyncio.Future[object]"], path: str, inner: asyncio.Protocol
) -> None:
    """Begin the program that was made at `path`; returns when `inner` has its connection.

    Raises `Answer` or `OSError`. From then on closing the transport that `inner` got is up to it.
    """
    body = b'{"Detach": false, "Tty": false}'
    head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    made = Exec(head.encode() + body, inner)
    await connect(lambda: made)
    try:
        await asyncio.shield(made.begun)
    except BaseException:
        made.fail()
        raise
