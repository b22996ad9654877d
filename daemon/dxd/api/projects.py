"""Projects and their services: have them run, see them, stop them, forget them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from dxd.api import errors, project_types, reading, types
from dxd.api.ports import Services
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines
from dxd.compose.model import Source
from dxd.errors import (
    BadCompose,
    BadRequest,
    ComposeMissing,
    Conflict,
    DxError,
    EngineTrouble,
    ImageTrouble,
    ServiceTrouble,
    UnknownProject,
    UnknownService,
)
from dxd.kit.progress import Progress
from dxd.services.model import ProjectView, ServiceView
from dxd.telemetry import get_logger

LINES = (
    "A stream of JSON values, one on each line: `{note}` is a line that lasts, `{progress}` takes the place of the one "
    "before, and the last is `{project}` or `{error}`."
)
_BEGUN = (Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),)
_NAME = (Parameter("name", "The project", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,199}$"}),)
_SERVICE = Parameter("service", "The service", {"type": "string", "pattern": "^[a-zA-Z0-9._-]{1,200}$"})
_CWD = Parameter("cwd", "Only the one that this directory belongs to", {"type": "string", "pattern": "^/"})
MAKING = (
    *(BadCompose, ComposeMissing, UnknownProject, UnknownService, Conflict),
    *(ServiceTrouble, ImageTrouble, EngineTrouble),
)
_UP = msgspec.json.Decoder(project_types.UpBody)
_DOWN = msgspec.json.Decoder(project_types.DownBody)
_SERVICES = msgspec.json.Decoder(project_types.ServicesBody)
_RESTART = msgspec.json.Decoder(project_types.RestartBody)

log = get_logger("api")

T = TypeVar("T")
Work = Callable[[Progress], Awaitable[ProjectView]]


class ProjectRoutes:
    """The routes of projects."""

    def __init__(self, *, services: Services) -> None:
        self._services = services

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listProjects",
                method="GET",
                path="/v1/projects",
                handler=self._list,
                summary="The projects that are known, with their services",
                tag="projects",
                answers=(Answer(200, "By name", project_types.Projects),),
                query=(_CWD,),
                errors=(UnknownProject,),
            ),
            Route(
                id="upProject",
                method="POST",
                path="/v1/projects",
                handler=self._up,
                summary="Have a project's services run",
                description=f"From then on the project is known, and kept as its files say. {LINES}",
                tag="projects",
                answers=_BEGUN,
                body=project_types.UpBody,
                errors=MAKING,
            ),
            Route(
                id="showProject",
                method="GET",
                path="/v1/projects/{name}",
                handler=self._show,
                summary="One project",
                tag="projects",
                answers=(Answer(200, "The project", project_types.Project),),
                path_parameters=_NAME,
                errors=(UnknownProject,),
            ),
            Route(
                id="forgetProject",
                method="DELETE",
                path="/v1/projects/{name}",
                handler=self._forget,
                summary="Look after a project no more",
                description="Its containers go on, and have the restart policies of the files again.",
                tag="projects",
                answers=(Answer(204, "It is forgotten"),),
                path_parameters=_NAME,
                errors=(UnknownProject, EngineTrouble),
            ),
            Route(
                id="downProject",
                method="POST",
                path="/v1/projects/{name}/down",
                handler=self._down,
                summary="Remove a project's containers and networks",
                description=f"Named volumes stay unless that is asked for. The project stays known. {LINES}",
                tag="projects",
                answers=_BEGUN,
                path_parameters=_NAME,
                body=project_types.DownBody,
                errors=MAKING,
            ),
            Route(
                id="startServices",
                method="POST",
                path="/v1/projects/{name}/start",
                handler=self._start,
                summary="Start services that were stopped",
                description=LINES,
                tag="projects",
                answers=_BEGUN,
                path_parameters=_NAME,
                body=project_types.ServicesBody,
                errors=MAKING,
            ),
            Route(
                id="stopServices",
                method="POST",
                path="/v1/projects/{name}/stop",
                handler=self._stop,
                summary="Stop services until somebody wants them",
                description=LINES,
                tag="projects",
                answers=_BEGUN,
                path_parameters=_NAME,
                body=project_types.ServicesBody,
                errors=MAKING,
            ),
            Route(
                id="restartServices",
                method="POST",
                path="/v1/projects/{name}/restart",
                handler=self._restart,
                summary="Read the files again, and start services anew",
                description=LINES,
                tag="projects",
                answers=_BEGUN,
                path_parameters=_NAME,
                body=project_types.RestartBody,
                errors=MAKING,
            ),
            Route(
                id="waitForServices",
                method="POST",
                path="/v1/projects/{name}/wait",
                handler=self._wait,
                summary="Wait until services are ready or done",
                description=LINES,
                tag="projects",
                answers=_BEGUN,
                path_parameters=_NAME,
                body=project_types.ServicesBody,
                errors=MAKING,
            ),
            Route(
                id="showProjectVariables",
                method="GET",
                path="/v1/projects/{name}/env",
                handler=self._variables,
                summary="Where a project's services are, as variables for programs",
                tag="projects",
                answers=(Answer(200, "Of services that run", project_types.Variables),),
                path_parameters=_NAME,
                errors=(UnknownProject, BadCompose, ComposeMissing),
            ),
            Route(
                id="showServiceTerminal",
                method="GET",
                path="/v1/projects/{name}/services/{service}/terminal",
                handler=self._terminal,
                summary="How to call Docker Compose for a service, on a terminal of one's own",
                tag="projects",
                answers=(Answer(200, "A command line", project_types.Terminal),),
                path_parameters=(*_NAME, _SERVICE),
                errors=(UnknownProject, UnknownService, BadCompose, ComposeMissing, EngineTrouble),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        cwd = reading.read_query(request, "cwd").get("cwd")
        if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
            raise BadRequest("the parameter cwd has to be an absolute path")
        found = await self._services.all() if cwd is None else [await self._services.find(None, cwd)]
        every = project_types.Projects([project_json(each) for each in found])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        project = project_json(await self._services.find(reading.path_value(request, "name"), None))
        return web.Response(body=types.encode(project), content_type=errors.JSON)

    async def _up(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _UP)
        source = Source(Path(body.cwd), tuple(body.files), body.name, tuple(body.profiles), body.env)
        return await _told(
            request,
            lambda lines: self._services.up(
                source, body.services, lines, wait=body.wait, recreate=body.recreate, build=body.build
            ),
        )

    async def _down(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        name, body = reading.path_value(request, "name"), await reading.read_json(request, _DOWN)
        await self._services.find(name, None)

        async def work(lines: Progress) -> ProjectView:
            await self._services.down(name, lines, volumes=body.volumes)
            return await self._services.find(name, None)

        return await _told(request, work)

    async def _start(self, request: web.Request) -> web.StreamResponse:
        name, body = await self._asked(request, _SERVICES)
        return await _told(request, lambda lines: self._services.start(name, body.services, lines, wait=body.wait))

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        name, body = await self._asked(request, _SERVICES)
        return await _told(request, lambda lines: self._services.stop(name, body.services, lines))

    async def _restart(self, request: web.Request) -> web.StreamResponse:
        name, body = await self._asked(request, _RESTART)
        source = Source(Path("/"), profiles=tuple(body.profiles), environ=body.env)
        return await _told(
            request, lambda lines: self._services.restart(name, source, body.services, lines, wait=body.wait)
        )

    async def _wait(self, request: web.Request) -> web.StreamResponse:
        name, body = await self._asked(request, _SERVICES)
        return await _told(request, lambda lines: self._services.wait(name, body.services, lines))

    async def _variables(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        found = await self._services.variables(reading.path_value(request, "name"))
        return web.Response(body=types.encode(project_types.Variables(dict(found))), content_type=errors.JSON)

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        name, service = reading.path_value(request, "name"), reading.path_value(request, "service")
        argv, env = await self._services.on_terminal(name, service)
        return web.Response(body=types.encode(project_types.Terminal(list(argv), dict(env))), content_type=errors.JSON)

    async def _asked(self, request: web.Request, decoder: "msgspec.json.Decoder[T]") -> tuple[str, T]:
        """The project, which has to be known, and what is asked of it."""
        reading.read_query(request)
        name, body = reading.path_value(request, "name"), await reading.read_json(request, decoder)
        await self._services.find(name, None)
        return name, body

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        await self._services.forget(reading.path_value(request, "name"))
        return web.Response(status=204)


async def _told(request: web.Request, work: Work) -> web.StreamResponse:
    """Do it, and tell how it goes line by line."""
    with Lines(request) as lines:
        try:
            project = await work(lines)
        except DxError as error:
            return await lines.finish(types.Problem(errors.shape(error)))
        except Exception:
            log.exception("request failed", path=request.path)
            return await lines.finish(types.Problem(errors.shape(errors.unexpected())))
        return await lines.finish(project_types.ProjectLine(project_json(project)))


def project_json(project: ProjectView) -> project_types.Project:
    """A project as JSON."""
    return project_types.Project(
        name=project.name,
        directory=project.directory,
        files=list(project.files),
        profiles=list(project.profiles),
        services=[service_json(each) for each in project.services],
        problem=project.problem or None,
    )


def service_json(service: ServiceView) -> project_types.Service:
    """A service as JSON."""
    return project_types.Service(
        name=service.name,
        state=service.phase,
        reason=service.reason,
        wanted=service.will,
        image=service.image,
        containers=list(service.containers),
        ports=[project_types.BoundPort(each.target, each.protocol, each.address, each.port) for each in service.ports],
        health=service.health,
        restarts=service.restarts,
        running_s=service.since_s,
    )
