"""The control link to one agent: frames of `wire.h` over a stream socket.

Leases go out, the beginnings and ends of runs come in. The link belongs to the pool, which gives it its callbacks;
a frame
that breaks the wire's rules ends it. Losing the link loses no run: the agent keeps its reports for the next one.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from dx import protocol


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a run, as its agent reports it."""

    run: int
    duration_s: float
    started: bool
    code: int
    """Of dx's own failure, where it did not start."""
    status: int
    """As wait(2) gives it."""
    user_s: float
    system_s: float
    max_rss_bytes: int

    @property
    def exit_code(self) -> int | None:
        """What it ended with, dx's own code where it did not start; None where a signal ended it."""
        if not self.started:
            return self.code
        return None if self.status & 0x7F else self.status >> 8 & 0xFF

    @property
    def signal(self) -> int | None:
        """The signal that ended it."""
        return self.status & 0x7F or None if self.started else None


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom the link tells; none may block."""

    started: Callable[[int, float], None]
    """A run, and when it began on `time.monotonic()`'s clock."""
    ended: Callable[[Ended], None]
    lost: Callable[[], None]


class Link(asyncio.Protocol):
    """One connection to an agent, from the moment that it has its sockets."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._pings: dict[bytes, asyncio.Future[None]] = {}
        loop = asyncio.get_running_loop()
        self.synced: asyncio.Future[None] = loop.create_future()
        """Done when the agent is ready and has told which runs it has; `ConnectionError` with its reason if it is
        not."""
        self._greeted = False
        self.once = protocol.ONCE_NOT
        """Known when it is in sync: whether the container takes one run only, and has had it."""
        self.refused = 0
        """Known then, too: why no other container is possible, as errno, or 0."""
        self.live: set[int] = set()
        """The runs that the agent named before it was in sync."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; `send` counts as done only what the kernel has taken."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(0)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Wake whoever waits, and tell the owner."""
        self._transport = None
        self._writable.set()
        for ping in self._pings.values():
            if not ping.done():
                ping.set_exception(ConnectionError("the agent is gone"))
        if not self.synced.done():
            self.synced.set_exception(ConnectionError("the agent ended"))
        self._listener.lost()

    def pause_writing(self) -> None:
        """Hold `send`: the agent has to read first."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` return."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole by now."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= protocol.HEAD.size:
            length, kind, _flags, _nfds = protocol.HEAD.unpack_from(self._buffer, at)
            if length > protocol.MAX_RUN_FRAME:
                self.close()
                return
            if len(self._buffer) - at - protocol.HEAD.size < length:
                break
            at += protocol.HEAD.size
            self._take(kind, bytes(self._buffer[at : at + length]))
            at += length
        del self._buffer[:at]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == protocol.RUN_EXITED and len(payload) == protocol.RUN_EXITED_BODY.size:
            self._listener.ended(_ended(payload))
        elif kind == protocol.RUN_STARTED and len(payload) == protocol.RUN_STARTED_BODY.size:
            run, started_ns = protocol.RUN_STARTED_BODY.unpack(payload)
            if not self.synced.done():
                self.live.add(run)
            self._listener.started(run, started_ns / 1e9)
        elif kind == protocol.PONG:
            ping = self._pings.get(payload)
            if ping is not None and not ping.done():
                ping.set_result(None)
        elif kind == protocol.READY and len(payload) == protocol.READY_BODY.size:
            version, self.once, self.refused = protocol.READY_BODY.unpack(payload)
            if version != protocol.WIRE_VERSION:
                self._refuse(f"its agent speaks version {version}, this daemon {protocol.WIRE_VERSION}")
            self._greeted = True
        elif kind == protocol.SYNCED and self._greeted:
            if not self.synced.done():
                self.synced.set_result(None)
        elif kind == protocol.BROKEN:
            self._refuse(payload.decode(errors="replace"))
        else:
            self.close()

    def _refuse(self, reason: str) -> None:
        if not self.synced.done():
            self.synced.set_exception(ConnectionError(reason))
        self.close()

    async def send(self, frame: bytes) -> None:
        """Return when the kernel has the whole frame; raises `ConnectionError` where the link is lost."""
        if self._transport is None:
            raise ConnectionError("the agent is gone")
        self._transport.write(frame)
        if not self._writable.is_set():
            await self._writable.wait()
            if self._transport is None:
                raise ConnectionError("the agent is gone")

    async def ping(self, deadline_s: float) -> bool:
        """Whether the agent answers in time."""
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mark = secrets.token_bytes(8)
        self._pings[mark] = pong
        try:
            async with asyncio.timeout(deadline_s):
                await self.send(protocol.frame(protocol.PING, mark))
                await pong
        except (TimeoutError, ConnectionError):
            return False
        finally:
            del self._pings[mark]
        return True

    def close(self) -> None:
        """End the link; `lost` is told."""
        if self._transport is not None:
            self._transport.abort()


def _ended(payload: bytes) -> Ended:
    run, duration_ns, started, code, status, _, user_us, system_us, max_rss_kib = protocol.RUN_EXITED_BODY.unpack(
        payload
    )
    return Ended(
        run=run,
        duration_s=duration_ns / 1e9,
        started=bool(started),
        code=code,
        status=status,
        user_s=user_us / 1e6,
        system_s=system_us / 1e6,
        max_rss_bytes=max_rss_kib * 1024,
    )
