"""POST /v1/runs: what every run begins with, so this is the daemon's hot path.

A launcher sends records and reads records (`daemon/agent/wire.h`); others send and get JSON. The answer to a launcher
is one small response, unless something has to be told before the lease is there: then it becomes a stream that ends
with the connection. Its last record is GO, WAIT or ERROR.
"""

import asyncio
import struct
from collections.abc import Iterator

import msgspec
from aiohttp import web

from dx import protocol
from dx.protocol import ProtocolError, record
from dxd.api import errors, reading, types
from dxd.api.door import Connection
from dxd.api.ports import Runs
from dxd.api.stream import Stream
from dxd.errors import BadRequest, DxError, Internal, Refused, Stopping, one_line
from dxd.kit.plain import Plain
from dxd.kit.progress import Silent, Step
from dxd.runs.model import Elsewhere, Grant, Lease, LeaseRequest, Peer, RunId, StillAlive
from dxd.telemetry import get_logger

log = get_logger("api")

_ONCE = {*range(protocol.Q_VERSION, protocol.Q_BIND + 1), protocol.Q_FRAMED}
"""Records that may come once."""

_DECODER = msgspec.json.Decoder(types.LeaseBody)


class LeaseHandler:
    """Answers requests for a run until it is told to refuse them."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self.refusing = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler of the route."""
        if self.refusing:
            raise Stopping("the daemon is stopping", "try again, or run: dx daemon start")
        connection = request.protocol
        assert isinstance(connection, Connection)
        if reading.is_lease(request):
            body = await reading.read_body(request, protocol.MAX_LEASE_BODY)
            return await self._answer_launcher(request, parse_records(body, connection.peer))
        asked = parse_json(await reading.read_json(request, _DECODER, protocol.MAX_LEASE_BODY), connection.peer)
        lease = await self._runs.lease(asked, Silent())
        if isinstance(lease, StillAlive):  # not asked for, since JSON cannot set `late`
            raise Internal("an answer to another question")
        if isinstance(lease, Elsewhere):
            raise Refused("the engine is out of reach for descriptors", "run it as a command: dx run")
        return web.Response(body=types.encode(_lease_json(lease)), content_type=errors.JSON)

    async def _answer_launcher(self, request: web.Request, asked: LeaseRequest) -> web.StreamResponse:
        stream = Stream(request, protocol.MEDIA_TYPE)
        try:
            body = b"".join(_lease_records(await self._runs.lease(asked, Telling(stream))))
        except DxError as error:
            if not stream.begun:
                raise
            body = errors.record(error)
        except Exception:
            if not stream.begun:
                raise
            log.exception("request failed", path=request.path)
            body = errors.record(errors.unexpected())
        except asyncio.CancelledError:
            stream.abandon()
            raise
        if stream.begun:
            return await stream.finish(body)
        return web.Response(body=body, content_type=protocol.MEDIA_TYPE)


class Telling:
    """A `Progress` in records; while it is told nothing it costs nothing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._plain: Plain | None = None

    def note(self, text: str) -> None:
        """Tell a line that lasts."""
        self._stream.tell(record(protocol.A_NOTE, _line(text)))

    def progress(self, text: str) -> None:
        """Tell a line that takes the place of the one before."""
        self._stream.tell(record(protocol.A_PROGRESS, _line(text)), passing=True)

    def step(self, step: Step) -> None:
        """Tell a step in lines."""
        self._plain = self._plain or Plain(self.note, self.progress)
        self._plain.step(step)


def parse_records(body: bytes, peer: Peer) -> LeaseRequest:
    """A launcher's request; raises `BadRequest`."""
    fields: dict[int, bytes] = {}
    options: list[tuple[str, str]] = []
    try:
        for kind, payload in protocol.records(body):
            if kind == protocol.Q_OPTION:
                key, _, value = payload.decode().partition("=")
                options.append((key, value))
            elif kind in _ONCE and kind not in fields:
                fields[kind] = payload
            else:
                raise ProtocolError(f"a record {kind} that is not known, or is there twice")
        _check_version(fields)
        command, cwd = fields.get(protocol.Q_COMMAND, b""), fields.get(protocol.Q_CWD, b"")
        if not command or not cwd.startswith(b"/") or b"\0" in command or b"\0" in cwd:
            raise ProtocolError("no command, or no absolute current directory")
        late, bind = fields.get(protocol.Q_LATE), fields.get(protocol.Q_BIND)
        return LeaseRequest(
            command=command,
            args=tuple(protocol.split_strings(fields.get(protocol.Q_ARGV, b""))),
            env=tuple(protocol.split_strings(fields.get(protocol.Q_ENV, b""))),
            cwd=cwd,
            peer=peer,
            options=tuple(options),
            shim=protocol.Q_SHIM in fields,
            framed=protocol.Q_FRAMED in fields,
            bind=None if bind is None else RunId(protocol.U64.unpack(bind)[0]),
            late=None if late is None else RunId(protocol.U64.unpack(late)[0]),
        )
    except (ProtocolError, UnicodeDecodeError, struct.error) as error:
        raise BadRequest(f"the request for a run is malformed: {error}") from None


def _check_version(fields: dict[int, bytes]) -> None:
    if protocol.Q_VERSION not in fields:
        raise ProtocolError("it has no version")
    version = protocol.U32.unpack(fields[protocol.Q_VERSION])[0]
    if version != protocol.WIRE_VERSION:
        raise BadRequest(
            f"this launcher speaks version {version} of the wire, and the daemon version {protocol.WIRE_VERSION}",
            "both have to be of one installation; run: dx daemon restart",
        )


def parse_json(body: types.LeaseBody, peer: Peer) -> LeaseRequest:
    """Anybody else's request; raises `BadRequest`, or `Refused` for what no process can be given."""
    command, cwd = types.to_bytes(body.command), types.to_bytes(body.cwd)
    args = tuple(types.to_bytes(each) for each in body.args)
    env = tuple(types.to_bytes(each) for each in body.env)
    # What a string may be is in the schema; bytes are known only once they are decoded.
    if not command:
        raise (BadRequest if isinstance(body.command, str) else Refused)("the command is empty")
    if not cwd.startswith(b"/"):
        raise (BadRequest if isinstance(body.cwd, str) else Refused)("the current directory is not absolute")
    texts = (text.encode() for item in body.options.items() for text in item)
    if any(b"\0" in each for each in (command, cwd, *args, *env, *texts)):
        raise Refused("nothing that a process is given can have a NUL byte in it")
    return LeaseRequest(command=command, args=args, env=env, cwd=cwd, peer=peer, options=tuple(body.options.items()))


def _lease_records(lease: Lease | StillAlive | Elsewhere) -> Iterator[bytes]:
    if isinstance(lease, StillAlive):
        yield record(protocol.A_WAIT)
        return
    if isinstance(lease, Elsewhere):
        yield record(protocol.A_PORTABLE, b"the engine is out of reach for descriptors")
        return
    yield record(protocol.A_RUN, protocol.U64.pack(lease.run))
    yield record(protocol.A_TOKEN, lease.token)
    yield record(protocol.A_PORTABLE) if lease.framed else record(protocol.A_AGENT, bytes(lease.agent))
    for grant in lease.grants:
        yield record(protocol.A_GRANT, protocol.U32.pack(_flags(grant)) + grant.path)
    yield record(protocol.A_GO)


def _flags(grant: Grant) -> int:
    return (protocol.GRANT_RO if grant.readonly else 0) | (protocol.GRANT_DIR if grant.directory else 0)


def _lease_json(lease: Lease) -> types.Lease:
    return types.Lease(
        run=lease.run,
        token=lease.token.hex(),
        agent=types.from_bytes(bytes(lease.agent)),
        grants=[types.Grant(types.from_bytes(each.path), each.readonly, each.directory) for each in lease.grants],
    )


def _line(text: str) -> bytes:
    return one_line(text).encode()
