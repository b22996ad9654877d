"""What to do with the containers of a project, and why nothing is done with the others: pure decisions.

`plan` decides over a picture of the moment; what the past means in it is said in `histories`. The functions at the end
answer whoever waits for services.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dxd.compose.model import Condition, Dependency, RestartKind, Service, ServiceName
from dxd.engine.model import ContainerStatus, Health
from dxd.services import histories
from dxd.services.model import Action, Do, End, EndKind, Hold, Instance, Phase, Seen, Wanted, Will

ALIVE_S = 0.2
"""A service without any check is ready once it has lived for so long: one that cannot start ends before that."""
REMOVED_S = 60.0
"""What the engine has been removing for so long it will not have removed soon."""

Decision = Action | Hold

_TO_STOP = (Will.STOPPING, Will.ASLEEP)


def plan(wanted: Wanted, seen: Seen, now: float) -> tuple[list[Action], list[Hold]]:
    """Decide about every container, and about services that have none."""
    actions: list[Action] = []
    holds: list[Hold] = []
    phases = {name: phase(wanted, seen, name, now) for name in wanted.services}
    for name, service in wanted.services.items():
        instances = seen.of(name)
        if not instances:
            holds.append(_absent(wanted, name))
        for each in instances:
            decision = _decide(wanted, seen, service, each, phases, now)
            (actions if isinstance(decision, Action) else holds).append(decision)  # type: ignore[arg-type]
    return actions, holds


def phase(wanted: Wanted, seen: Seen, name: ServiceName, now: float) -> Phase:
    """What is going on with a service: of several containers, what is furthest from ready."""
    service = wanted.services.get(name)
    if service is None:
        return Phase.ABSENT  # the files do not have it any more
    every = [_phase(wanted, seen, service, each, now) for each in seen.of(name)]
    return min(every, key=_SHOWN.index) if every else Phase.ABSENT


_SHOWN = [
    *(Phase.FAILED, Phase.BACKOFF, Phase.UNHEALTHY, Phase.PAUSED, Phase.STOPPING, Phase.WAITING, Phase.STARTING),
    *(Phase.STOPPED, Phase.SLEEPS, Phase.READY, Phase.DONE, Phase.ABSENT),
]


def _phase(wanted: Wanted, seen: Seen, service: Service, each: Instance, now: float) -> Phase:
    """Of one container, leaving aside what it waits for."""
    will, end = wanted.will(service.name), _end(seen, each)
    if each.status is ContainerStatus.PAUSED:
        return Phase.PAUSED
    if each.runs:
        if will in _TO_STOP:
            return Phase.STOPPING
        if each.health is Health.UNHEALTHY:
            return Phase.FAILED if seen.gave_up(each) else Phase.UNHEALTHY
        return Phase.READY if _is_ready(wanted, service, each, now) else Phase.STARTING
    if end is not None and end.kind is EndKind.DONE:
        return Phase.DONE
    if end is not None and end.kind is EndKind.FAILED:
        return Phase.FAILED
    if will is not Will.UP:
        return Phase.SLEEPS if will is Will.ASLEEP else Phase.STOPPED
    if _is_stuck(each, now):
        return Phase.FAILED
    if end is not None and end.kind is EndKind.CRASHED:
        return Phase.BACKOFF
    return Phase.WAITING


def _is_stuck(each: Instance, now: float) -> bool:
    """Whether the engine has failed to remove it, as far as can be told: it will never start it again."""
    removing = each.status is ContainerStatus.REMOVING and now >= each.since + REMOVED_S
    return removing or each.status is ContainerStatus.DEAD


def _is_ready(wanted: Wanted, service: Service, each: Instance, now: float) -> bool:
    if wanted.one_shot(service.name):
        return False  # it is when it has ended
    if service.name in wanted.unseeded:
        return False
    if each.busy:
        return False  # hooks of Compose may still go on
    if service.extras.ready is not None:
        return each.probed
    if each.health is Health.NONE:
        return now >= each.up_at + ALIVE_S
    return each.health is Health.HEALTHY or each.probed


def _end(seen: Seen, each: Instance) -> End | None:
    """Of the run that it shows, if that has been judged."""
    end = seen.history(each).end
    return end if end is not None and end.run == each.run and not each.runs else None


def _absent(wanted: Wanted, name: ServiceName) -> Hold:
    if wanted.services[name].provider is not None:
        return Hold(name, None, Phase.ABSENT, "a provider keeps it, which Compose starts: docker compose up")
    reason = "its container was removed; to make one again: dx up" if wanted.will(name) is Will.UP else ""
    return Hold(name, None, Phase.ABSENT, reason)


def _decide(
    wanted: Wanted, seen: Seen, service: Service, each: Instance, phases: dict[ServiceName, Phase], now: float
) -> Decision:
    will, shown = wanted.will(service.name), _phase(wanted, seen, service, each, now)

    def hold(reason: str = "", until: float | None = None, instead: Phase | None = None) -> Hold:
        return Hold(service.name, each.id, instead or shown, reason, until)

    if each.busy:
        return hold(_reason(seen, each) or "something is being done with it")
    if not seen.settled:
        return hold("what happened while the engine was out of sight may still be told")
    if _is_stuck(each, now):
        return hold(f"the engine has it {each.status}; to have another one: {_anew(service.name)}")
    if each.status is ContainerStatus.REMOVING:
        return hold(f"the engine has it {each.status}", each.since + REMOVED_S)
    if each.status is ContainerStatus.RESTARTING:
        return hold(f"the engine has it {each.status}")
    if will in _TO_STOP and each.runs:
        return _stop(wanted, seen, service, each, now, hold)
    if each.status is ContainerStatus.PAUSED:
        return hold("paused by somebody; to go on: docker unpause")
    if each.runs:
        return _watch(seen, service, each, now, hold)
    if will is Will.ASLEEP and shown is Phase.SLEEPS:
        return hold("until it is needed")
    if will is not Will.UP:
        return hold(_reason(seen, each))
    return _revive(wanted, seen, service, each, phases, now, hold)


def _anew(name: ServiceName) -> str:
    return f"dx up --recreate {name}"


def _stop(
    wanted: Wanted, seen: Seen, service: Service, each: Instance, now: float, hold: Callable[..., Hold]
) -> Decision:
    """Those that depend on it come first."""
    for name, other in wanted.services.items():
        depends = any(dependency.service == service.name for dependency in other.depends_on)
        if depends and wanted.will(name) in _TO_STOP and any(one.runs for one in seen.of(name)):
            return hold(f"{name} depends on it, and stops first")
    plain = "nobody has used it" if wanted.will(service.name) is Will.ASLEEP else "it is to stop"
    return _ask(Action(Do.STOP, service.name, each.id, plain), seen, each, now, hold)


def _ask(action: Action, seen: Seen, each: Instance, now: float, hold: Callable[..., Hold]) -> Decision:
    """Of the engine, which may not have done it the last time: then after a pause."""
    setback = seen.setback(each, starts=action.do is Do.START)
    if setback is None:
        return action
    until = histories.again_at(setback)
    if now < until:
        return hold(f"{setback.reason}; tried again in {max(1, round(until - now))} s", until)
    return replace(action, reason=setback.reason)


def _watch(seen: Seen, service: Service, each: Instance, now: float, hold: Callable[..., Hold]) -> Decision:
    """One that runs."""
    history = seen.history(each)
    if each.health is Health.UNHEALTHY:
        if gave_up := seen.gave_up(each):
            return hold(gave_up)
        why = histories.why_ill(each)
        if not _restarts_ill(service):
            return hold(why)
        until = now
        if history.deaths and seen.setback(each, starts=False) is None:
            until = history.deaths[-1] + histories.pause(history.streak, histories.seed(each, history))
        if now < until:
            return hold(f"{why}; it is restarted in a moment", until)
        return _ask(Action(Do.RESTART, service.name, each.id, why), seen, each, now, hold)
    if each.health is Health.NONE and now < each.up_at + ALIVE_S:
        return hold("", each.up_at + ALIVE_S)
    return hold("" if each.probed else each.hangs)


def _restarts_ill(service: Service) -> bool:
    """Whether bad health is a reason to restart it."""
    return service.restart.kind is not RestartKind.NO and service.extras.restart_unhealthy


def _revive(
    wanted: Wanted,
    seen: Seen,
    service: Service,
    each: Instance,
    phases: dict[ServiceName, Phase],
    now: float,
    hold: Callable[..., Hold],
) -> Decision:
    """One that does not run and should."""
    end = _end(seen, each)
    if each.status is ContainerStatus.EXITED and end is None:
        return hold("it has just ended")
    if end is not None and end.kind in (EndKind.DONE, EndKind.FAILED):
        return hold(end.reason)
    for dependency in service.depends_on:
        if waits := _waits_for(wanted, dependency, phases):
            return hold(waits, None, Phase.WAITING)
    if end is None or end.kind is EndKind.EXCUSED:
        reason = end.reason if end else "it is wanted"
        return _ask(Action(Do.START, service.name, each.id, reason), seen, each, now, hold)
    history = seen.history(each)
    until = end.at + histories.pause(history.streak, histories.seed(each, history))
    if now < until:
        return hold(f"{end.reason}; started again in {max(1, round(until - now))} s", until)
    return _ask(Action(Do.START, service.name, each.id, end.reason), seen, each, now, hold)


def _waits_for(wanted: Wanted, dependency: Dependency, phases: dict[ServiceName, Phase]) -> str:
    """Why it cannot start yet; nothing where the dependency is no hindrance."""
    name = dependency.service
    if name not in wanted.services or wanted.services[name].provider is not None:
        return ""
    shown = phases[name]
    unwanted = wanted.will(name) is not Will.UP
    if not dependency.required and (unwanted or shown in (Phase.FAILED, Phase.ABSENT)):
        return ""
    match dependency.condition:
        case Condition.STARTED:
            good = shown in (Phase.STARTING, Phase.READY, Phase.UNHEALTHY, Phase.PAUSED, Phase.DONE)
        case Condition.HEALTHY:
            good = shown is Phase.READY
        case Condition.COMPLETED:
            good = shown is Phase.DONE
    if good:
        return ""
    return f"waits for {name}, which is {Phase.STOPPED if unwanted and shown is not Phase.FAILED else shown}"


def _reason(seen: Seen, each: Instance) -> str:
    end = _end(seen, each)
    return end.reason if end is not None and end.kind in (EndKind.FAILED, EndKind.CRASHED) else ""


def to_seed(wanted: Wanted, seen: Seen, now: float) -> list[Instance]:
    """One container of each service that only its seed keeps from being ready."""
    seeded = replace(wanted, unseeded=frozenset())
    found: dict[ServiceName, Instance] = {}
    for name in wanted.unseeded & wanted.services.keys():
        for each in seen.of(name):
            if each.runs and _phase(seeded, seen, wanted.services[name], each, now) is Phase.READY:
                found.setdefault(name, each)
    return list(found.values())


def waiting(wanted: Wanted, seen: Seen, names: Iterable[ServiceName], now: float) -> dict[ServiceName, Phase]:
    """Of these services, those that are neither ready nor done nor asleep, with what they are."""
    phases = {name: phase(wanted, seen, name, now) for name in names}
    return {name: each for name, each in phases.items() if each not in (Phase.READY, Phase.DONE, Phase.SLEEPS)}


def comes_up(wanted: Wanted, seen: Seen, names: Iterable[ServiceName], now: float) -> bool:
    """Whether all of these services are wanted, and ready or on the way to it."""
    good = (Phase.READY, Phase.DONE, Phase.STARTING, Phase.WAITING)
    return all(wanted.will(name) is Will.UP and phase(wanted, seen, name, now) in good for name in names)


def fallen(wanted: Wanted, seen: Seen, names: Iterable[ServiceName], since: float) -> list[tuple[Instance, str]]:
    """Of these services' containers, those that have failed, are ill for good, or have ended badly or fallen ill since
    then, with the reason.
    """
    found = []
    for name in names:
        for each in seen.of(name):
            history, end = seen.history(each), seen.history(each).end
            if each.status is ContainerStatus.RUNNING and each.health is Health.UNHEALTHY and seen.gave_up(each):
                found.append((each, seen.gave_up(each)))
            elif _stays_ill(wanted.services[name], each):
                found.append((each, f"{histories.why_ill(each)}; it is left alone, as its file says"))
            elif history.ill is not None and history.ill.at >= since:
                found.append((each, history.ill.reason))
            elif end is None or end.kind in (EndKind.DONE, EndKind.EXCUSED):
                continue
            elif end.at >= since or (end.kind is EndKind.FAILED and not each.runs):
                found.append((each, end.reason))
    return found


def _stays_ill(service: Service, each: Instance) -> bool:
    """Whether it is unhealthy, and nothing will be done about it."""
    return each.status is ContainerStatus.RUNNING and each.health is Health.UNHEALTHY and not _restarts_ill(service)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A service that will not become ready by itself."""

    service: ServiceName
    reason: str
    hint: str


def stuck(wanted: Wanted, seen: Seen, names: Iterable[ServiceName], now: float) -> list[Stuck]:
    """Of these services, those that will not become ready by themselves."""
    outlook = _Outlook(wanted, seen, now, {name: phase(wanted, seen, name, now) for name in wanted.services})
    found = (outlook.stuck(name, frozenset()) for name in names)
    return [each for each in found if each is not None]


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What may become of services by themselves. `above` are those that wait for the one that is asked about."""

    wanted: Wanted
    seen: Seen
    now: float
    phases: dict[ServiceName, Phase]

    def stuck(self, name: ServiceName, above: frozenset[ServiceName]) -> Stuck | None:
        """By itself, or because of one that it waits for."""
        match self.phases[name]:
            case Phase.FAILED:
                for each in self.seen.of(name):
                    if _is_stuck(each, self.now):
                        reason = f"the engine has its container {each.status}"
                        return Stuck(name, reason, f"make another: {_anew(name)}")
            case Phase.ABSENT:
                return Stuck(name, "it has no container", f"make one: dx up {name}")
            case Phase.STOPPED:
                return Stuck(name, "it was stopped", f"start it: dx up {name}")
            case Phase.PAUSED:
                return Stuck(name, "it was paused by somebody", "to go on: docker unpause")
            case Phase.WAITING:
                for dependency in self.wanted.services[name].depends_on:
                    other, waits = dependency.service, _waits_for(self.wanted, dependency, self.phases)
                    if not waits or other in above:
                        continue
                    if end := self._end_of_hope(other, above | {name}):
                        return Stuck(name, waits, end)
        return None

    def _end_of_hope(self, name: ServiceName, above: frozenset[ServiceName]) -> str:
        """What to do about one that others wait for in vain; empty where it may yet become what it has to be."""
        if stuck_itself := self.stuck(name, above):
            return stuck_itself.hint
        if self.phases[name] in (Phase.DONE, Phase.FAILED):
            return f"start it: dx up {name}"
        ill = self.phases[name] is Phase.UNHEALTHY
        if ill and any(_stays_ill(self.wanted.services[name], each) for each in self.seen.of(name)):
            return f"see: dx logs {name}"
        return ""
