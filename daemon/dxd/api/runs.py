"""Runs: lease one, see them, send one a signal."""

import signal

import msgspec
from aiohttp import web

from dx import protocol
from dxd.api import errors, link, reading, types
from dxd.api.lease import LeaseHandler
from dxd.api.ports import Runs
from dxd.api.route import Answer, Parameter, Route
from dxd.errors import (
    CannotGrant,
    Conflict,
    EngineTrouble,
    ImageTrouble,
    NoCommand,
    NotFound,
    Refused,
    Stopping,
    TooLarge,
    UnknownTool,
)
from dxd.runs.model import Run, RunId, RunState

_SIGNAL = msgspec.json.Decoder(types.SignalBody)
_LIVE = (RunState.LEASED, RunState.RUNNING)
_ID = Parameter("id", "Number of the run", {"type": "integer", "minimum": 1, "maximum": 2**53 - 1})


class RunRoutes:
    """The routes of runs."""

    def __init__(self, *, runs: Runs) -> None:
        self._runs = runs
        self.lease = LeaseHandler(runs)

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="leaseRun",
                method="POST",
                path="/v1/runs",
                handler=self.lease.answer,
                summary="Ask for a run",
                description=(
                    "Picks or starts a warm container, pulling or building its image where that is missing, and says "
                    "where to start the run and what to bring. The run begins when the agent is shown the token. "
                    f"Launchers use {protocol.MEDIA_TYPE}, the records of daemon/agent/wire.h."
                ),
                tag="runs",
                answers=(Answer(200, "The lease", types.Lease, (protocol.MEDIA_TYPE,)),),
                body=types.LeaseBody,
                body_media_types=(protocol.MEDIA_TYPE,),
                errors=(
                    *(UnknownTool, CannotGrant, NoCommand, Refused, Conflict, ImageTrouble, EngineTrouble, Stopping),
                    TooLarge,
                ),
            ),
            Route(
                id="listRuns",
                method="GET",
                path="/v1/runs",
                handler=self._list,
                summary="The runs that live, and the latest that have ended",
                tag="runs",
                answers=(Answer(200, "The latest first", types.Runs),),
                query=(Parameter("state", "Only those that live, or have ended", {"enum": ["live", "finished"]}),),
            ),
            Route(
                id="showRun",
                method="GET",
                path="/v1/runs/{id}",
                handler=self._show,
                summary="One run",
                tag="runs",
                answers=(Answer(200, "The run", types.Run),),
                path_parameters=(_ID,),
                errors=(NotFound,),
            ),
            Route(
                id="linkRun",
                method="GET",
                path="/v1/runs/{id}/link",
                handler=self._link,
                summary="Start and attend a run whose agent cannot be reached",
                description=(
                    f"Takes an upgrade of the connection to {link.UPGRADE}; what follows is the run link in frames "
                    "(daemon/agent/wire.h), between the launcher and the agent."
                ),
                tag="runs",
                answers=(Answer(101, "The connection is the run's"),),
                path_parameters=(_ID,),
                errors=(NotFound, Conflict, EngineTrouble, Stopping),
            ),
            Route(
                id="signalRun",
                method="POST",
                path="/v1/runs/{id}/signal",
                handler=self._signal,
                summary="Send a signal to a run",
                tag="runs",
                answers=(Answer(204, "It was sent"),),
                path_parameters=(_ID,),
                body=types.SignalBody,
                errors=(NotFound, Conflict, Refused),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        state = reading.one_of(reading.read_query(request, "state"), "state", "live", "finished")
        runs = [each for each in self._runs.all() if state is None or (each.state in _LIVE) == (state == "live")]
        return web.Response(body=types.encode(types.Runs([run_json(each) for each in runs])), content_type=errors.JSON)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        run = run_json(self._runs.get(_run_id(request)))
        return web.Response(body=types.encode(run), content_type=errors.JSON)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        return await link.relay(request, self._runs, _run_id(request))

    async def _signal(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        run = _run_id(request)
        body = await reading.read_json(request, _SIGNAL)
        await self._runs.signal(run, signal.Signals[f"SIG{body.signal}"], group=body.group)
        return web.Response(status=204)


def run_json(run: Run) -> types.Run:
    """A run as JSON."""
    return types.Run(
        id=run.id,
        tool=run.tool,
        command=run.command,
        container=run.container,
        client_pid=run.client_pid,
        state=run.state,
        created_at=run.created_at,
        started_at=run.started_at,
        duration_s=run.duration_s,
        exit_code=run.exit_code,
        signal=run.signal,
        user_s=run.user_s,
        system_s=run.system_s,
        max_rss_bytes=run.max_rss_bytes,
    )


def live(runs: Runs) -> int:
    """How many runs live."""
    return sum(each.state in _LIVE for each in runs.all())


def _run_id(request: web.Request) -> RunId:
    text = reading.path_value(request, "id")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise NotFound("no run has this number", "a run's number is a whole one; GET /v1/runs lists them")
    return RunId(int(text))
