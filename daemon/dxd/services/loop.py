"""Looks at what may have changed of a project, decides by its ledger, has it done and tells whoever waits: the loop.

Owned by the project's supervisor, whose verbs ask for a `step` of their own in their turn. While the engine is away,
or Compose is at the containers, nothing is decided. Whatever goes wrong in it is logged, and it goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dxd.compose.compose import Compose
from dxd.compose.model import ServiceName, Source
from dxd.engine.model import Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import EngineDown, EngineTrouble
from dxd.kit.hub import Hub
from dxd.kit.tasks import Tasks
from dxd.services import probes
from dxd.services.doer import Doer
from dxd.services.ledger import Ledger
from dxd.services.model import Action, Phase, Will
from dxd.services.news import Attribution
from dxd.services.probes import Probes
from dxd.services.seeding import Seeding
from dxd.services.sight import Sight, run_of
from dxd.services.sleeper import Sleeper
from dxd.services.waiters import Waiters
from dxd.snapshots.seeds import Seeds
from dxd.telemetry import get_logger

SETTLE_S = 0.3
"""After the engine was out of sight: what happened meanwhile is told within this."""
AGAIN_S = 1.0
"""After the engine would not say what is there."""

log = get_logger("services")


class Loop:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        compose: Compose,
        containers: Supervised,
        sight: Sight,
        attribution: Attribution,
        seeds: Seeds,
        tasks: Tasks,
        hub: Hub,
        source: Callable[[], Source],
        sleeper: Callable[[], Sleeper],
        making: Callable[[], bool],
        keep: Callable[[Ledger], Awaitable[None]],
        before: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`making` says whether Compose is at the containers; `keep` and `before` are as the supervisor has them."""
        self.away = False
        """Whether the engine is out of sight, so that what is known may not be so any more."""
        self.waiters = Waiters(
            ledger=ledger,
            containers=containers,
            known=lambda: sight.complete and not self.away and not making(),
            away=lambda: self.away,
            clock=clock,
        )
        self._ledger = ledger
        self._sight = sight
        self._sleeper = sleeper
        self._making = making
        self._keep = keep
        self._before = before
        self._hub = hub
        self._tasks = tasks
        self._clock = clock
        self._probes = Probes(containers, tasks, self._passed, self._hangs)
        self._seeding = Seeding(
            containers, seeds, tasks, ledger=ledger, attribution=attribution, sight=sight, wake=self.wake
        )
        self._doer = Doer(
            ledger=ledger,
            compose=compose,
            containers=containers,
            attribution=attribution,
            seeding=self._seeding,
            sight=sight,
            source=source,
            save=self.save,
            away=self._went,
            clock=clock,
        )
        self._awake = asyncio.Event()
        self._looked = asyncio.Event()
        """Set once it is known what is there, or that the engine cannot say."""
        self._adopted = False
        self._kept: object = None
        self._phases: dict[str, Phase] = {}

    def wake(self) -> None:
        """Look soon."""
        self._awake.set()

    async def looked(self) -> None:
        """Return when it is known what is there, or that the engine cannot say."""
        await self._looked.wait()

    def back(self) -> None:
        """The engine is in sight, again or still; events may have been missed."""
        if self.away:
            self.away = False
            self._sight.all_anew("the engine was restarted")
            self._unsettle()
        else:
            self._sight.all_anew()
        self.wake()

    def lost(self) -> None:
        """The engine is out of sight."""
        self.away = True
        self._looked.set()
        self.waiters.wake()

    def forget_phase(self, name: ServiceName) -> None:
        """Tell of it once more, so that whoever compares it with its files looks again."""
        self._phases.pop(name, None)
        self.wake()

    async def run(self) -> None:
        """For as long as the project is looked after."""
        while True:
            looked = False
            try:
                if not self.away and not self._making():
                    await self.step()
                    looked = True
            except EngineDown:
                self.away = True  # whoever follows the engine's events says when it is back
                self._looked.set()
            except EngineTrouble as error:
                log.warning("project is not looked after", project=self._ledger.project.name, reason=error.line())
                asyncio.get_running_loop().call_later(AGAIN_S, self.wake)
            except Exception:
                # Whatever it is, it must not end the supervision of the project.
                log.exception("project is not looked after", project=self._ledger.project.name)
                asyncio.get_running_loop().call_later(AGAIN_S, self.wake)
            wake_at = self._wake_at() if looked and not self.away and not self._making() else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - self._clock())):
                    await self._awake.wait()
            self._awake.clear()

    async def look(self) -> None:
        """See what may have changed."""
        await self._sight.look()
        self._looked.set()

    async def step(self) -> None:
        """Look at what may have changed, decide, and begin what is to be done."""
        await self.look()
        await self._before()
        if not self._adopted:
            await self._seeding.adopt()
            self._adopted = True
        now = self._clock()
        for action in self._ledger.plan(now):
            if self._ledger.begin(action, now):
                self._tasks.spawn(self._act(action), name=f"{action.do} {action.service}")
            else:
                self.wake()
        runs = {each.run for each in self._ledger.seen.instances if each.runs}
        self._probes.keep(probes.due(self._ledger, self._sight.containers, now), runs)
        seen, will = self._sight.containers, self._ledger.wanted.will
        self._seeding.keep(
            {each.service: seen[each.id] for each in self._ledger.to_seed(now) if each.id in seen},
            self._ledger.project,
            live={each.run for each in self._ledger.seen.instances if will(each.service) is Will.UP},
        )
        self._sleeper().turn(now)
        await self._tell()

    def _wake_at(self) -> float | None:
        every = (self._ledger.wake_at(self._clock()), self._sleeper().wake_at)
        return min((each for each in every if each is not None), default=None)

    async def _act(self, action: Action) -> None:
        try:
            await self._doer.act(action)
        finally:
            self.wake()

    def _went(self) -> None:
        self.away = True

    def _passed(self, container: Inspected) -> None:
        self._ledger.probed(container.id, run_of(container))
        self.wake()

    def _hangs(self, container: Inspected, reason: str) -> None:
        self._ledger.hangs(container.id, run_of(container), reason)
        self.wake()

    async def _tell(self) -> None:
        """Keep what has to be kept, and wake whoever waits."""
        await self.save()
        now = self._clock()
        for name in self._ledger.project.services:
            phase, reason = self._ledger.phase(name, now)
            if self._phases.get(name) is not phase:
                self._phases[name] = phase
                told = {"project": self._ledger.project.name, "service": name, "state": phase, "reason": reason}
                self._hub.publish("service.changed", **told)
        self.waiters.wake()

    async def save(self) -> None:
        """Keep what has to outlive the daemon, where it is not kept yet."""
        ends = sorted(each.run for each in self._ledger.ends())
        state = (dict(self._ledger.wills), ends, self._ledger.falls())
        if state != self._kept:
            self._kept = state
            await self._keep(self._ledger)

    def _unsettle(self) -> None:
        self._ledger.settled = False

        def settle() -> None:
            self._ledger.settled = True
            self.wake()

        asyncio.get_running_loop().call_later(SETTLE_S, settle)
