"""The networks of projects, for those who are on them without being one of the project's services.

Remembers which network a project's is until the engine tells of another one, since every run on it asks. The warm
containers on them belong to `warm`: here is decided only when they have to leave. Raises `EngineTrouble`.
"""

from collections.abc import Awaitable, Callable

from dxd.engine.model import EngineEvent
from dxd.engine.networks import Networks, NetworkSeen
from dxd.engine.supervised import Supervised
from dxd.errors import EngineTrouble, NotFound
from dxd.kit.tasks import Tasks
from dxd.services.news import PROJECT
from dxd.telemetry import get_logger

NETWORK = "com.docker.compose.network"
DIRECTORY = "com.docker.compose.project.working_dir"
_BUILT_IN = frozenset({"none", "bridge", "host"})

log = get_logger("services")


class ProjectNetworks:
    """Of all projects, those too that dx does not look after."""

    def __init__(
        self,
        *,
        networks: Networks,
        containers: Supervised,
        occupied: Callable[[], set[str]],
        leave: Callable[[str], Awaitable[None]],
        retire: Callable[[str], None],
        acting: Callable[[str], bool],
    ) -> None:
        """`occupied` are the networks with warm containers; `leave` removes those on one and raises `Conflict` where
        one has runs; `retire` lets those that have runs finish; `acting` is whether dx itself is at a project's
        containers just now, which come back, or whose networks it vacates first.
        """
        self._networks = networks
        self._containers = containers
        self._occupied = occupied
        self._leave = leave
        self._retire = retire
        self._acting = acting
        self._found: dict[tuple[str, str], str] = {}
        self._projects: dict[str, str] = {}
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    def on_event(self, event: EngineEvent) -> None:
        """Something happened in the engine."""
        if event.kind == "network":
            self.clear()
        elif event.kind == "container" and event.action in ("die", "destroy") and event.attributes.get(PROJECT):
            project = event.attributes[PROJECT]
            if self._occupied() - _BUILT_IN and not self._acting(project):
                self._tasks.spawn(self._follow_out(project), name=f"networks of {project}")

    def clear(self) -> None:
        """Anything may have changed."""
        self._found.clear()
        self._projects.clear()

    async def of(self, project: str) -> list[NetworkSeen]:
        """Those that Compose has made for it."""
        return await self._networks.all({PROJECT: project})

    async def find(self, project: str, name: str) -> str:
        """The engine's name of one, by what the compose file calls it; raises `NotFound`."""
        if (project, name) not in self._found:
            found = await self._networks.all({PROJECT: project, NETWORK: name})
            if not found:
                raise NotFound(f"the project {project} has no network {name!r} now", "run: dx up")
            self._found[project, name] = found[0].name
        return self._found[project, name]

    async def project_at(self, directory: str) -> str | None:
        """The project that Compose has containers of for a directory, whoever called it."""
        if directory not in self._projects:
            for each in await self._containers.ids({DIRECTORY: directory}):
                found = await self._containers.inspect(each)
                if found is not None and (name := found.labels.get(PROJECT)):
                    self._projects[directory] = name
                    break
        return self._projects.get(directory)

    async def vacate(self, project: str) -> None:
        """Have no warm container on any of them; `Conflict` where a run is on one."""
        occupied = self._occupied()
        if not occupied - _BUILT_IN:
            return
        for each in await self.of(project):
            if each.name in occupied:
                await self._leave(each.name)

    async def _follow_out(self, project: str) -> None:
        """Where nothing of a project runs any more, whoever ended it may want to remove its networks."""
        try:
            for each in await self._containers.ids({PROJECT: project}):
                found = await self._containers.inspect(each)
                if found is not None and found.status == "running":
                    return
            for network in await self.of(project):
                self._retire(network.name)
        except EngineTrouble as error:
            log.warning("networks are not looked after", project=project, reason=error.line())
