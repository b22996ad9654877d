"""Services that other projects use: dx as a provider of Docker Compose.

The owner of the table of uses. A use begins with the consumer's `docker compose up` and ends with its `down`. The
service is put on the consumer's networks by the name it has there, now and each time that one of either is made anew:
Compose makes its networks while it asks, so the engine's events say when. The last use of a project that ends stops
what the uses of it had begun, and nothing that somebody else wanted. Raises what `Services` raises.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dxd.compose.model import Source
from dxd.engine.model import EngineEvent
from dxd.engine.networks import Networks
from dxd.engine.supervised import Supervised
from dxd.errors import EngineTrouble, UnknownProject
from dxd.kit.progress import Progress
from dxd.kit.tasks import Tasks
from dxd.services import waking
from dxd.services.model import ProjectView, Will
from dxd.services.news import PROJECT, SERVICE
from dxd.services.services import Services
from dxd.store.consumers import Consumer, Consumers
from dxd.telemetry import get_logger

log = get_logger("services")


class Sharing:
    """All uses."""

    def __init__(self, *, services: Services, store: Consumers, networks: Networks, containers: Supervised) -> None:
        self._services = services
        self._store = store
        self._networks = networks
        self._containers = containers
        self._uses: dict[tuple[str, str], Consumer] | None = None
        self._turn = asyncio.Lock()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def close(self) -> None:
        """End what is under way; the uses go on."""
        await self._tasks.close()

    def on_event(self, event: EngineEvent) -> None:
        """Something happened in the engine."""
        of_network = event.kind == "network" and event.action == "create"
        of_service = event.kind == "container" and event.action == "start" and PROJECT in event.attributes
        if self._uses and (of_network or of_service):
            self.gap()

    def gap(self) -> None:
        """Anything may have happened."""
        self._tasks.spawn(self._join_all(), name="services of other projects")

    async def all(self) -> Sequence[Consumer]:
        """Every use."""
        return [*(await self._known()).values()]

    async def use(self, consumer: str, alias: str, *, of: str, service: str, progress: Progress) -> Mapping[str, str]:
        """Have the service be ready for the consumer; the variables that say where it is: `HOST`, `PORT`, `URL`.

        `of` is the project: its name, or a directory of it, absolute. One that is not known yet is begun by what its
        own files say: Compose calls with the variables of the consumer, which are none of the project's. The same use
        again changes nothing, and has the same answer.
        """
        async with self._turn:
            view = await self._find(of)
            before = set() if view is None else {each.name for each in view.services if each.will is Will.UP}
            source = Source(Path(of)) if view is None else await self._services.source(view.name)
            view = await waking.wake(self._services, view, source, [service], progress, made=[service])
            uses = await self._known()
            now = {str(each.name) for each in view.services if each.will is Will.UP}
            old = uses.get((consumer, alias))
            begun = {*(old.begun if old is not None and old.project == view.name else ()), *(now - before)}
            use = Consumer(consumer, alias, view.name, service, tuple(sorted(begun)))
            await self._store.put(use)
            uses[consumer, alias] = use
        await self._join(use)
        return await self._services.inside(view.name, service, alias)

    async def leave(self, consumer: str, alias: str) -> None:
        """The use has ended; one that is not known is fine."""
        async with self._turn:
            uses = await self._known()
            use = uses.pop((consumer, alias), None)
            if use is None:
                return
            await self._store.remove(consumer, alias)
            await self._part(use)
            heir = next((each for each in uses.values() if each.project == use.project), None)
            if heir is not None:
                heir = replace(heir, begun=tuple(sorted({*heir.begun, *use.begun})))
                await self._store.put(heir)
                uses[heir.consumer, heir.alias] = heir
            elif use.begun:
                await self._stop(use)

    async def _stop(self, use: Consumer) -> None:
        try:
            view = await self._services.find(use.project, None)
            there = {each.name for each in view.services}
            if names := [each for each in use.begun if each in there]:
                await self._services.stop(use.project, names)
        except UnknownProject:  # it was forgotten meanwhile
            return

    async def _find(self, of: str) -> ProjectView | None:
        """None for a directory of which no project is known; raises `UnknownProject` for a name."""
        if not of.startswith("/"):
            return await self._services.find(of, None)
        try:
            return await self._services.find(None, of)
        except UnknownProject:
            return None

    async def _known(self) -> dict[tuple[str, str], Consumer]:
        if self._uses is None:
            self._uses = {(each.consumer, each.alias): each for each in await self._store.all()}
        return self._uses

    async def _join_all(self) -> None:
        for each in [*(await self._known()).values()]:
            try:
                await self._join(each)
            except EngineTrouble as error:
                log.warning("service is not on the network", service=each.alias, reason=error.line())

    async def _join(self, use: Consumer) -> None:
        for network in await self._networks.all({PROJECT: use.consumer}):
            for each in await self._containers.ids({PROJECT: use.project, SERVICE: use.service}):
                await self._networks.connect(network.id, each, alias=use.alias)

    async def _part(self, use: Consumer) -> None:
        for network in await self._networks.all({PROJECT: use.consumer}):
            for each in await self._containers.ids({PROJECT: use.project, SERVICE: use.service}):
                await self._networks.disconnect(network.id, each)
