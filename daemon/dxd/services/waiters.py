"""Whoever waits for services of one project: told as soon as they are ready, or why they will not be.

Owned by the project's supervisor, which wakes it after each look, and when the engine goes. Raises `ServiceFailed`, for
a stop where the engine does not do it; `UnknownService` once the files do not have a service any more, `Conflict` once
the project is not looked after any more; `EngineDown` where a stop cannot be seen.
"""

import asyncio
from collections.abc import Callable, Iterable

from dxd.compose.model import ServiceName
from dxd.engine.supervised import Supervised
from dxd.errors import Conflict, EngineDown, EngineTrouble, ServiceFailed, UnknownService
from dxd.kit.progress import Progress
from dxd.services import policy
from dxd.services.ledger import Ledger
from dxd.services.model import Instance, Phase

LAST_LINES = 20
"""Of what a service printed, for whoever is told that it fell."""


class Waiters:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        containers: Supervised,
        known: Callable[[], bool],
        away: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """`known` says whether all that was told has been looked at, `away` whether the engine is out of sight."""
        self._ledger = ledger
        self._containers = containers
        self._known = known
        self._away = away
        self._clock = clock
        self._closed = False
        self._turned = asyncio.Event()
        """Set when something has been looked at, and another one put in its place."""

    def wake(self) -> None:
        """Something was looked at."""
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    def close(self) -> None:
        """Tell them that nobody looks after the project any more."""
        self._closed = True
        self.wake()

    async def wait(self, names: Iterable[ServiceName], progress: Progress, *, since: float) -> None:
        """Return when all of these are ready, done or asleep; `ServiceFailed` once one has ended badly or fallen ill
        since then, or will not become ready by itself. What it printed last is told before.
        """
        chosen = sorted(names)
        told = ""
        while True:
            self._refuse_if_closed()
            turned, now = self._turned, self._clock()
            wanted, seen = self._ledger.wanted, self._ledger.seen
            self.refuse_if_gone(chosen)
            for each, reason in policy.fallen(wanted, seen, chosen, since):
                await self._tell_last_lines(each, progress)
                raise ServiceFailed(f"{each.service}: {reason}", f"see: dx logs {each.service}")
            if seen.settled and self._known():
                for stuck in policy.stuck(wanted, seen, chosen, now):
                    raise ServiceFailed(f"{stuck.service}: {stuck.reason}", stuck.hint)
                waiting = policy.waiting(wanted, seen, chosen, now)
                if not waiting:
                    return
                line = ", ".join(self._how(name, now) for name in waiting)
                if line != told:
                    told = line
                    progress.progress(line)
            await turned.wait()

    async def stopped(self, names: Iterable[ServiceName], are: Callable[[], bool]) -> None:
        """Return when services that were told to stop have done so; `ServiceFailed` once the engine does not do it."""
        chosen = sorted(names)
        while True:
            self._refuse_if_closed()
            turned = self._turned
            if are():
                return
            if self._away():
                raise EngineDown("the engine went away while services were stopped", "try again when it runs")
            for name, reason in self._ledger.unstopped(chosen):
                raise ServiceFailed(f"{name} does not stop: {reason}", "how it goes on: dx services")
            await turned.wait()

    async def back(self) -> None:
        """Return when the engine is in sight."""
        while self._away():
            self._refuse_if_closed()
            await self._turned.wait()

    def refuse_if_gone(self, names: Iterable[ServiceName]) -> None:
        """Raise `UnknownService` where the files do not have one of these any more."""
        project = self._ledger.project
        for name in names:
            if name not in project.services:
                raise UnknownService(
                    f"{name} is gone from the files of the project {project.name}", "see what it has: dx services"
                )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            name = self._ledger.project.name
            raise Conflict(f"the project {name} is not looked after any more", "begin again: dx up")

    def _how(self, name: ServiceName, now: float) -> str:
        phase, reason = self._ledger.phase(name, now)
        return f"{name} is {phase}: {reason}" if phase is Phase.STARTING and reason else f"{name} is {phase}"

    async def _tell_last_lines(self, each: Instance, progress: Progress) -> None:
        try:
            text = await self._containers.logs(each.id, LAST_LINES)
        except EngineTrouble:
            return
        for line in text.splitlines():
            progress.note(f"{each.service} | {line}")
