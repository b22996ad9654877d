"""Connections: who may come in, and how long they may keep the daemon waiting.

A `Door` accepts on the listening socket, turns away every peer that is not the user, and closes connections that send
nothing, or half a request, or do not read. It accepts by itself, not through `loop.create_server`, since that goes
on trying a hundred times when no descriptor is left, and resets the socket's queue to as little as the tries.
"""

import asyncio
import errno
import resource
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from dxd.api import errors, types
from dxd.api.route import VERSION_HEADER
from dxd.errors import BadRequest, DxError
from dxd.kit.tasks import Tasks
from dxd.runs.model import Peer
from dxd.telemetry import get_logger

SO_PEERGROUPS = 59
"""socket(7); not in Python's socket module."""
_CREDENTIALS = struct.Struct("=iII")
_MANY_GROUPS = 4 * 65536
"""NGROUPS_MAX of Linux, in bytes."""
_BATCH = 64
"""Connections accepted in one turn of the loop, so that others get their turn too."""
_RETRY_S = 0.5
"""How long nothing is accepted when no descriptor is left."""
_LOG_EVERY_S = 10.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = get_logger("api")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how many connections may be idle."""

    head_s: float = 10.0
    """A connection has so long to send the head of a request, from its first byte, or from the connect."""

    keep_alive_s: float = 75.0
    """How long a connection is kept after an answer; as long as nginx does, so any client's pool is used to it."""

    body_s: float = 10.0
    """How long a body may take to arrive after its head."""

    sweep_s: float = 5.0
    """How often late connections are looked for, so each limit may be exceeded by so much. No timer per connection."""

    waiting: int = 512
    """Connections without a request in flight; beyond that the oldest go, and never more than a quarter of the
    descriptors are spent on them."""

    settle_s: float = 1.0
    """A connection younger than this is never one of the oldest: a burst of starts is no attack."""


DEFAULT_LIMITS = Limits()


class Connection(web.RequestHandler):
    """An HTTP connection that knows its peer, and reports to its door whether it has a request in flight."""

    __slots__ = ("door", "late_at", "peer", "reading", "since")

    def __init__(self, server: web.Server, *, door: "Door", peer: Peer, **options: Any) -> None:
        super().__init__(server, **options)
        self.door = door
        self.peer = peer
        self.since = self.late_at = 0.0
        self.reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop hands over the connection."""
        super().connection_made(transport)
        self.reading = True
        self.door.wait_for(self, self.door.limits.head_s)

    def data_received(self, data: bytes) -> None:
        """Bytes came in; the first of a request start its time."""
        if not self.reading:
            self.reading = True
            self.door.hurry(self)
        super().data_received(data)

    def begin(self) -> None:
        """The head of a request is there, and its handler has begun."""
        self.reading = True
        self.door.waiting.pop(self, None)

    def end(self) -> None:
        """The handler has ended; what is left to do is to send the answer."""
        if self.transport is not None:
            self.reading = False
            self.door.wait_for(self, self.door.limits.keep_alive_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        self.door.waiting.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the signature is the library's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request, or what the HTTP library failed at."""
        error: DxError
        if status < 500:
            error = BadRequest("this is not HTTP as it has to be", " ".join((message or "").split())[:200])
        else:
            log.error("request failed", exc_info=exc)
            error = errors.unexpected()
        response = errors.respond(error)
        response.headers[VERSION_HEADER] = self.door.version
        response.force_close()
        return response


class Door:
    """Accepts connections for one server. `listen` may be called again with another socket."""

    def __init__(self, server: web.Server, *, version: str, uid: int, limits: Limits, options: dict[str, Any]) -> None:
        self.version = version
        self.limits = limits
        self.waiting: dict[Connection, None] = {}
        """Connections without a request in flight, in the order in which they began to wait."""
        self._server = server
        self._uid = uid
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._tasks = Tasks(lambda _, error: log.debug("connection not taken", reason=str(error)))
        self._logged_at = -_LOG_EVERY_S
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = limits.waiting if descriptors == resource.RLIM_INFINITY else min(limits.waiting, descriptors // 4)

    def listen(self, sock: socket.socket) -> None:
        """Accept on this socket, and on no other."""
        self.stop_listening()
        self._socket = sock
        self._loop.add_reader(sock, self._accept)

    def stop_listening(self) -> None:
        """Accept nothing more. The socket stays open, its owner closes it."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket = None

    async def close(self) -> None:
        """Stop listening, and forget the connections; the server closes them."""
        self.stop_listening()
        await self._tasks.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def wait_for(self, connection: Connection, limit_s: float) -> None:
        """Close the connection if it has no request in flight `limit_s` from now."""
        now = self._loop.time()
        connection.since, connection.late_at = now, now + limit_s
        self.waiting[connection] = None
        if len(self.waiting) > self._most:
            oldest = next(iter(self.waiting))
            if now - oldest.since > self.limits.settle_s:
                self._cut(oldest)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self.limits.sweep_s, self._sweep)

    def hurry(self, connection: Connection) -> None:
        """A request has begun on a connection that was idle."""
        connection.late_at = min(connection.late_at, self._loop.time() + self.limits.head_s)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [each for each in self.waiting if each.late_at <= now]:
            self._cut(connection)
        self._sweeper = self._loop.call_later(self.limits.sweep_s, self._sweep) if self.waiting else None

    def _cut(self, connection: Connection) -> None:
        self.waiting.pop(connection, None)
        if connection.transport is not None:
            connection.transport.abort()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error)
                return
            pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != self._uid:
                self._turn_away(sock, uid)
                continue
            sock.settimeout(0)
            make = partial(
                Connection,
                self._server,
                door=self,
                peer=Peer(pid, uid, gid, _groups(sock)),
                loop=self._loop,
                **self._options,
            )
            self._tasks.spawn(self._loop.connect_accepted_socket(make, sock), name="connection")

    def _pause(self, error: OSError) -> None:
        """Let the descriptors that are in use come back; whoever connects meanwhile waits in the socket's queue."""
        if self._socket is None:
            return
        sock = self._socket
        self._loop.remove_reader(sock)
        self._retry = self._loop.call_later(_RETRY_S, self.listen, sock)
        for connection in list(self.waiting):
            if self._loop.time() - connection.since > self.limits.settle_s:
                self._cut(connection)
        if self._may_log():
            log.error("no connection can be accepted", reason=error.strerror, hint="raise the limit: ulimit -n")

    def _turn_away(self, sock: socket.socket, uid: int) -> None:
        """Only the user's own processes may ask for anything, whatever the socket's mode is."""
        body = msgspec.json.encode(
            types.Problem(error=errors.shape(errors.Forbidden(f"this daemon serves uid {self._uid}, not uid {uid}")))
        )
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: {errors.JSON}\r\nContent-Length: {len(body)}\r\n"
        head += f"{VERSION_HEADER}: {self.version}\r\nConnection: close\r\n\r\n"
        with sock:
            sock.settimeout(0)
            with suppress(OSError):  # it may not have waited for an answer
                sock.send(head.encode() + body)
        if self._may_log():
            log.warning("peer turned away", uid=uid)

    def _may_log(self) -> bool:
        now = self._loop.time()
        if now - self._logged_at < _LOG_EVERY_S:
            return False
        self._logged_at = now
        return True


def _groups(sock: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of the peer, at the time when it connected."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        data = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _MANY_GROUPS)
    return struct.unpack(f"={len(data) // 4}I", data)
