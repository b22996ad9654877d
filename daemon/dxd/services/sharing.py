"""Services that other projects use: dx as a provider of Docker Compose.

The owner of the table of uses. A use begins with the consumer's `docker compose up` and ends with its `down`. The
service is put on the consumer's networks by the name it has there, now and each time that one of either is made anew:
Compose makes its networks while it asks, so the engine's events say when. The last use of a project that ends stops
what the uses of it had begun, and nothing that somebody else wanted. Raises what `Services` raises.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from dxd.compose.model import Source
from dxd.engine.model import EngineEvent
from dxd.engine.networks import Networks
from dxd.engine.supervised import Supervised
from dxd.errors import Conflict, EngineTrouble, UnknownProject
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks
from dxd.services import waking
from dxd.services.model import ProjectView, Will
from dxd.services.news import PROJECT, SERVICE
from dxd.services.services import Services
from dxd.services.uses import End, Uses
from dxd.store.consumers import Consumer, Consumers
from dxd.telemetry import get_logger

_WANTED = (Will.UP, Will.ASLEEP)
"""By somebody else: what sleeps does so again when it is idle."""

log = get_logger("services")


class Sharing:
    """All uses."""

    def __init__(
        self, *, services: Services, store: Consumers, networks: Networks, containers: Supervised, uses: Uses
    ) -> None:
        self._services = services
        self._ends: dict[tuple[str, str], End] = {}
        """By use, what lets its service sleep again."""
        self._awake = uses
        self._store = store
        self._networks = networks
        self._containers = containers
        self._uses: dict[tuple[str, str], Consumer] | None = None
        self._turns: dict[str, asyncio.Lock] = {}
        """Of those who use a project, one at a time. Not of all: a project that is used may use others."""
        self._asked: list[tuple[str, str]] = []
        """Consumers whose Compose waits now, with the project, or the directory of one that is not known."""
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
        again changes nothing, and has the same answer. Raises `Conflict` where the project waits for the consumer.
        """
        async with self._asking(consumer, of):
            view = await self._find(of)
            before = set() if view is None else {each.name for each in view.services if each.will in _WANTED}
            source = Source(Path(of)) if view is None else await self._services.source(view.name)
            view = await waking.wake(self._services, view, source, [service], progress, made=[service])
            uses = await self._known()
            now = {str(each.name) for each in view.services if each.will is Will.UP}
            old = uses.get((consumer, alias))
            begun = {*(old.begun if old is not None and old.project == view.name else ()), *(now - before)}
            use = Consumer(consumer, alias, view.name, service, tuple(sorted(begun)))
            await self._store.put(use)
            uses[consumer, alias] = use
            self._keep_awake(use)
        await self._join(use)
        return await self._services.inside(view.name, service, alias)

    async def leave(self, consumer: str, alias: str) -> None:
        """The use has ended; one that is not known is fine."""
        uses = await self._known()
        use = uses.get((consumer, alias))
        if use is None:
            return
        async with self._turn(use.project):
            if uses.pop((consumer, alias), None) is None:
                return
            await self._store.remove(consumer, alias)
            self._ends.pop((consumer, alias), _nothing)()
            await self._part(use)
            heir = next((each for each in uses.values() if each.project == use.project), None)
            if heir is not None:
                heir = replace(heir, begun=tuple(sorted({*heir.begun, *use.begun})))
                await self._store.put(heir)
                uses[heir.consumer, heir.alias] = heir
            elif use.begun:
                await self._stop(use)

    async def end(self, consumer: str) -> None:
        """Every use of that consumer has ended: it is taken down without its files, which name its providers."""
        for each in [alias for project, alias in await self._known() if project == consumer]:
            await self.leave(consumer, each)

    @asynccontextmanager
    async def _asking(self, consumer: str, of: str) -> AsyncIterator[None]:
        """The turn of the project that is used, once it is known that it does not wait for the consumer itself."""
        view = await self._find(of)
        project = of if view is None else view.name
        ask = consumer, project
        self._asked.append(ask)
        try:
            if consumer in await self._waiting_for(project):
                raise Conflict(f"{consumer} and {of} use each other", "a service of one of them has to do without")
            async with self._turn(project):
                yield
        finally:
            self._asked.remove(ask)

    async def _waiting_for(self, project: str) -> set[str]:
        """That project, and all whose services it is having started now: its Compose does not go on before."""
        found, pending = set[str](), [project]
        while pending:
            each = pending.pop()
            view = await self._find(each) if each.startswith("/") else None
            name = each if view is None else str(view.name)  # one that was not known when it was asked for
            if name not in found:
                found.add(name)
                pending += [used for consumer, used in self._asked if consumer == name]
        return found

    def _turn(self, project: str) -> asyncio.Lock:
        return self._turns.setdefault(project, asyncio.Lock())

    async def _stop(self, use: Consumer) -> None:
        try:
            view = await self._services.find(use.project, None)
            there = {each.name for each in view.services}
            if names := [each for each in use.begun if each in there]:
                await self._services.stop(use.project, names, Silent())
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
            found = {(each.consumer, each.alias): each for each in await self._store.all()}
            if self._uses is None:  # still: somebody else may have been faster
                self._uses = found
                for use in found.values():
                    self._keep_awake(use)
        return self._uses

    def _keep_awake(self, use: Consumer) -> None:
        """A service that another project uses does not sleep."""
        key = use.consumer, use.alias
        end = self._awake.begin(use.project, [use.service])
        self._ends.pop(key, _nothing)()
        self._ends[key] = end

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


def _nothing() -> None:
    """Ends no use."""
