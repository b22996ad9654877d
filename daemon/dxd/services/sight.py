"""What the engine has of a project: its containers in detail, looked at again where something may have changed.

Owned by the project's supervisor, and told by it what the events are about; tells the ledger what it sees. Whatever
cannot be looked at now is looked at the next time. Raises `EngineTrouble`.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId, Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import NotFound
from dxd.services.ledger import Ledger
from dxd.services.model import Instance
from dxd.services.news import NUMBER, ONEOFF, PROJECT, SERVICE
from dxd.services.swap import is_aside

OUTPUT_CHARACTERS = 200
"""Of what a health check said, which stands in tables."""


class Sight:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        containers: Supervised,
        clock: Callable[[], float],
        started: Callable[[Inspected], None],
    ) -> None:
        """`started` is told of each run of a container, which may have ended by then."""
        self.containers: dict[ContainerId, Inspected] = {}
        """As they were last seen."""
        self._ledger = ledger
        self._engine = containers
        self._clock = clock
        self._started = started
        self._runs: dict[ContainerId, str] = {}
        self._looking = asyncio.Lock()
        self._dirty: set[ContainerId] = set()
        self._everything: str | None = "it ended while dx was away"
        """Why those that have ended are not to blame, where all are to be looked at; None where not all are."""

    @property
    def complete(self) -> bool:
        """Whether all that was told has been looked at."""
        return self._everything is None and not self._dirty and not self._looking.locked()

    def news(self, container: ContainerId) -> None:
        """Something happened to it."""
        self._dirty.add(container)

    def all_anew(self, excused: str = "") -> None:
        """Anything may have happened; `excused` is why those that have ended meanwhile are not to blame."""
        self._everything = excused or self._everything or ""

    async def ids(self) -> set[ContainerId]:
        """The containers that there are now."""
        return set(await self._engine.ids({PROJECT: self._ledger.project.name}))

    async def look(self) -> None:
        """See what may be others than they were."""
        async with self._looking:
            if self._everything is not None:
                await self._look_at_all()
            self._dirty.update(self._ledger.silent(self._clock()))
            while self._dirty:
                await self._look_at(self._dirty.pop())

    async def look_at(self, container: ContainerId) -> None:
        """See this one now."""
        async with self._looking:
            await self._look_at(container)

    async def _look_at_all(self) -> None:
        # What is told from here on may be of later than what is seen.
        excused, self._everything = self._everything or "", None
        self._dirty.clear()
        try:
            found = await asyncio.gather(*(self._engine.inspect(each) for each in await self.ids()))
        except BaseException:
            self.all_anew(excused)
            raise
        self.containers = {each.id: each for each in found if each is not None and _is_service(each)}
        self._ledger.look([instance(each) for each in self.containers.values()], self._clock(), excused=excused)
        await self._take_over(self.containers.values())

    async def _look_at(self, container: ContainerId) -> None:
        try:
            found = await self._engine.inspect(container)
        except BaseException:
            self._dirty.add(container)
            raise
        if found is None:
            self.containers.pop(container, None)
            self._runs.pop(container, None)
            self._ledger.lose(container)
        elif _is_service(found):
            self.containers[container] = found
            self._ledger.see(instance(found), self._clock())
            await self._take_over([found])

    async def _take_over(self, found: Iterable[Inspected]) -> None:
        """The engine restarts nothing of it by itself any more, and what it prints is kept."""
        for each in found:
            if each.started_at and self._runs.get(each.id) != (run := run_of(each)):
                self._runs[each.id] = run
                self._started(each)
            if each.restart != "no" and each.labels.get(SERVICE) in self._ledger.project.services:
                with suppress(NotFound):
                    await self._engine.leave_to_dx(each.id)


def instance(container: Inspected) -> Instance:
    """A container as the ledger knows it."""
    number = container.labels.get(NUMBER, "1")
    return Instance(
        service=ServiceName(container.labels[SERVICE]),
        number=int(number) if number.isdigit() else 1,
        id=container.id,
        status=container.status,
        health=container.health,
        exit_code=container.exit_code,
        oom_killed=container.oom_killed,
        error=container.error,
        started=container.started_at,
        health_output=" ".join(container.health_output.split())[:OUTPUT_CHARACTERS],
        check_s=container.check.interval_s + container.check.timeout_s + container.check.start_s
        if container.check
        else 0,
        last_test=container.last_test,
    )


def run_of(container: Inspected) -> str:
    """Which run of it this is."""
    return instance(container).run


def _is_service(container: Inspected) -> bool:
    labels = container.labels
    if labels.get(ONEOFF, "False") == "True" or SERVICE not in labels:
        return False
    return not is_aside(container.name, labels.get(PROJECT, ""), labels[SERVICE])
