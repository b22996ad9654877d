"""Has services of one project sleep and wake: keeps their doors, leads connections, and stops what nobody uses.

Made by the supervisor, which tells it of each look at the project (`turn`), and by whose turn it stops services. What
is idle is decided by `idleness`, which doors there are by `doors`. It asks nobody again and again: while something uses
a service it cannot be idle before its time has passed once more, and that is when it is looked at next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from dxd.compose.model import Port, ProjectName, ServiceName
from dxd.engine.model import ContainerId, Inspected
from dxd.engine.supervised import Supervised, words_of
from dxd.errors import DxError, EngineTrouble, ProxyFailed, ServiceFailed
from dxd.kit.tasks import Tasks
from dxd.proxy.model import Place
from dxd.services import doors, idleness
from dxd.services.idleness import Use
from dxd.services.ledger import Ledger
from dxd.services.listening import Doors
from dxd.services.model import Instance
from dxd.services.turn import Turn
from dxd.services.uses import Uses
from dxd.telemetry import get_logger

Ports = Mapping[ServiceName, Sequence[Port]]

AGAIN_S = 1.0
"""After somebody else had the turn."""
DOOR_AGAIN_S = 10.0
"""After a port could not be had."""

log = get_logger("services")


class Sleeper:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        listening: Doors,
        uses: Uses,
        tasks: Tasks,
        containers: Callable[[], Mapping[ContainerId, Inspected]],
        rouse: Callable[[ServiceName], Awaitable[None]],
        turn: Turn,
        engine: Supervised,
        ports: Callable[[], Awaitable[Ports]],
        act: Callable[[], Awaitable[None]],
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`ports` are where dx is to listen, `rouse` returns when a service is ready; `act` has the supervisor decide,
        and `wake` has it do so soon.
        """
        self._ledger = ledger
        self._listening = listening
        self._uses = uses
        self._tasks = tasks
        self._containers = containers
        self._rouse = rouse
        self._turn = turn
        self._engine = engine
        self._ports_of = ports
        self._ports: Ports = {}
        self._act = act
        self._wake = wake
        self._clock = clock
        self._born = clock()
        """What was used before is not known."""
        self._last: dict[ServiceName, float] = {}
        self._held: set[ServiceName] = set()
        """Those that others depended on, when it was looked at last."""
        self._led: dict[ServiceName, str] = {}
        """To which run of which container connections are led."""
        self._rousing: dict[ServiceName, asyncio.Task[DxError | None]] = {}
        self._resting: set[ServiceName] = set()
        self._again: dict[ServiceName, float] = {}
        """Not to be stopped before."""
        self._wanted: object = None
        self._listens = self._shut = False
        self._not_before = 0.0
        self.wake_at: float | None = None
        """When time alone changes something."""
        self.troubles: dict[ServiceName, str] = {}
        """By service, why a port of it could not be had, for people."""

    def turn(self, now: float) -> None:
        """Something was looked at."""
        self._forget_ended()
        at = self._idle(now)
        wanted = self._plan()
        if self._shut:
            pass
        elif wanted != self._wanted or (self.troubles and now >= self._not_before):
            self._wanted, self._not_before = wanted, now + DOOR_AGAIN_S
            self._tasks.spawn(self.listen(), name=f"doors of {self._project}")
        elif self.troubles:
            at.append(self._not_before)
        self.wake_at = min(at, default=None)

    async def listen(self) -> list[DxError]:
        """Have the doors that there are to be; why not, where one cannot be had."""
        while True:
            self._ports = await self._ports_of()
            wanted = self._wanted = self._plan()
            if self._shut or (not wanted and not self._listens):
                return []
            self._listens = True
            found = await self._listening.keep(self._project, wanted, self._lead)
            if self._wanted == wanted:
                break
        for name, error in found.items():
            if self.troubles.get(name) != error.line():
                log.warning("no door", project=self._project, service=name, reason=error.line())
        self.troubles = {name: each.line() for name, each in found.items()}
        self._not_before = self._clock() + DOOR_AGAIN_S
        if found:
            self._wake()
        return [*found.values()]

    async def shut(self) -> None:
        """Have no doors any more, for good."""
        self._shut = True
        if self._listens:
            await self._listening.keep(self._project, {}, self._lead)

    @property
    def _project(self) -> ProjectName:
        return self._ledger.project.name

    def _plan(self) -> dict[ServiceName, tuple[doors.Door, ...]]:
        service_of = {str(each.id): each.service for each in self._ledger.seen.instances}
        containers = self._containers().values()
        standing = self._listening.of(self._project)
        return doors.plan(self._ledger.project, self._ledger.wills, self._ports, standing, containers, service_of)

    def _idle(self, now: float) -> list[float]:
        """Begin to stop what may be; when to look again for the others."""
        wanted, seen = self._ledger.wanted, self._ledger.seen
        uses = {}
        for name, service in wanted.services.items():
            if service.extras.idle_s is None:
                continue
            held = bool(idleness.dependants(wanted, seen, name))
            if name in self._held and not held:
                self._last[name] = now
            (self._held.add if held else self._held.discard)(name)
            uses[name] = self._use(name)
        later = []
        for rest in idleness.rests(wanted, seen, uses.items(), now):
            at = max(rest.at, self._again.get(rest.service, 0.0))
            if at > now:
                later.append(at)
            elif rest.service not in self._resting:
                self._resting.add(rest.service)
                self._tasks.spawn(self._rest(rest.service), name=f"rest of {rest.service}")
        return later

    def _use(self, name: ServiceName) -> Use:
        networks = [each for one in self._of(name) for each in one.addresses]
        use = self._uses.of(self._project, name, networks)
        since = self._listening.idle_since(self._project, name)
        last = max(self._born, self._last.get(name, 0.0), use.last, since or 0.0)
        return Use(use.now or since is None, last)

    async def _rest(self, name: ServiceName) -> None:
        try:
            if self._turn.locked():
                # Not waited for: whoever has it changes something of the project.
                self._again[name] = self._clock() + AGAIN_S
                return
            async with self._turn:
                now, use = self._clock(), self._use(name)
                wanted, seen = self._ledger.wanted, self._ledger.seen
                if name not in wanted.services:
                    return  # its files do not have it any more
                if not any(each.at <= now for each in idleness.rests(wanted, seen, [(name, use)], now)):
                    return
                if await self._is_entered(name):
                    self._again[name] = now + AGAIN_S
                    return
                if not await self._listening.rest(self._project, name):
                    self._last[name] = now
                    return
                self._ledger.ask_sleep(name)
                await self._act()
        except (ProxyFailed, EngineTrouble) as error:
            self._last[name] = self._clock()
            log.warning("not known whether it is used", service=name, reason=error.line())
        finally:
            self._resting.discard(name)
            self._wake()

    async def _is_entered(self, name: ServiceName) -> bool:
        """Whether somebody runs a program in it: `dx exec`, a shell. Tests of it are nobody's use, however often they
        are made and however long they take.
        """
        ready = self._ledger.project.services[name].extras.ready
        for each in self._ledger.seen.of(name):
            container = await self._engine.inspect(each.id)
            if container is None:
                continue
            tests = [ready or (), container.check.test if container.check else ()]
            own = [words_of(container, test) for test in tests if test]
            for made in container.execs:
                words = await self._engine.program(made)
                if words is not None and words not in own:
                    return True
        return False

    async def _lead(self, name: ServiceName, target: int) -> Place:
        """Where it listens once it is ready: what a door asks. Raises `DxError`."""
        task = self._rousing.get(name)
        if task is None or task.done():
            task = self._rousing[name] = self._tasks.start(self._once(name), name=f"wake {name}")
        if error := await asyncio.shield(task):  # the other doors of the service wait for the same
            raise error
        running = [each for each in self._ledger.seen.of(name) if each.runs]
        found = doors.lead([each for each in self._of(name) if _is_of(each, running)], target)
        if not running:
            raise ServiceFailed(f"{name} has ended", f"see: dx logs {name}")
        if found is None:
            hint = "give it a network that this machine is on"
            raise ServiceFailed(f"{name} has no address that this machine reaches", hint)
        self._led[name] = running[0].run
        return found

    async def _once(self, name: ServiceName) -> DxError | None:
        try:
            await self._rouse(name)
        except DxError as error:
            return error
        return None

    def _forget_ended(self) -> None:
        """Where the container has ended that connections were led to, another may get its address."""
        runs = {each.run for each in self._ledger.seen.instances if each.runs}
        for name in [name for name, run in self._led.items() if run not in runs]:
            del self._led[name]
            self._tasks.spawn(self._listening.lost(self._project, name), name=f"{name} has ended")

    def _of(self, name: ServiceName) -> list[Inspected]:
        ids = {each.id for each in self._ledger.seen.of(name)}
        return [each for each in self._containers().values() if each.id in ids]


def _is_of(container: Inspected, instances: list[Instance]) -> bool:
    return any(each.id == container.id for each in instances)
