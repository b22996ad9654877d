"""Follows the engine's events for everybody who wants them, and knows what `/v1/status` says of it all.

Made by `app`, beside the rooms that it tells. It fails with nothing: an engine that goes is told to them as well.
"""

import asyncio
from collections.abc import Mapping

from dxd.develop.develop import Develop
from dxd.engine.docker import Engine
from dxd.engine.events import follow
from dxd.engine.model import EngineEvent, EngineStatus
from dxd.engine.reach import preload
from dxd.errors import EngineTrouble
from dxd.images.images import Images
from dxd.rebuild.rebuild import Rebuilds
from dxd.services.networks import ProjectNetworks
from dxd.services.services import Services
from dxd.services.sharing import Sharing
from dxd.telemetry import get_logger
from dxd.warm import ladder
from dxd.warm.ladder import Rung
from dxd.warm.pool import Pool
from dxd.watch.model import Problem as Unwatched

log = get_logger("app")


class EngineWatch:
    """Follows the engine's events, and knows what `/v1/status` says of it."""

    def __init__(
        self,
        *,
        engine: Engine,
        images: Images,
        pool: Pool,
        rebuilds: Rebuilds,
        services: Services,
        networks: ProjectNetworks,
        sharing: Sharing,
        develop: Develop,
        force: frozenset[Rung],
    ) -> None:
        self._engine = engine
        self._services = services
        self._networks = networks
        self._sharing = sharing
        self._develop = develop
        self._rebuilds = rebuilds
        self._force = force
        self._images = images
        self._pool = pool
        self._adopted = asyncio.Event()
        pool.expect()

    def ready(self) -> bool:
        """Whether what was there before has been adopted, or the engine cannot say."""
        return self._adopted.is_set()

    def engine(self) -> EngineStatus:
        """What the last call found."""
        return self._engine.status()

    def failed_builds(self) -> Mapping[str, str]:
        """By tool, why its newest build does not serve."""
        return self._rebuilds.failures()

    def unwatched(self) -> list[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""
        return [*self._rebuilds.unwatched(), *self._develop.unwatched()]

    def ladder(self) -> tuple[ladder.Step, ...]:
        """How each step of a run is done here."""
        root, reach = self._pool.ladder()
        return root, ladder.grants(bind=Rung.BIND in self._force, portable=bool(reach.reason)), reach

    async def follow(self) -> None:
        """An eternal job: from the first adoption on, every event, and the whole again after each gap."""
        await asyncio.to_thread(preload)
        await follow(self._engine, self._event, self._gap, self._lost)

    def _event(self, event: EngineEvent) -> None:
        self._images.on_event(event)
        self._rebuilds.on_event(event)
        self._services.on_event(event)
        self._networks.on_event(event)
        self._sharing.on_event(event)

    async def _gap(self) -> None:
        self._images.clear()
        self._services.gap()
        self._networks.clear()
        self._sharing.gap()
        await self._pool.adopt()
        self._is_adopted()
        self._rebuilds.engine_is_back()

    def _lost(self, error: EngineTrouble) -> None:
        log.warning("engine lost", reason=error.line())
        self._services.lost()
        self._is_adopted()

    def _is_adopted(self) -> None:
        self._adopted.set()
        self._pool.settle()
