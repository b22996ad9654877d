"""What tools keep: see and remove caches, empty kept roots."""

from collections.abc import Iterable

from aiohttp import web

from dxd.api import errors, reading, types
from dxd.api.ports import Volumes
from dxd.api.route import Answer, Parameter, Route
from dxd.errors import BadName, BadRequest, Conflict, EngineTrouble, NotFound
from dxd.tools.names import TOOL_PATTERN, check_tool
from dxd.warm.model import VolumeKind
from dxd.warm.volumes import VolumeView


class CacheRoutes:
    """The routes of caches."""

    def __init__(self, *, volumes: Volumes) -> None:
        self._volumes = volumes

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listCaches",
                method="GET",
                path="/v1/caches",
                handler=self._list,
                summary="The caches",
                tag="caches",
                answers=(Answer(200, "All of them", types.Caches),),
                errors=(EngineTrouble,),
            ),
            Route(
                id="dropCaches",
                method="DELETE",
                path="/v1/caches",
                handler=self._drop,
                summary="Remove the caches of a tool, or one of them",
                description="The tool's warm containers go with them; where a run is in one it is a conflict.",
                tag="caches",
                answers=(Answer(200, "Those that were removed", types.CachesDropped),),
                query=(
                    Parameter("tool", "Whose", {"type": "string", "pattern": TOOL_PATTERN}),
                    Parameter("path", "Only the one at this path", {"type": "string", "pattern": r"^/[^\u0000]*$"}),
                ),
                errors=(BadName, Conflict, NotFound, EngineTrouble),
            ),
            Route(
                id="resetTool",
                method="DELETE",
                path="/v1/tools/{name}/root",
                handler=self._reset,
                summary="Empty the kept root of a tool",
                description="Its warm container goes with it; where a run is in it it is a conflict.",
                tag="caches",
                answers=(Answer(200, "How many layers were removed", types.RootsDropped),),
                path_parameters=(Parameter("name", "The tool", {"type": "string", "pattern": TOOL_PATTERN}),),
                errors=(BadName, Conflict, EngineTrouble),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        every = types.Caches(_json(await self._volumes.all(VolumeKind.CACHE)))
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _drop(self, request: web.Request) -> web.StreamResponse:
        query = reading.read_query(request, "tool", "path")
        if "tool" not in query:
            raise BadRequest("the parameter tool is missing", "say whose caches to remove: ?tool=NAME")
        tool, path = check_tool(query["tool"]), query.get("path")
        dropped = await self._volumes.remove(VolumeKind.CACHE, tool, path)
        if not dropped:
            raise NotFound(f"{tool} has no cache" + (f" at {path}" if path is not None else ""), "see: dx cache ls")
        return web.Response(body=types.encode(types.CachesDropped(_json(dropped))), content_type=errors.JSON)

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        dropped = await self._volumes.remove(VolumeKind.ROOT, check_tool(reading.path_value(request, "name")), None)
        return web.Response(body=types.encode(types.RootsDropped(len(dropped))), content_type=errors.JSON)


def _json(views: Iterable[VolumeView]) -> list[types.Cache]:
    return [types.Cache(each.use.tool, each.use.path, each.name) for each in views]
