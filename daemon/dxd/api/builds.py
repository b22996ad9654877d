"""Builds: see what was built and what it said, go back to an older one, remove what nothing uses."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from aiohttp import web

from dxd.api import errors, reading, types
from dxd.api.ports import Builds
from dxd.api.route import Answer, Parameter, Route
from dxd.api.stream import stream_headers
from dxd.errors import BadName, Conflict, EngineTrouble, ImageTrouble, NotFound, UnknownTool
from dxd.store.model import BuildId, BuildView
from dxd.tools.names import TOOL_PATTERN, check_tool

TEXT = "text/plain"

_NAME: dict[str, object] = {"type": "string", "pattern": TOOL_PATTERN}
_TOOL = (Parameter("name", "The tool", _NAME),)
_ID = (Parameter("id", "Number of the build", {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}),)
_ROLLBACK = msgspec.json.Decoder(types.RollbackBody)


class BuildRoutes:
    """The routes of builds."""

    def __init__(self, *, builds: Builds) -> None:
        self._builds = builds

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listBuilds",
                method="GET",
                path="/v1/builds",
                handler=self._list,
                summary="What was built and pulled, of every tool or of one",
                tag="builds",
                answers=(Answer(200, "The latest first", types.Builds),),
                query=(Parameter("tool", "Only those of this tool", _NAME),),
                errors=(BadName, EngineTrouble),
            ),
            Route(
                id="showBuild",
                method="GET",
                path="/v1/builds/{id}",
                handler=self._show,
                summary="One build",
                tag="builds",
                answers=(Answer(200, "The build", types.BuildRecord),),
                path_parameters=_ID,
                errors=(NotFound, EngineTrouble),
            ),
            Route(
                id="showBuildLog",
                method="GET",
                path="/v1/builds/{id}/log",
                handler=self._log,
                summary="What a build said",
                description="Of one that goes on, as far as it got. Of a long one the beginning and the end.",
                tag="builds",
                answers=(Answer(200, "Lines of text", media_types=(TEXT,)),),
                path_parameters=_ID,
                errors=(NotFound,),
            ),
            Route(
                id="rollBackTool",
                method="POST",
                path="/v1/tools/{name}/rollback",
                handler=self._roll_back,
                summary="Have runs of a tool use an older build",
                description=(
                    "From the next run on, and until the tool is unpinned, whatever changes. Without a number it is "
                    "the one that served before the one in use."
                ),
                tag="builds",
                answers=(Answer(200, "The build that is in use now", types.BuildRecord),),
                path_parameters=_TOOL,
                body=types.RollbackBody,
                errors=(BadName, UnknownTool, NotFound, Conflict, ImageTrouble, EngineTrouble),
            ),
            Route(
                id="unpinTool",
                method="POST",
                path="/v1/tools/{name}/unpin",
                handler=self._unpin,
                summary="Have a tool follow its Dockerfile, or its image's tag, again",
                tag="builds",
                answers=(Answer(204, "It does, as it may have before"),),
                path_parameters=_TOOL,
                errors=(BadName, UnknownTool, Conflict, EngineTrouble),
            ),
            Route(
                id="prune",
                method="POST",
                path="/v1/prune",
                handler=self._prune,
                summary="Remove what dx made and nothing uses",
                description="Builds that are not kept any more, their images and logs.",
                tag="builds",
                answers=(Answer(200, "What was removed", types.Freed),),
                errors=(Conflict, EngineTrouble),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        tool = reading.read_query(request, "tool").get("tool")
        found = await self._builds.all(None if tool is None else check_tool(tool))
        every = types.Builds([build_json(each) for each in found])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        build = build_json(await self._builds.get(_build_id(request)))
        return web.Response(body=types.encode(build), content_type=errors.JSON)

    async def _log(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        bits = await self._builds.log(_build_id(request))
        async with aclosing(bits):
            return await _write(request, bits)

    async def _roll_back(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        tool = check_tool(reading.path_value(request, "name"))
        body = await reading.read_json(request, _ROLLBACK)
        build = await self._builds.rollback(tool, None if body.build is None else BuildId(int(body.build)))
        return web.Response(body=types.encode(build_json(build)), content_type=errors.JSON)

    async def _unpin(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        await self._builds.unpin(check_tool(reading.path_value(request, "name")))
        return web.Response(status=204)

    async def _prune(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        freed = await self._builds.prune()
        return web.Response(body=types.encode(types.Freed(freed.images, freed.bytes)), content_type=errors.JSON)


def build_json(build: BuildView) -> types.BuildRecord:
    """A build as JSON."""
    return types.BuildRecord(
        id=build.id,
        tool=build.tool,
        digest=build.digest,
        image_id=build.image_id,
        began_at=build.began,
        duration_s=build.seconds,
        result=build.result,
        cause=build.cause,
        asked_by=build.asked_by,
        error=build.error,
        size_bytes=build.size_bytes,
        current=build.current,
        pinned=build.pinned,
    )


async def _write(request: web.Request, bits: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    response = web.StreamResponse(headers=stream_headers(request, f"{TEXT}; charset=utf-8"))
    await response.prepare(request)
    if request.method != "HEAD":
        async for each in bits:
            await response.write(each)
    await response.write_eof()
    return response


def _build_id(request: web.Request) -> BuildId:
    text = reading.path_value(request, "id")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise NotFound("no build has this number", "a build's number is a whole one; GET /v1/builds lists them")
    return BuildId(int(text))
