"""An engine and a daemon in virtual time, for the ledger alone: containers start, become healthy, fall, are killed.

What the daemon does to the engine takes time here as it does there, and news of it may come late.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from dxd.compose.model import Condition, Service, ServiceName
from dxd.engine.model import ContainerId, ContainerStatus, Health
from dxd.services import policy
from dxd.services.ledger import Ledger
from dxd.services.loop import SETTLE_S
from dxd.services.model import Action, Do, Instance, Phase, Will
from dxd.services.others import DYING_S
from tests.dxd.services.projects import project

PATIENCE_S = 10.0
"""For so long the daemon waits for the engine to start something."""


@dataclass
class Container:
    """As the engine has it."""

    service: Service
    status: ContainerStatus = ContainerStatus.CREATED
    health: Health = Health.NONE
    starts: int = 0
    exit_code: int = 0
    frozen: bool = False
    done: bool = False


class World:
    """Ten services, or as many as it is given; `fault` makes something happen, `run` lets time pass."""

    def __init__(self, services: list[Service], seed: int, *, checked: frozenset[str], check_s: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.checked = checked
        """Those that have a health check."""
        self.check_s = check_s
        """The engine tests them so often; 0 where nobody looks whether it does."""
        self.away = False
        """The engine is out of sight."""
        self.suspended_s = 0.0
        """For so long everything has stood still, but for the clock."""
        self.stopped: list[tuple[float, ServiceName]] = []
        self.wakes_at: float | None = None
        self.containers = {each.name: Container(each) for each in services}
        self.ledger = Ledger(project(*services), {each.name: Will.UP for each in services})
        self.later: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.started: list[tuple[float, ServiceName]] = []
        self.broken: set[ServiceName] = set()
        """Services that end as soon as they have been started."""
        self.engine_s = 0.0
        """How much longer it takes to start something."""
        self.user_stopped: set[ServiceName] = set()
        self.one_shots = {each for each in self.containers if self.ledger.wanted.one_shot(each)}
        self.look()

    def at(self, delay_s: float, act: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.later, (self.now + delay_s, self.count, act))

    def instance(self, name: ServiceName) -> Instance:
        one = self.containers[name]
        return Instance(
            service=name,
            number=1,
            id=ContainerId(name),
            status=one.status,
            health=one.health,
            exit_code=one.exit_code,
            started=str(one.starts) if one.starts else "",
            check_s=self.check_s if name in self.checked else 0.0,
            last_test=str((self.now - self.suspended_s) // self.check_s) if self.check_s else "",
        )

    def look(self, excused: str = "") -> None:
        """The daemon lists everything, as after a gap."""
        self.ledger.look([self.instance(name) for name in self.containers], self.now, excused=excused)
        self.act()

    def tell(self, name: ServiceName) -> None:
        """News of a container reaches the daemon a little later, and by then it may be another."""
        self.at(self.random.uniform(0.001, 0.05), lambda: self.heard(name))

    def heard(self, name: ServiceName) -> None:
        if self.away:
            return
        self.ledger.see(self.instance(name), self.now)
        self.act()

    def act(self) -> None:
        if self.away:
            return
        for each in self.ledger.silent(self.now):
            self.ledger.see(self.instance(ServiceName(each)), self.now)
        for action in self.ledger.plan(self.now):
            if self.ledger.begin(action, self.now):
                if action.do is Do.START:
                    self.check_start(action.service)
                    begun = self.random.uniform(0.05, 0.3) + self.engine_s
                    if begun < PATIENCE_S:
                        self.at(begun, lambda action=action: self.done(action))  # type: ignore[misc]
                    else:
                        self.at(PATIENCE_S, lambda action=action: self.unanswered(action))  # type: ignore[misc]
                        self.at(begun, lambda name=action.service: self.start(name))  # type: ignore[misc]
                else:
                    self.stopped.append((self.now, action.service))
                    slow = 10.0 if self.containers[action.service].frozen else 0.1
                    self.at(slow, lambda action=action: self.done(action))  # type: ignore[misc]
        wake = self.ledger.wake_at(self.now)
        if wake is not None and (self.wakes_at is None or wake < self.wakes_at):
            self.wakes_at = wake
            self.at(wake - self.now, lambda: self.woken(wake))

    def woken(self, at: float) -> None:
        if self.wakes_at == at:
            self.wakes_at = None
        self.act()

    def done(self, action: Action) -> None:
        """What was asked of the engine has happened, unless it is gone."""
        if self.away:
            self.ledger.finish(action.container)
            return
        if action.do is Do.START:
            self.start(action.service)
        else:
            self.end(action.service, 137 if self.containers[action.service].frozen else 143)
        self.ledger.see(self.instance(action.service), self.now)
        self.ledger.finish(action.container)
        self.act()

    def unanswered(self, action: Action) -> None:
        """The daemon waits for the engine no longer, which goes on."""
        self.ledger.not_done(action, "the engine does not answer", self.now)
        self.ledger.see(self.instance(action.service), self.now)
        self.ledger.finish(action.container)
        self.act()

    def check_start(self, name: ServiceName) -> None:
        """No start is ever begun before what it depends on is as it has to be."""
        self.started.append((self.now, name))
        assert name not in self.user_stopped, f"{name} was stopped by its user, and is started"
        for dependency in self.containers[name].service.depends_on:
            shown = self.ledger.phase(dependency.service, self.now)[0]
            good = {
                Condition.STARTED: {Phase.STARTING, Phase.READY, Phase.UNHEALTHY, Phase.PAUSED, Phase.DONE},
                Condition.HEALTHY: {Phase.READY},
                Condition.COMPLETED: {Phase.DONE},
            }[dependency.condition]
            assert shown in good, f"{name} is started while {dependency.service} is {shown}"

    def start(self, name: ServiceName) -> None:
        one = self.containers[name]
        if one.status is ContainerStatus.RUNNING:
            return
        health = Health.STARTING if name in self.checked else Health.NONE
        fresh = Container(one.service, ContainerStatus.RUNNING, health, one.starts + 1)
        self.containers[name] = fresh
        run = fresh.starts
        if name in self.broken:
            self.at(0.1, lambda: self.end(name, 1, run))
        elif name in self.one_shots:
            self.at(self.random.uniform(0.1, 2), lambda: self.end(name, 0, run))
        elif name in self.checked:
            self.at(self.random.uniform(0.1, 3), lambda: self.health(name, Health.HEALTHY, run))
        self.tell(name)

    def health(self, name: ServiceName, health: Health, run: int) -> None:
        one = self.containers[name]
        if one.status is ContainerStatus.RUNNING and one.starts == run and not one.frozen:
            self.containers[name] = replace(one, health=health)
            self.tell(name)

    def end(self, name: ServiceName, status: int, run: int | None = None) -> None:
        one = self.containers[name]
        if one.status is ContainerStatus.RUNNING and run in (None, one.starts):
            self.containers[name] = replace(one, status=ContainerStatus.EXITED, exit_code=status, frozen=False)
            self.tell(name)

    def fault(self) -> None:
        """One of the things that go wrong."""
        name = self.random.choice(sorted(self.containers))
        one = self.containers[name]
        match self.random.randrange(7):
            case 0 | 1:
                self.end(name, 137)
            case 2:
                if name in self.checked:
                    self.health(name, Health.UNHEALTHY, one.starts)
            case 3:
                if one.status is ContainerStatus.RUNNING and name in self.checked:
                    self.containers[name] = replace(one, frozen=True, health=Health.UNHEALTHY)
                    self.tell(name)
            case 4:
                self.restart_engine()
            case 5:
                self.restart_daemon()
            case 6:
                self.by_user(name)

    def restart_engine(self) -> None:
        """Everything ends, nothing is told of it, and the daemon lists again."""
        self.ledger.excuse_all("the engine was restarted")
        for name, one in self.containers.items():
            if one.status is ContainerStatus.RUNNING:
                self.containers[name] = replace(one, status=ContainerStatus.EXITED, exit_code=137, frozen=False)
        self.look("the engine was restarted")

    def engine_goes(self) -> None:
        """It ends everything, which is told of some, and is gone: nothing that is asked of it is done."""
        for name in self.containers:
            self.end(name, 137)
        self.at(0.03, self.lost)

    def lost(self) -> None:
        self.away = True
        self.ledger.forgive(self.now - DYING_S, "the engine was restarted")

    def engine_returns(self) -> None:
        """And nothing is decided before it has told what happened meanwhile."""
        self.away = False
        self.ledger.settled = False
        self.look("the engine was restarted")
        self.at(SETTLE_S, self.settle)

    def settle(self) -> None:
        self.ledger.settled = True
        self.act()

    def suspend(self, for_s: float) -> None:
        """Nothing goes on, but for the clock: all that was due meanwhile is due at once."""
        self.suspended_s += for_s
        self.now += for_s

    def restart_daemon(self) -> None:
        """All that was not kept is forgotten; what it had asked the engine for happens all the same."""
        old = self.ledger
        self.ledger = Ledger(old.project, old.wills, old.ends(), old.falls())
        self.look("while dx was away")

    def by_user(self, name: ServiceName) -> None:
        """`docker stop`, or `docker start` of what they have stopped."""
        if name in self.user_stopped:
            self.user_stopped.discard(name)
            self.start(name)
            self.ledger.taken(name, Will.UP)
        elif self.containers[name].status is ContainerStatus.RUNNING and name not in self.one_shots:
            if self.ledger.get(ContainerId(name)) is not None and self.instance(name).busy:
                return
            self.user_stopped.add(name)
            self.ledger.excuse(self.instance(name).run, "stopped by somebody")
            self.end(name, 143)
            self.ledger.taken(name, Will.DOWN)
        self.heard(name)

    def run(self, for_s: float) -> None:
        until = self.now + for_s
        while self.later and self.later[0][0] <= until:
            at, _, act = heapq.heappop(self.later)
            self.now = max(self.now, at)
            act()
        self.now = until

    def shown(self) -> dict[str, Phase]:
        return {name: policy.phase(self.ledger.wanted, self.ledger.seen, name, self.now) for name in self.containers}
