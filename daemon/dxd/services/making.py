"""What Compose does to the containers of a project: nothing is decided meanwhile, and what goes is nobody's will.

Owned by the project's supervisor, which asks `going` before it decides, and hands over the events that come meanwhile;
they are heard afterwards. Raises what Compose does, and `EngineTrouble`.
"""

from collections.abc import Awaitable, Callable

from dxd.compose.compose import Compose
from dxd.compose.model import ServiceName, Source
from dxd.engine.model import EngineEvent
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

    async def prepare(self, names: frozenset[ServiceName], progress: Progress) -> None:
        """Have what takes long, and fails most, done before anything is stopped: images built and pulled."""
        if names:
            await self.with_compose(self._compose.prepare(self._source(), self._ledger.project.name, names, progress))

    async def make(
        self, names: frozenset[ServiceName], progress: Progress, *, recreate: bool = False, build: bool = False
    ) -> None:
        """Have Compose make what is missing or not as the files say; it asks the providers that those depend on."""
        name = self._ledger.project.name

        async def make() -> None:
            await self._compose.create(self._source(), name, names, progress=progress, recreate=recreate, build=build)
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
