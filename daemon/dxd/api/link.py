"""GET /v1/runs/{id}/link: the run link, by way of daemon and engine, where a launcher cannot reach the agent.

After the 101 the connection is no longer HTTP: bytes pass both ways between the launcher and `agent attach`, which the
engine has begun beside the agent. They are frames, of which nothing is known here; the token is among them, for the
agent. A side that does not read holds up the other, and the end of one is the end of both.
"""

import asyncio

from aiohttp import hdrs, web

from dxd.api.door import Connection
from dxd.api.ports import Runs
from dxd.api.route import VERSION, VERSION_HEADER
from dxd.errors import BadRequest
from dxd.runs.model import RunId

UPGRADE = "dx-run"


class End(asyncio.Protocol):
    """One end of the relay."""

    def __init__(self) -> None:
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is this end's from now on."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes for the other end."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Nothing more can be said; what is under way to the other end still arrives."""
        self.transport = None
        if self.other is not None:
            self.other.close()

    def pause_writing(self) -> None:
        """This end is full."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """There is room again."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def close(self) -> None:
        """End it when all that was written has been taken."""
        if self.transport is not None:
            self.transport.close()


class LauncherEnd(End):
    """The end that was an HTTP connection: its owner has to hear of the end."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels the handler, as any request's whose client has gone."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)


async def relay(request: web.Request, runs: Runs, run: RunId) -> web.StreamResponse:
    """Relay until one side ends; raises `BadRequest`, and what `Runs.connect` does, before the connection is taken."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != UPGRADE:
        raise BadRequest(f"a run is reached by an upgrade of the connection to {UPGRADE}", "see docs/reference/wire.md")
    connection, transport = request.protocol, request.transport
    assert isinstance(connection, Connection)
    inner = End()
    outer = LauncherEnd(connection)
    await runs.connect(run, inner)
    try:
        if not isinstance(transport, asyncio.Transport) or transport.is_closing():
            raise ConnectionResetError("the launcher has gone")
        inner.other, outer.other = outer, inner
        transport.set_protocol(outer)
        outer.connection_made(transport)
        head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n"
        transport.write(f"{head}{VERSION_HEADER}: {request.app[VERSION]}\r\n\r\n".encode())
        if inner.transport is None:  # it has ended already
            outer.close()
        await asyncio.Event().wait()  # the end of the launcher's connection cancels this
        raise AssertionError
    finally:
        inner.close()
        outer.close()
