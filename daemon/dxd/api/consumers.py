"""Consumers: other projects that use a service of one that dx keeps, as Docker Compose's provider."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from dxd.api import errors, project_types, reading, types
from dxd.api.ports import Sharing
from dxd.api.projects import LINES, MAKING
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines
from dxd.errors import DxError, EngineTrouble
from dxd.telemetry import get_logger

log = get_logger("api")


class UseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who uses which service."""

    consumer: project_types.ProjectName
    alias: Annotated[project_types.ServiceName, Meta(description="What the consumer calls it")]
    project: Annotated[str, Meta(pattern=r"^(/[^\x00]*|[a-z0-9][a-z0-9_-]*)$", description="A directory, or a name")]
    service: project_types.ServiceName


class Consumer(Struct, frozen=True):
    """One use."""

    consumer: str
    alias: str
    project: str
    service: str
    begun: Annotated[list[str], Meta(description="Services that stop when the last use of the project ends")]


class Consumers(Struct, frozen=True):
    """By consumer and alias."""

    consumers: list[Consumer]


_USE = msgspec.json.Decoder(UseBody)
_CONSUMER = "[a-z0-9][a-z0-9_-]{0,199}"
_ALIAS = "[a-zA-Z0-9._-]{1,200}"
_PARAMETERS = (
    Parameter("consumer", "The project that uses it", {"type": "string", "pattern": f"^{_CONSUMER}$"}),
    Parameter("alias", "What that calls it", {"type": "string", "pattern": f"^{_ALIAS}$"}),
)


class ConsumerRoutes:
    """The routes of consumers."""

    def __init__(self, *, sharing: Sharing) -> None:
        self._sharing = sharing

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listConsumers",
                method="GET",
                path="/v1/consumers",
                handler=self._list,
                summary="Projects elsewhere that use a service of one that dx keeps",
                tag="projects",
                answers=(Answer(200, "By consumer and alias", Consumers),),
            ),
            Route(
                id="useService",
                method="POST",
                path="/v1/consumers",
                handler=self._use,
                summary="Have a service be ready for another project, and be on that one's networks",
                description=LINES.replace("{project}", "{variables}"),
                tag="projects",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                body=UseBody,
                errors=MAKING,
            ),
            Route(
                id="leaveService",
                method="DELETE",
                path="/v1/consumers/{consumer}/{alias}",
                handler=self._leave,
                summary="End a use; one that is not known is fine",
                tag="projects",
                answers=(Answer(204, "It has ended"),),
                path_parameters=_PARAMETERS,
                errors=(EngineTrouble,),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        found = [
            Consumer(each.consumer, each.alias, each.project, each.service, list(each.begun))
            for each in await self._sharing.all()
        ]
        return web.Response(body=types.encode(Consumers(found)), content_type=errors.JSON)

    async def _use(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _USE)
        with Lines(request) as lines:
            try:
                found = await self._sharing.use(
                    body.consumer, body.alias, of=body.project, service=body.service, progress=lines
                )
            except DxError as error:
                return await lines.finish(types.Problem(errors.shape(error)))
            except Exception:
                log.exception("request failed", path=request.path)
                return await lines.finish(types.Problem(errors.shape(errors.unexpected())))
            return await lines.finish(project_types.Variables(dict(found)))

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        await self._sharing.leave(
            reading.named(reading.path_value(request, "consumer"), _CONSUMER),
            reading.named(reading.path_value(request, "alias"), _ALIAS),
        )
        return web.Response(status=204)
