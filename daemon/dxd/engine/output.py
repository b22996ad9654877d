"""What a container prints, as the engine kept it: entries with their timestamps, byte for byte.

One connection of our own to the engine's logs endpoint, because aiodocker decodes the bytes, merges the two streams
and loses connections. An entry comes in an HTTP chunk of its own. Without a terminal it is a frame, eight bytes that
say which stream and how long, then timestamp, space and data; with one it has no frame, so the chunk is what says where
it ends. Both come out as frames with a timestamp of `STAMP` bytes, which sort as the times do.

The data is a line with its newline, or a piece of one: engines cut at 16 KiB, all pieces of a line have its timestamp.
"""

import asyncio
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime

from dxd.engine.answer import Answer
from dxd.errors import EngineDown, EngineError

HEAD = struct.Struct(">BxxxI")
"""Stream, 1 or 2, and the length of what follows, the timestamp included."""
STDOUT, STDERR = 1, 2
STAMP = 30
"""Bytes of `2026-11-24T19:24:07.015539121Z`; a space comes after."""
DATA = HEAD.size + STAMP + 1
"""Where an entry's data begins."""

BUFFER_BYTES = 1 << 20
"""What waits to be read; beyond that nothing more is taken from the engine, which has it in a file."""
REST_S = 0.001
"""A socket takes some 270 lines before the engine has to wait."""
_MAX_ENTRY = 16 << 20
_MAX_HEAD = 65536
_SYSTEM = 3
_TROUBLE = b"Error grabbing logs: "
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_NOT_UNDERSTOOD = "the engine sends output that dx does not understand"


class Arrivals(asyncio.Protocol):
    """What comes by a connection, taken up every `REST_S` and not for each of the engine's writes, a line each."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._held = False
        """Whether nothing is taken up until something was read."""
        self._over = False
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take it, and rest."""
        self._buffer += data
        self._news.set()
        if self._transport:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(REST_S, self._go_on)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The end."""
        self._transport, self._over = None, True
        self._news.set()

    async def read(self) -> bytes:
        """All that came since the last time; nothing at the end."""
        while not self._buffer and not self._over:
            self._news.clear()
            await self._news.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._held:
            self._held = False
            self._go_on()
        return data

    def write(self, data: bytes) -> None:
        """Send this."""
        if self._transport:
            self._transport.write(data)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport:
            self._transport.abort()

    def _go_on(self) -> None:
        self._held = len(self._buffer) > BUFFER_BYTES
        if self._transport and not self._held:
            self._transport.resume_reading()


class Output:
    """The entries of one container, from one connection; `close` cuts it."""

    def __init__(self, arrivals: Arrivals, rest: bytes, *, tty: bool) -> None:
        """`rest` is what came with the head of the answer."""
        self._arrivals = arrivals
        self._entries = Terminal() if tty else Frames()
        self._buffer = rest
        self._over = False

    async def read(self) -> list[bytes]:
        """The next entries, as many as there are, a frame each; none at the end.

        The end is that of the container, or of what there was where nothing is followed. Raises `EngineDown` where the
        connection was lost, and `EngineError`.
        """
        while not self._over:
            entries = self._dechunk()
            if entries or self._over:
                return entries
            data = await self._arrivals.read()
            if not data:
                raise EngineDown("the engine closed the connection that its logs came by", "is it being restarted?")
            self._buffer += data
        return []

    def close(self) -> None:
        """Cut the connection."""
        self._arrivals.abort()

    def _dechunk(self) -> list[bytes]:
        buffer, at = self._buffer, 0
        entries: list[bytes] = []
        add = self._entries.add
        try:
            while (line := buffer.find(b"\r\n", at, at + 20)) >= 0:
                size = int(buffer[at:line], 16)
                end = line + 2 + size
                if len(buffer) < end + 2:
                    if size > _MAX_ENTRY:
                        raise EngineError(_NOT_UNDERSTOOD, "an entry of it has no end")
                    break
                if not size:
                    self._over = True
                    break
                add(buffer[line + 2 : end], entries)
                at = end + 2
            else:
                if len(buffer) - at > 20:
                    raise EngineError(_NOT_UNDERSTOOD, "is it a container engine?")
        except ValueError:
            raise EngineError(_NOT_UNDERSTOOD, "is it a container engine?") from None
        self._buffer = buffer[at:]
        return entries


class Frames:
    """Entries in frames, which as a rule is one a chunk; what passes a proxy may be cut otherwise."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, chunk: bytes, entries: list[bytes]) -> None:
        """Take a chunk, and add the entries that are whole."""
        # As it nearly always is. This is all that is done here for each line of a flood.
        if (
            not self._rest
            and chunk[37:39] == b"Z "
            and chunk[0] in {STDOUT, STDERR}
            and HEAD.size + int.from_bytes(chunk[4:8], "big") == len(chunk)
        ):
            entries.append(chunk)
            return
        data, at = self._rest + chunk, 0
        while len(data) - at >= HEAD.size:
            stream, length = HEAD.unpack_from(data, at)
            if stream > _SYSTEM or length > _MAX_ENTRY:
                raise EngineError(_NOT_UNDERSTOOD, "is it a container engine?")
            end = at + HEAD.size + length
            if end > len(data):
                break
            entry = data[at + HEAD.size : end]
            at = end
            if stream == _SYSTEM:
                raise trouble(entry)
            entries.append(frame(stream or STDOUT, entry))
        self._rest = data[at:]


class Terminal:
    """Entries of a container with a terminal: all stdout, and a chunk each."""

    def add(self, chunk: bytes, entries: list[bytes]) -> None:
        """Take a chunk, and add its entry; what has no timestamp belongs to the entry before."""
        if chunk.startswith(_TROUBLE):
            raise trouble(chunk)
        if _TIME.match(chunk):
            entries.append(frame(STDOUT, chunk))
        elif entries:
            entries[-1] = frame(STDOUT, entries[-1][HEAD.size :] + chunk)
        else:
            raise EngineError(_NOT_UNDERSTOOD, "does a proxy before it cut what it sends?")


def frame(stream: int, entry: bytes) -> bytes:
    """An entry, timestamp, space and data, in a frame; raises `EngineError` where there is no timestamp."""
    stamp, space, data = entry.partition(b" ")
    match = _TIME.fullmatch(stamp)
    if match is None or not space:
        raise EngineError(_NOT_UNDERSTOOD, "an entry has no timestamp")
    if len(stamp) != STAMP or match[3] != b"Z":  # Podman's are local
        whole = datetime.fromisoformat((match[1] + match[3].replace(b"Z", b"+00:00")).decode()).astimezone(UTC)
        stamp = whole.strftime("%Y-%m-%dT%H:%M:%S").encode() + b"." + (match[2] or b"").ljust(9, b"0") + b"Z"
    return HEAD.pack(stream, STAMP + 1 + len(data)) + stamp + b" " + data


def trouble(entry: bytes) -> EngineError:
    """What the engine says in place of an entry, when its file cannot be read."""
    said = entry.decode(errors="replace").strip()[:200]
    return EngineError(f"the engine cannot read what the container printed: {said}", "its file may be damaged")


async def begin(
    connect: Callable[[Callable[[], asyncio.Protocol]], "asyncio.Future[object]"], path: str, *, tty: bool
) -> Output:
    """Ask for the entries at `path`; raises `Answer`, `EngineDown`, `EngineError` or `OSError`."""
    arrivals = Arrivals()
    await connect(lambda: arrivals)
    try:
        arrivals.write(f"GET {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n".encode())
        head, rest = await _head(arrivals)
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if status != 200:
            while len(rest) < _MAX_HEAD and (more := await arrivals.read()):
                rest += more
            raise Answer(status, _reason(rest))
        if b"\r\ntransfer-encoding: chunked\r\n" not in head.lower():
            raise EngineError(_NOT_UNDERSTOOD, "does a proxy before it change what it sends?")
    except BaseException:
        arrivals.abort()
        raise
    return Output(arrivals, rest, tty=tty)


async def _head(arrivals: Arrivals) -> tuple[bytes, bytes]:
    """The head of an answer, and what came with it."""
    said = b""
    while (end := said.find(b"\r\n\r\n")) < 0:
        more = await arrivals.read()
        if not more:
            raise EngineDown("the engine closed the connection", "is it being restarted?")
        said += more
        if len(said) > _MAX_HEAD and b"\r\n\r\n" not in said[:_MAX_HEAD]:
            raise EngineError(_NOT_UNDERSTOOD, "is it a container engine?")
    return said[: end + 4], said[end + 4 :]


def _reason(said: bytes) -> str:
    """The message of a refusal, which is JSON."""
    found = re.search(rb'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', said)
    return (found[1] if found else said[:500]).decode(errors="replace").strip() or "no reason given"
