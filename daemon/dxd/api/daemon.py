"""The daemon itself: how it is, what happens in it, its document, its end."""

import asyncio
import os
import time
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from dx import protocol
from dxd.api import errors, reading, types
from dxd.api.ports import Containers, Logs, Runs, Status, Stop
from dxd.api.route import NDJSON, Answer, Route
from dxd.api.runs import live
from dxd.api.stream import stream_headers
from dxd.kit.hub import Event, Hub
from dxd.trust.tools import Tools

KEEP_ALIVE_S = 15.0
"""How long the stream of events is silent at most; a blank line then says that it still lives."""


class DaemonRoutes:
    """The routes of the daemon as a whole."""

    def __init__(
        self,
        *,
        version: str,
        tools: Tools,
        runs: Runs,
        containers: Containers,
        logs: Logs,
        hub: Hub,
        status: Status,
        stop: Stop,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._version = version
        self._tools = tools
        self._runs = runs
        self._containers = containers
        self._logs = logs
        self._hub = hub
        self._status = status
        self._stop = stop
        self._keep_alive_s = keep_alive_s
        self._began = time.monotonic()
        self.document = b""
        """The OpenAPI document, set once all routes are known."""
        self.ending = asyncio.Event()
        """Ends the streams of events."""

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="showStatus",
                method="GET",
                path="/v1/status",
                handler=self._show_status,
                summary="How the daemon is",
                tag="daemon",
                answers=(Answer(200, "It answers", types.Status),),
            ),
            Route(
                id="followEvents",
                method="GET",
                path="/v1/events",
                handler=self._follow_events,
                summary="What happens from now on",
                description=(
                    "A stream of JSON objects, one on each line, each with `time` and `kind`, a dotted name like "
                    "`run.finished`; a blank line at least every 15 s. A reader that is too slow loses the oldest, "
                    "and is told so by `dropped`. It ends when the daemon stops."
                ),
                tag="daemon",
                answers=(Answer(200, "It has begun", media_types=(NDJSON,)),),
            ),
            Route(
                id="showDocument",
                method="GET",
                path="/v1/openapi.json",
                handler=self._show_document,
                summary="This document",
                tag="daemon",
                answers=(Answer(200, "An OpenAPI 3.1 document", dict),),
            ),
            Route(
                id="stopDaemon",
                method="POST",
                path="/v1/daemon/stop",
                handler=self._stop_daemon,
                summary="Stop the daemon",
                description="Runs go on, and the next daemon finds them.",
                tag="daemon",
                answers=(Answer(202, "It will stop", types.Stopping),),
            ),
        )

    async def _show_status(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        engine = self._status.engine()
        status = types.Status(
            version=self._version,
            wire=protocol.WIRE_VERSION,
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._began, 3),
            ready=self._status.ready() and not self.ending.is_set(),
            engine=types.Engine(engine.state, engine.address, engine.version, engine.reason),
            ladder=[types.Step(each.step, each.way, each.reason, each.cure) for each in self._status.ladder()],
            tools=len(self._tools.all()),
            problem=self._tools.problem,
            failed_builds=[types.FailedBuild(*each) for each in self._status.failed_builds().items()],
            unwatched=[types.Unwatched(each.message, each.cure) for each in self._status.unwatched()],
            unkept=[
                types.Unkept(each.project, each.service, why.reason, why.cure)
                for each, why in self._logs.unkept().items()
            ],
            containers=len(self._containers.all()),
            runs=live(self._runs),
        )
        return web.Response(body=types.encode(status), content_type=errors.JSON)

    async def _show_document(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        return web.Response(body=self.document, content_type=errors.JSON)

    async def _stop_daemon(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        self._stop("asked over the API")
        return web.Response(status=202, body=types.encode(types.Stopping(stopping=True)), content_type=errors.JSON)

    async def _follow_events(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        response = web.StreamResponse(headers=stream_headers(request, NDJSON))
        async with self._hub.subscribe() as queue:
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            ending = asyncio.create_task(self.ending.wait(), name="end of events")
            try:
                while lines := await self._next_lines(queue, ending):
                    await response.write(lines)
            finally:
                ending.cancel()
        return response

    async def _next_lines(self, queue: asyncio.Queue[Event], ending: asyncio.Task[Literal[True]]) -> bytes:
        """What there is to write next: events, a blank line, or nothing where the daemon stops."""
        getting = asyncio.create_task(queue.get(), name="next event")
        try:
            await asyncio.wait((getting, ending), timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                return b"" if ending.done() else b"\n"
            events = [getting.result()]
            while not queue.empty():
                events.append(queue.get_nowait())
            return b"".join(_line(each) for each in events)
        finally:
            getting.cancel()


def _line(event: Event) -> bytes:
    value = {"time": event.time, "kind": event.kind, **event.fields}
    return msgspec.json.encode(value, enc_hook=str) + b"\n"
