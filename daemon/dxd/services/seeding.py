"""Fills volumes that were empty when their service was about to start: `seed` of `x-dx`, run once.

The command runs in the service's container, as soon as the service would be ready; until it has succeeded the service
is not. Owned by the supervisor. Which volumes are due is kept by `snapshots.seeds`, so a seed that was cut short, by
the end of the daemon too, is run again, in a container that was started anew: the one before may still run in the old.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from dxd.compose.model import Project, ServiceName
from dxd.engine.model import ContainerStatus, Inspected
from dxd.engine.supervised import TIMED_OUT, Supervised
from dxd.errors import DxError, EngineTrouble, NotFound
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.news import Attribution
from dxd.services.sight import Sight, run_of
from dxd.snapshots.seeds import Seeds

SEED_S = 3600.0
"""A seed that takes longer has failed."""
AGAIN_S = 1.0
"""After the engine would not stop a container."""
SHOWN_CHARACTERS = 300
"""Of what a seed printed that failed."""


class Seeding:
    """The seeds of one project."""

    def __init__(
        self,
        containers: Supervised,
        seeds: Seeds,
        tasks: Tasks,
        *,
        ledger: Ledger,
        attribution: Attribution,
        sight: Sight,
        wake: Callable[[], None],
    ) -> None:
        self._containers = containers
        self._seeds = seeds
        self._tasks = tasks
        self._ledger = ledger
        self._attribution = attribution
        self._sight = sight
        self._wake = wake
        self._running: dict[str, asyncio.Task[None]] = {}

    async def due(self, project: Project, name: ServiceName) -> bool:
        """Whether a service that is about to start is to be seeded; raises `EngineTrouble`."""
        if project.services[name].extras.seed is None:
            return False
        found = False
        for volume in project.volumes_of([name]):
            try:
                found |= await self._seeds.due(volume)
            except NotFound:
                found = True  # the engine makes it, empty
        return found

    async def adopt(self) -> None:
        """Stop what a daemon before has begun to seed; it is started again, and seeded again, in its turn."""
        project = self._ledger.project
        for name, service in project.services.items():
            running = [each for each in self._ledger.seen.of(name) if each.runs]
            if not running or not await self._cut_short(project, name):
                self._ledger.seed(name, due=False)
                continue
            for each in running:
                self._again(self._sight.containers[each.id])
                await self._containers.stop(each.id, grace_s=service.stop_grace_s)
                await self._sight.look_at(each.id)

    async def _cut_short(self, project: Project, name: ServiceName) -> bool:
        """Whether a service that runs since before the daemon did has a seed that was not brought to its end."""
        if project.services[name].extras.seed is None:
            return False
        return any([await self._seeds.begun(volume) for volume in project.volumes_of([name])])

    def keep(self, wanted: Mapping[ServiceName, Inspected], project: Project, *, live: Collection[str]) -> None:
        """Have these seeded; what goes on in runs that are not to live any more is nobody's matter."""
        for run in self._running.keys() - set(live):
            self._running.pop(run).cancel()
        for name, container in wanted.items():
            seed = project.services[name].extras.seed
            if seed is not None and run_of(container) not in self._running:
                work = self._seed(name, container, seed, project.volumes_of([name]))
                self._running[run_of(container)] = self._tasks.start(work, name=f"seed {container.name}")

    async def _seed(self, name: ServiceName, container: Inspected, seed: Sequence[str], volumes: Sequence[str]) -> None:
        try:
            status, printed = await self._containers.test(container, seed, deadline_s=SEED_S)
        except EngineTrouble:
            self._again(container)
            await self._stop(container)
            return
        except DxError:
            return  # the container is gone
        if status == 0:
            for each in volumes:
                await self._seeds.done(each)
            self._ledger.seed(name, due=False)
            self._wake()
            return
        now = await self._containers.inspect(container.id)
        if now is None or now.status is not ContainerStatus.RUNNING or run_of(now) != run_of(container):
            return  # it has ended with its service
        how = f"did not end within {SEED_S / 60:g} minutes" if status == TIMED_OUT else f"ended with status {status}"
        self._failed(container, f"its seed {how}: {' '.join(printed.split())[-SHOWN_CHARACTERS:]}".rstrip(": "))
        await self._stop(container)

    def _failed(self, container: Inspected, reason: str) -> None:
        """To be stopped next, as `_again` is."""
        self._attribution.announce(container.id, "stop")
        self._ledger.condemn(run_of(container), reason)

    def _again(self, container: Inspected) -> None:
        self._attribution.announce(container.id, "stop")
        self._ledger.excuse(run_of(container), "its seed was cut short")

    async def _stop(self, container: Inspected) -> None:
        while True:
            try:
                await self._containers.stop(container.id, grace_s=10.0)
            except NotFound:
                return
            except EngineTrouble:
                await asyncio.sleep(AGAIN_S)
            else:
                return
