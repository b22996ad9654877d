"""Publishing a tool at a registry."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from dxd.api import reading
from dxd.api.ports import Pushes
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines, told
from dxd.errors import BadDefinition, EngineTrouble, ImageTrouble, Refused, UnknownTool
from dxd.tools.names import TOOL_PATTERN, check_tool


class PushBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to, and what the image is to say of itself."""

    to: Annotated[str, Meta(description="The name at the registry, like ghcr.io/team/jq:1.7")]
    labels: Annotated[
        dict[str, str], Meta(description="The `dev.dx.*` labels that describe the tool, as `dx export` has them")
    ] = {}


class Pushed(Struct, frozen=True):
    """What the registry has now."""

    ref: str
    digest: str


class PushedLine(Struct, frozen=True):
    """The end: what was pushed."""

    pushed: Pushed


_BODY = msgspec.json.Decoder(PushBody)
_NAME = Parameter("name", "Of the tool; a project's by its whole name", {"type": "string", "pattern": TOOL_PATTERN})


class PushRoutes:
    """The one route."""

    def __init__(self, *, pushes: Pushes) -> None:
        self._pushes = pushes

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="pushTool",
                method="POST",
                path="/v1/tools/{name}/push",
                handler=self._push,
                summary="Publish a tool's image, with labels that describe it, at a registry",
                description=(
                    "A stream of JSON values as of `prepareTool`; the last is `{pushed}` or `{error}`. The login is "
                    "that of Docker's command line. Nothing of it stays in the engine."
                ),
                tag="tools",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                path_parameters=(_NAME,),
                body=PushBody,
                errors=(UnknownTool, BadDefinition, Refused, ImageTrouble, EngineTrouble),
            ),
        )

    async def _push(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _BODY)
        name = check_tool(reading.path_value(request, "name"))

        async def work(lines: Lines) -> Struct:
            pushed = await self._pushes.push(name, body.to, body.labels, lines)
            return PushedLine(Pushed(pushed.ref, pushed.digest))

        return await told(request, work)
