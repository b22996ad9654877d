"""What Compose does to the containers of a project: nothing is decided meanwhile, and what goes is nobody's will.

Owned by the project's supervisor, which asks `going` before it decides, and hands over the events that come meanwhile;
they are heard afterwards. Images, which may take half an hour, are pulled and built before that, while the project is
looked after. Raises what Compose does, and `EngineTrouble`.
"""

from collections.abc import Awaitable, Callable, Iterable

from dxd.compose import images
from dxd.compose.compose import Compose
from dxd.compose.model import Project, Service, ServiceName, Source, with_dependencies
from dxd.engine.model import EngineEvent
from dxd.engine.supervised import Supervised
from dxd.kit.progress import Progress
from dxd.services.ledger import Ledger
from dxd.services.news import Attribution
from dxd.services.sight import Sight


class Making:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        compose: Compose,
        containers: Supervised,
        attribution: Attribution,
        sight: Sight,
        source: Callable[[], Source],
        made: Callable[[], Awaitable[object]],
        heard: Callable[[EngineEvent], None],
        wake: Callable[[], None],
    ) -> None:
        """`made` is awaited before Compose counts as done; `heard` is told of what was deferred."""
        self.going = False
        """Whether Compose is at the containers now."""
        self._ledger = ledger
        self._compose = compose
        self._containers = containers
        self._attribution = attribution
        self._sight = sight
        self._source = source
        self._made = made
        self._heard = heard
        self._wake = wake
        self._deferred: list[EngineEvent] = []

    def defer(self, event: EngineEvent) -> None:
        """Hear of it later."""
        self._deferred.append(event)

    async def supply(
        self,
        project: Project,
        source: Source,
        names: Iterable[ServiceName],
        progress: Progress,
        *,
        build: bool = False,
    ) -> bool:
        """Have the images of these services, or all, and what they depend on; with `build` those are built anew that
        can be. False where only Compose can tell whether something is left to do, when it makes the containers.
        """
        wanted = with_dependencies(project.services, tuple(names))
        services = [each for name, each in project.services.items() if name in wanted and each.provider is None]
        pulls = images.pulls(services, await self._there(project, services), build=build)
        if pulls.needed:
            await self._compose.pull(source, project.name, pulls.needed, progress, strict=True)
        if pulls.tried:
            await self._compose.pull(source, project.name, pulls.tried, progress, strict=False)
        there = await self._there(project, services)
        if builds := images.builds(project.name, services, there, build=build):
            await self._compose.build(source, project.name, builds, progress)
        return all(map(images.known, services))

    async def _there(self, project: Project, services: Iterable[Service]) -> set[str]:
        names = {name for each in services for name in images.names_of(project.name, each)}
        return {each for each in names if await self._containers.image_id(each) is not None}

    async def make(
        self,
        names: frozenset[ServiceName],
        progress: Progress,
        *,
        recreate: bool = False,
        build: bool = False,
        supplied: bool = False,
    ) -> None:
        """Have Compose make what is missing or not as the files say; it asks the providers that those depend on.

        `supplied` is what `supply` said of these services.
        """
        name = self._ledger.project.name

        async def make() -> None:
            await self._compose.create(
                self._source(), name, names, progress=progress, recreate=recreate, build=build, supplied=supplied
            )
            # Before anything is started: a port that a container publishes now must not have a door any more.
            self._sight.all_anew()
            await self._sight.look()
            await self._made()

        if names:
            await self.with_compose(make())

    async def with_compose(self, work: Awaitable[None]) -> None:
        """Let Compose change containers; nothing is decided meanwhile, and what goes is not taken as anybody's will."""
        self.going = True
        before = set(self._sight.containers)
        try:
            await work
        finally:
            try:
                left = await self._sight.ids()
                for gone in before - left:
                    self._attribution.vanished(gone)
            finally:
                self.going = False
                self._sight.all_anew()
                deferred, self._deferred = self._deferred, []
                for event in deferred:
                    self._heard(event)
                self._wake()
