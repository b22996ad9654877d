"""Asking the daemon for a run: POST /v1/runs with records, answered with records (client/launcher/lease.c).

HTTP/1.0, so that an answer which begins with notes and progress needs no chunks: it ends with its last record.
"""

from __future__ import annotations

import struct

from dx import protocol
from dx.errors import RunFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterator, Sequence

MAX_HEAD = 16384
MAX_RECORD = 1 << 20
MAX_GRANTS = 128
TRIES = 3
"""With a daemon that ends before it has answered; nothing has begun by then."""
_TOKEN = struct.Struct(f"{protocol.TOKEN_BYTES}s")
_RESTART = "run: dx daemon restart"


class Request:
    """What the caller asks to be run. All in bytes, none of which holds a NUL."""

    def __init__(
        self,
        command: bytes,
        args: Sequence[bytes],
        env: Sequence[bytes],
        cwd: bytes,
        options: Sequence[bytes] = (),
        *,
        shim: bool = False,
        framed: bool = False,
    ) -> None:
        self.command = command
        """A tool, a command of a tool, or an image."""
        self.args = args
        self.env = env
        """"NAME=VALUE" each."""
        self.cwd = cwd
        self.options = options
        """"key=value" each: options of `dx run`."""
        self.shim = shim
        """Only a command of a tool will do."""
        self.framed = framed
        """A run link of frames alone will do."""
        self.bind: int | None = None
        """The run that was leased before and whose grants cannot be opened here."""

    def body(self, late: int | None = None) -> bytes:
        """The request's records; `late` is a run that was leased and whose agent stays silent."""
        record, strings = protocol.record, protocol.strings
        parts = [
            record(protocol.Q_VERSION, protocol.U32.pack(protocol.WIRE_VERSION)),
            record(protocol.Q_COMMAND, self.command),
            record(protocol.Q_CWD, self.cwd),
            *([record(protocol.Q_LATE, protocol.U64.pack(late))] if late is not None else []),
            *([record(protocol.Q_SHIM)] if self.shim else []),
            *([record(protocol.Q_FRAMED)] if self.framed else []),
            *([record(protocol.Q_BIND, protocol.U64.pack(self.bind))] if self.bind is not None else []),
            *(record(protocol.Q_OPTION, each) for each in self.options),
            record(protocol.Q_ARGV, strings(self.args)),
            record(protocol.Q_ENV, strings(self.env)),
        ]
        body = b"".join(parts)
        if len(body) > protocol.MAX_LEASE_BODY:
            raise RunFailed("the arguments and the environment are too long (8 MiB at most)")
        return body


class Refusal(RunFailed):
    """The daemon's answer where there is no lease, with what may be done instead."""

    def __init__(self, message: str, exit_code: int, lease: Lease) -> None:
        super().__init__(message, exit_code)
        self.project = lease.project
        self.native = lease.native


class Lease:
    """The daemon's answer."""

    def __init__(self) -> None:
        self.run = 0
        self.token = bytes(protocol.TOKEN_BYTES)
        self.agent = b""
        """The path of the agent's socket."""
        self.grants: list[bytes] = []
        """Paths to open, in the order in which the agent expects them."""
        self.framed = False
        """The run link is frames alone, through the daemon."""
        self.still_alive = False
        """The answer to `late`: wait on, there is no lease."""
        self.project = b""
        """Of a refusal: the project that asks for what the user has not allowed."""
        self.native = False
        """Of a refusal: the shim's command is no tool here."""


def ask(
    request: Request,
    connect: Callable[[], socket],
    tell: Callable[[bytes, bool], None],
    late: int | None = None,
) -> Lease:
    """Get a lease; raises `RunFailed` with the daemon's message where there is none.

    `tell` is called with each note, and with True for a line of progress that replaces the one before it.
    """
    body = request.body(late)
    for _ in range(TRIES):
        with _closing(connect()) as sock:
            if lease := _ask_once(sock, body, tell):
                return lease
    raise RunFailed("the daemon ended before it had answered; try again, or see: dx daemon logs")


class _closing:  # noqa: N801 - contextlib's, which takes a millisecond to import
    def __init__(self, sock: socket) -> None:
        self._sock = sock

    def __enter__(self) -> socket:
        return self._sock

    def __exit__(self, *_: object) -> None:
        self._sock.close()


def _ask_once(sock: socket, body: bytes, tell: Callable[[bytes, bool], None]) -> Lease | None:
    """None where the daemon ended before it had answered."""
    head = f"POST /v1/runs HTTP/1.0\r\nHost: dx\r\nContent-Type: {protocol.MEDIA_TYPE}\r\nContent-Length: {len(body)}"
    try:
        sock.sendall(head.encode() + b"\r\n\r\n" + body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # where it takes no more of the request, its answer says why
    except OSError as error:
        raise RunFailed(f"the daemon does not take the request: {error.strerror}") from error
    lease = Lease()
    for kind, payload in _records(sock):
        if kind == protocol.A_GO:
            return lease
        try:
            _take(lease, kind, payload, tell)
        except struct.error:
            raise RunFailed(f"the daemon's answer is malformed; {_RESTART}") from None
        if lease.still_alive:
            return lease
    return None


def _take(lease: Lease, kind: int, payload: bytes, tell: Callable[[bytes, bool], None]) -> None:
    if kind == protocol.A_RUN:
        (lease.run,) = protocol.U64.unpack(payload)
    elif kind == protocol.A_TOKEN:
        (lease.token,) = _TOKEN.unpack(payload)
    elif kind == protocol.A_AGENT:
        lease.agent = payload
    elif kind == protocol.A_GRANT:
        if len(payload) < protocol.U32.size or len(lease.grants) == MAX_GRANTS:
            raise RunFailed("the lease has more grants than this launcher can open")
        lease.grants.append(payload[protocol.U32.size :])
    elif kind in {protocol.A_NOTE, protocol.A_PROGRESS}:
        tell(payload, kind == protocol.A_PROGRESS)
    elif kind in {protocol.A_ERROR, protocol.A_PROJECT, protocol.A_NATIVE}:
        _refuse(lease, kind, payload)
    elif kind == protocol.A_PORTABLE:
        if payload:
            raise RunFailed(f"{payload.decode(errors='replace')}; only 0 to 2 can be passed there")
        lease.framed = True
    elif kind == protocol.A_WAIT:
        lease.still_alive = True
    else:
        raise RunFailed(f"the daemon of another version answers; {_RESTART}")


def _refuse(lease: Lease, kind: int, payload: bytes) -> None:
    """What comes in the place of a lease: why, after what may be done instead."""
    if kind == protocol.A_PROJECT:
        lease.project = payload
    elif kind == protocol.A_NATIVE:
        lease.native = True
    elif len(payload) < protocol.U32.size:
        raise RunFailed("the daemon refused the run")
    else:
        (code,) = protocol.U32.unpack_from(payload)
        raise Refusal(payload[protocol.U32.size :].decode(errors="surrogateescape"), code, lease)


def _records(sock: socket) -> Iterator[tuple[int, bytes]]:
    """The answer's records as they come, until the daemon ends."""
    head, body = b"", b""
    while not body:
        if not (part := _receive(sock)):
            return
        head += part
        end = head.find(b"\r\n\r\n")
        if end < 0 and len(head) > MAX_HEAD:
            raise RunFailed(f"the daemon's answer is malformed; {_RESTART}")
        if end >= 0:
            if b"\r\ncontent-type: " + protocol.MEDIA_TYPE.encode() not in head[:end].lower():
                raise RunFailed(f"the daemon of another version answers; {_RESTART}")
            body = head[end + 4 :]
            break
    size = protocol.RECORD.size
    while True:
        while len(body) >= size:
            kind, length = protocol.RECORD.unpack_from(body)
            if length > MAX_RECORD:
                raise RunFailed(f"the daemon's answer is malformed; {_RESTART}")
            if len(body) < size + length:
                break
            yield kind, body[size : size + length]
            body = body[size + length :]
        if not (part := _receive(sock)):
            return
        body += part


def _receive(sock: socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""
