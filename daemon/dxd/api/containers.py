"""Warm containers: see them, remove them."""

from aiohttp import web

from dxd.api import errors, reading, types
from dxd.api.ports import Containers
from dxd.api.route import Answer, Parameter, Route
from dxd.engine.model import ContainerId
from dxd.errors import BadName, EngineTrouble, NotFound
from dxd.tools.names import TOOL_PATTERN, check_tool
from dxd.warm.model import ContainerView


class ContainerRoutes:
    """The routes of warm containers."""

    def __init__(self, *, containers: Containers) -> None:
        self._containers = containers

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listContainers",
                method="GET",
                path="/v1/containers",
                handler=self._list,
                summary="The warm containers",
                tag="containers",
                answers=(Answer(200, "All of them", types.Containers),),
            ),
            Route(
                id="dropContainers",
                method="DELETE",
                path="/v1/containers",
                handler=self._drop_all,
                summary="Remove every warm container, or those of one tool",
                description="Runs in them end. The next run starts a new one.",
                tag="containers",
                answers=(Answer(200, "How many were removed", types.Dropped),),
                query=(
                    Parameter(
                        "tool",
                        "Only those that take runs of this tool",
                        {"type": "string", "pattern": TOOL_PATTERN},
                    ),
                ),
                errors=(BadName, EngineTrouble),
            ),
            Route(
                id="dropContainer",
                method="DELETE",
                path="/v1/containers/{id}",
                handler=self._drop,
                summary="Remove a warm container",
                description="Runs in it end.",
                tag="containers",
                answers=(Answer(204, "It is gone"),),
                path_parameters=(
                    Parameter("id", "The container's id, whole", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
                ),
                errors=(NotFound, EngineTrouble),
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        every = types.Containers([container_json(each) for each in self._containers.all()])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _drop_all(self, request: web.Request) -> web.StreamResponse:
        tool = reading.read_query(request, "tool").get("tool")
        dropped = await self._containers.drop_all(None if tool is None else check_tool(tool))
        return web.Response(body=types.encode(types.Dropped(dropped)), content_type=errors.JSON)

    async def _drop(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        await self._containers.drop(ContainerId(reading.path_value(request, "id")))
        return web.Response(status=204)


def container_json(container: ContainerView) -> types.Container:
    """A container as JSON."""
    return types.Container(
        id=container.id,
        image=container.image,
        image_id=container.image_id,
        tools=list(container.tools),
        network=container.network,
        state=container.state,
        runs=container.runs,
        idle_s=container.idle_s,
        created_at=container.created_at,
        agent_pid=container.agent_pid,
    )
