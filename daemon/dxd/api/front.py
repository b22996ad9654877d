"""The HTTP server as a whole: `create_app` puts the routes together, `HttpFront` serves them on a socket.

`app` builds one of each. What is in flight is counted here, so that a stop can wait for it.
"""

import asyncio
import os
from socket import socket

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from dx import protocol
from dxd.api import errors, openapi, reading
from dxd.api.builds import BuildRoutes
from dxd.api.caches import CacheRoutes
from dxd.api.consumers import ConsumerRoutes
from dxd.api.containers import ContainerRoutes
from dxd.api.daemon import DaemonRoutes
from dxd.api.descriptions import DescriptionRoutes
from dxd.api.door import DEFAULT_LIMITS, Connection, Door, Limits
from dxd.api.lease import LeaseHandler
from dxd.api.logs import LogRoutes
from dxd.api.ports import (
    Builds,
    Containers,
    Data,
    Images,
    Locking,
    Logs,
    LogServices,
    Projects,
    Pushes,
    Runs,
    Services,
    Sharing,
    Shims,
    Status,
    Stop,
    Upgrades,
    Volumes,
)
from dxd.api.projects import ProjectRoutes
from dxd.api.pushes import PushRoutes
from dxd.api.route import VERSION, VERSION_HEADER, Handler, Route
from dxd.api.runs import RunRoutes
from dxd.api.snapshots import SnapshotRoutes
from dxd.api.tools import ToolRoutes
from dxd.api.trust import TrustRoutes
from dxd.api.upgrades import UpgradeRoutes
from dxd.errors import DxError
from dxd.kit.hub import Hub
from dxd.telemetry import get_logger
from dxd.trust.tools import Tools

CLOSE_S = 0.5
"""How long a request that was cut may take to end."""

log = get_logger("api")


class Flight:
    """The requests in flight, and the handlers that have to know of a stop."""

    def __init__(self, lease: LeaseHandler, daemon: DaemonRoutes) -> None:
        self.lease = lease
        self.daemon = daemon
        self.count = 0
        self.landed = asyncio.Event()
        """Set whenever the last one has ended."""


FLIGHT: web.AppKey[Flight] = web.AppKey("flight", Flight)


def create_app(
    *,
    version: str,
    tools: Tools,
    projects: Projects,
    images: Images,
    runs: Runs,
    containers: Containers,
    volumes: Volumes,
    builds: Builds,
    upgrades: Upgrades,
    locking: Locking,
    pushes: Pushes,
    logs: Logs,
    log_services: LogServices,
    services: Services,
    sharing: Sharing,
    data: Data,
    hub: Hub,
    status: Status,
    stop: Stop,
    shims: Shims,
    limits: Limits = DEFAULT_LIMITS,
) -> web.Application:
    """The application with all its routes, and `/v1/openapi.json` about them."""
    run_routes = RunRoutes(runs=runs)
    daemon_routes = DaemonRoutes(
        version=version, tools=tools, runs=runs, containers=containers, logs=logs, hub=hub, status=status, stop=stop
    )
    routes: tuple[Route, ...] = (
        *daemon_routes.routes(),
        *ToolRoutes(tools=tools, images=images, shims=shims).routes(),
        *DescriptionRoutes(images=images).routes(),
        *run_routes.routes(),
        *ContainerRoutes(containers=containers).routes(),
        *CacheRoutes(volumes=volumes).routes(),
        *ProjectRoutes(services=services).routes(),
        *ConsumerRoutes(sharing=sharing).routes(),
        *SnapshotRoutes(data=data).routes(),
        *BuildRoutes(builds=builds).routes(),
        *TrustRoutes(projects=projects, shims=shims).routes(),
        *UpgradeRoutes(upgrades=upgrades, locking=locking).routes(),
        *PushRoutes(pushes=pushes).routes(),
        *LogRoutes(logs=logs, services=log_services, ending=daemon_routes.ending).routes(),
    )
    daemon_routes.document = msgspec.json.encode(openapi.document(routes, version))
    flight = Flight(run_routes.lease, daemon_routes)
    app = web.Application(middlewares=[_middleware(flight, version)], client_max_size=protocol.MAX_LEASE_BODY)
    app[FLIGHT] = flight
    app[VERSION] = version
    app[reading.BODY_DEADLINE] = limits.body_s
    app.router.add_routes(web.route(each.method, each.path, each.handler, expect_handler=_expect) for each in routes)
    return app


class HttpFront:
    """Serves the application; made inside the loop, and closed there. The `Front` of the lifecycle's stages."""

    def __init__(self, app: web.Application, *, uid: int | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._app = app
        self._uid = os.getuid() if uid is None else uid
        self._limits = limits
        self._flight = app[FLIGHT]
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=CLOSE_S)
        self._door: Door | None = None

    async def listen(self, sock: socket) -> None:
        """Serve this socket from now on, and no other; the caller closes it."""
        if self._door is None:
            await self._runner.setup()
            server = self._runner.server
            assert server is not None
            options = {
                "access_log": None,
                "auto_decompress": False,
                "keepalive_timeout": self._limits.keep_alive_s,
                "lingering_time": 1.0,
                "tcp_keepalive": False,
            }
            self._door = Door(server, version=self._app[VERSION], uid=self._uid, limits=self._limits, options=options)
        self._door.listen(sock)

    def refuse_leases(self) -> None:
        """Answer requests for a run with `Stopping`, and end the streams of events."""
        self._flight.lease.refusing = True
        self._flight.daemon.ending.set()

    def stop_listening(self) -> None:
        """Accept nothing more."""
        if self._door is not None:
            self._door.stop_listening()

    async def drain(self) -> None:
        """Return when no request is in flight."""
        while self._flight.count:
            self._flight.landed.clear()
            await self._flight.landed.wait()

    async def close(self) -> None:
        """Stop listening, cut what is in flight, close every connection."""
        if self._door is not None:
            await self._door.close()
        await self._runner.cleanup()


def _middleware(flight: Flight, version: str) -> Middleware:
    """The one wrapper around every handler: counts, and turns whatever it raises into an answer."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin()
        flight.count += 1
        try:
            if hdrs.CONTENT_ENCODING in request.headers:
                reading.refuse_encodings(request)
            response = await handler(request)
        except (DxError, web.HTTPException) as error:
            response = _refusal(request, error)
        except ConnectionError:
            raise  # the client has gone away
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            if request.writer.output_size > 0:
                raise ConnectionResetError("an answer cannot be taken back") from error
            response = errors.respond(errors.unexpected(), binary=reading.is_lease(request))
        finally:
            flight.count -= 1
            if not flight.count:
                flight.landed.set()
            connection.end()
        if not response.prepared:
            response.headers[VERSION_HEADER] = version
        return response

    return answer


def _refusal(request: web.Request, error: DxError | web.HTTPException) -> web.Response:
    if isinstance(error, DxError):
        return errors.respond(error, binary=reading.is_lease(request))
    response = errors.respond(errors.from_http(error), binary=reading.is_lease(request))
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


async def _expect(request: web.Request) -> None:
    """Say `100 Continue` to clients that wait for it before they send a large body, as curl does."""
    if request.version >= (1, 1) and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
