"""What is remembered of one project: wills, histories, and the containers as they were last seen.

Owned by the project's supervisor, its one writer. Does nothing by itself: it is told what is seen, what was asked for
and what is being done, and answers what to do. So tests can drive it through years of faults in virtual time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dxd.compose.model import Project, RestartKind, ServiceName
from dxd.engine.model import ContainerId, ContainerStatus, Health
from dxd.services import histories, idleness, past, policy
from dxd.services.model import Action, Do, End, EndKind, History, Hold, Instance, Phase, Seen, Wanted, Will
from dxd.services.setbacks import Setbacks

BY_DX = "stopped by dx"
KILLED = (0, 130, 137, 143)
"""What a container ends with that is told to stop: well, or by SIGINT, SIGKILL or SIGTERM."""


class Ledger:
    """One project's."""

    def __init__(
        self,
        project: Project,
        wills: Mapping[ServiceName, Will],
        ends: Iterable[End] = (),
        before: Mapping[past.Key, History] | None = None,
    ) -> None:
        """`ends` are those that are known from before the daemon was started, whenever that was, and `before` is what
        still counts of the falls before.
        """
        self._project = project
        self._wills = dict(wills)
        self._ends = {each.run: each for each in ends}
        self._foretold = {run for run, each in self._ends.items() if each.kind is EndKind.EXCUSED}
        """Runs that a daemon before may have been about to stop: of its stop nobody but it was told beforehand."""
        self._instances: dict[ContainerId, Instance] = {}
        self._histories: dict[past.Key, History] = dict(before or {})
        self._excused: dict[str, str] = {}
        """Runs whose end is no fault of theirs, with the reason."""
        self._setbacks = Setbacks()
        self._resting: frozenset[ServiceName] = frozenset()
        """Services that do not run for now, whatever is wanted of them; not kept, so that it ends with the daemon."""
        self._unseeded = {name for name, each in project.services.items() if each.extras.seed is not None}
        """Services that are not ready until their seed has succeeded; at first all that have one, until it is known."""
        self._first = True
        self.settled = True
        self.holds: list[Hold] = []
        """Of the last plan."""

    @property
    def wanted(self) -> Wanted:
        """What is wanted now."""
        wills = {**self._wills, **dict.fromkeys(self._resting, Will.STOPPING)}
        return Wanted(self._project.name, self._project.services, wills, frozenset(self._unseeded))

    @property
    def seen(self) -> Seen:
        """What was seen last."""
        return Seen(tuple(self._instances.values()), self._histories, self.settled, self._setbacks.by_container)

    @property
    def project(self) -> Project:
        """As its files were last read."""
        return self._project

    @property
    def wills(self) -> Mapping[ServiceName, Will]:
        """By service; to be kept."""
        return self._wills

    def ends(self) -> list[End]:
        """Of the runs that have ended for good, or are no fault of theirs; to be kept. So are those that are made to
        rest or are being stopped: whoever finds them ended knows why, and starts them again where they are wanted.
        """
        found = []
        for each in self._instances.values():
            end = self.seen.history(each).end
            if each.runs and each.service in self._resting:
                found.append(End(each.run, EndKind.EXCUSED, BY_DX, 0.0))
            elif each.runs and self._may_stop(each) and each.run in self._excused:
                found.append(End(each.run, EndKind.EXCUSED, self._excused[each.run], 0.0))
            elif end is not None and end.run == each.run and end.kind is not EndKind.CRASHED:
                found.append(end)
        return found

    def falls(self) -> dict[past.Key, History]:
        """What still counts of falls; to be kept."""
        return past.of(self._histories)

    def reread(self, project: Project) -> None:
        """The files say something else now. A service that is gone from them is not looked after any more."""
        self._project = project
        self._wills = {name: will for name, will in self._wills.items() if name in project.services}
        self._instances = {key: each for key, each in self._instances.items() if each.service in project.services}

    def look(self, found: Iterable[Instance], now: float, *, excused: str = "") -> None:
        """These are all containers there are now. `excused` is why those that have ended meanwhile are not to blame."""
        before = self._instances
        self._instances = {}
        for each in found:
            if each.service not in self._project.services:
                continue
            known = before.get(each.id)
            self._note_late_start(each, known)
            # What happened meanwhile is not known: maybe nothing at all, by an engine that was away.
            merged = self._merged(each, known, now)
            self._instances[each.id] = replace(merged, health=each.health, silent_since=now, silences=0)
            self._note_health(self._instances[each.id], known, now)
        self._setbacks.keep(self._instances.keys())
        for each in self._instances.values():
            self._judge(each, now, excused)
        for name in self._project.services:
            instances = self.seen.of(name)
            will = self.wanted.will(name)
            stops = will is Will.ASLEEP and any(self._may_stop(each) for each in instances)
            if instances and all(each.runs for each in instances) and will in (Will.DOWN, Will.ASLEEP) and not stops:
                self._wills[name] = Will.UP  # somebody has started it, and nobody told
        self._first = False

    def see(self, each: Instance, now: float) -> None:
        """One container is like this now."""
        if each.service in self._project.services:
            known = self._instances.get(each.id)
            self._note_late_start(each, known)
            self._instances[each.id] = merged = self._merged(each, known, now)
            self._note_health(merged, known, now)
            self._judge(merged, now, "")

    def lose(self, container: ContainerId) -> None:
        """It was removed."""
        self._instances.pop(container, None)
        self._setbacks.forget(container)
        self._forget_runs(container)

    def probed(self, container: ContainerId, run: str) -> None:
        """Its test has succeeded in that run."""
        each = self._instances.get(container)
        if each is not None and each.run == run:
            self._instances[container] = replace(each, probed=True)

    def hangs(self, container: ContainerId, run: str, reason: str) -> None:
        """Its test did not end in that run, or has ended again where there is no reason."""
        each = self._instances.get(container)
        if each is not None and each.run == run:
            self._instances[container] = replace(each, hangs=reason)

    def plan(self, now: float) -> list[Action]:
        """What to do now; the reasons why nothing else is done are in `holds`."""
        self.ask_up(idleness.called(self.wanted, self.seen))
        wanted, seen = self.wanted, self.seen
        self._note_ready(wanted, seen, now)
        actions, self.holds = policy.plan(wanted, seen, now)
        self._settle_stops()
        return actions

    def begin(self, action: Action, now: float) -> bool:
        """Somebody is about to do it; False where it is not to be done after all."""
        each = self._instances[action.container]
        # What the engine has not done yet has begun, and counts, only once.
        if self.seen.setback(each, starts=action.do is Do.START) is None and not self._note_begun(action, each, now):
            return False
        self._instances[each.id] = replace(each, busy=True)
        return True

    def _note_begun(self, action: Action, each: Instance, now: float) -> bool:
        history = self.seen.history(each)
        if action.do is Do.RESTART:
            history = histories.restarted_for_health(history, each, now)
            self._histories[each.key] = history
            if self.seen.gave_up(each):
                return False
        if action.do is Do.START:
            self._histories[each.key] = histories.started(history)
        else:
            self._excused[each.run] = action.reason if action.do is Do.RESTART else BY_DX
        return True

    def take(self, container: ContainerId) -> None:
        """Somebody does something with it that is no action of the plan; `finish` ends that."""
        if container in self._instances:
            self._instances[container] = replace(self._instances[container], busy=True)

    def finish(self, container: ContainerId) -> None:
        """It has been done, or has failed."""
        if container in self._instances:
            self._instances[container] = replace(self._instances[container], busy=False)

    def not_done(self, action: Action, reason: str, now: float) -> None:
        """The engine refused to stop it, or did not say whether it did what was asked: no fault of the service."""
        if (each := self._instances.get(action.container)) is not None:
            self._setbacks.note(each, reason, now, starts=action.do is Do.START)

    def unstopped(self, names: Iterable[ServiceName]) -> list[tuple[ServiceName, str]]:
        """Of these services, those that the engine has not stopped though it was asked to, with what it said."""
        found = []
        for name in names:
            for each in self.seen.of(name):
                setback = self.seen.setback(each, starts=False)
                if setback is not None and setback.tries and each.runs and not each.busy:
                    found.append((name, setback.reason))
        return found

    def could_not_start(self, container: ContainerId, reason: str, now: float) -> None:
        """The engine refused to."""
        if (each := self._instances.get(container)) is not None:
            history = self.seen.history(each)
            self._histories[each.key] = histories.could_not_start(history, self.wanted, each, reason, now)

    def ask_up(
        self, names: Iterable[ServiceName], *, once_more: Iterable[ServiceName] = (), lazily: bool = False
    ) -> None:
        """Somebody wants these to run, and `once_more` even where they are done. With `lazily` those that are `lazy`
        sleep until they are needed, unless they are wanted already.
        """
        repeat = set(once_more)
        for name in names:
            sleeps = lazily and self._project.services[name].extras.lazy and self.wanted.will(name) is not Will.UP
            self._wills[name] = Will.ASLEEP if sleeps else Will.UP
            self._try_at_once(name)
            for each in self.seen.of(name):
                history = self.seen.history(each)
                self._histories[each.key] = histories.again(history) if name in repeat else histories.asked_for(history)

    def ask_sleep(self, name: ServiceName) -> None:
        """Nobody has used it for long."""
        self._wills[name] = Will.ASLEEP
        self._try_at_once(name)

    def ask_stop(self, names: Iterable[ServiceName]) -> None:
        """Somebody wants these to stop."""
        for name in names:
            if any(each.runs or each.busy for each in self.seen.of(name)):
                self._wills[name] = Will.STOPPING
            else:
                self._wills[name] = Will.DOWN
            self._try_at_once(name)

    def rest(self, names: Iterable[ServiceName]) -> None:
        """These, and no others, are not to run for now; what is wanted of them stays as it is."""
        self._resting = frozenset(names)
        for name in self._resting:
            self._try_at_once(name)

    def rests(self) -> bool:
        """Whether none of those that are not to run for now runs, or is about to."""
        return not any(each.runs or each.busy for each in self._instances.values() if each.service in self._resting)

    def seed(self, name: ServiceName, *, due: bool) -> None:
        """It is not ready until its seed has succeeded, or may be now."""
        (self._unseeded.add if due else self._unseeded.discard)(name)

    def to_seed(self, now: float) -> list[Instance]:
        """One container of each service whose seed may run now."""
        return policy.to_seed(self.wanted, self.seen, now)

    def condemn(self, run: str, reason: str) -> None:
        """That run is about to be stopped, and has failed."""
        self._ends[run] = End(run, EndKind.FAILED, reason, 0.0)

    def taken(self, name: ServiceName, will: Will) -> None:
        """Somebody has started or stopped it behind dx's back, which counts as having asked for it."""
        if will is Will.UP:
            self.ask_up([name])
        else:
            self._wills[name] = will

    def was_foretold(self, container: ContainerId) -> bool:
        """Whether a stop of it that nobody has announced may be that of a daemon before, which was asked for; once."""
        seen = self._instances.get(container)
        for run in self._foretold:
            if run == seen.run if seen else run.startswith(f"{container}@"):
                self._foretold.discard(run)
                return True
        return False

    def excuse(self, run: str, reason: str) -> None:
        """The end of that run is no fault of it."""
        self._excused[run] = reason

    def excuse_all(self, reason: str) -> None:
        """Whatever runs now is not to blame if it ends."""
        for each in self._instances.values():
            if each.runs:
                self._excused[each.run] = reason

    def forgive(self, since: float, reason: str, *, only: ServiceName | None = None) -> None:
        """What has ended since then, of all services or one, was not to blame."""
        for key, history in self._histories.items():
            end = history.end
            if only not in (None, key[0]):
                continue
            if end is not None and end.kind in (EndKind.CRASHED, EndKind.FAILED) and end.at >= since:
                deaths = tuple(each for each in history.deaths if each < since)
                streak = max(0, history.streak - len(history.deaths) + len(deaths))
                end = replace(end, kind=EndKind.EXCUSED, reason=reason)
                self._histories[key] = replace(history, deaths=deaths, streak=streak, end=end)

    def get(self, container: ContainerId) -> Instance | None:
        """As it was last seen."""
        return self._instances.get(container)

    def history(self, each: Instance) -> History:
        """What has happened to it."""
        return self.seen.history(each)

    def phase(self, name: ServiceName, now: float) -> tuple[Phase, str]:
        """What is shown of a service, by the last plan: of several containers, what is furthest from ready."""
        shown = policy.phase(self.wanted, self.seen, name, now)
        reasons = [each for each in self.holds if each.service == name and each.reason]
        for each in reasons:
            if each.phase in (shown, Phase.WAITING):
                return each.phase, each.reason
        return shown, reasons[0].reason if reasons else ""

    def wake_at(self, now: float) -> float | None:
        """When time alone changes something."""
        times = [each.until for each in self.holds if each.until is not None and each.until > now]
        times += [max(now, histories.silent_until(each)) for each in self._tested()]
        return min(times, default=None)

    def silent(self, now: float) -> list[ContainerId]:
        """Those that are to be looked at, though nobody has told anything: whether their health was tested."""
        return [each.id for each in self._tested() if now >= histories.silent_until(each)]

    def _tested(self) -> list[Instance]:
        return [each for each in self._instances.values() if each.status is ContainerStatus.RUNNING and each.check_s]

    def _merged(self, each: Instance, known: Instance | None, now: float) -> Instance:
        each = replace(each, since=known.since if known is not None and known.status is each.status else now)
        if known is None or known.run != each.run:
            self._forget_runs(each.id, but=each.run)
            # One that ran before anybody looked has shown that it can.
            up_at = now - 2 * policy.ALIVE_S if self._first else now
            return replace(each, up_at=up_at, silent_since=now, busy=known.busy if known else False)
        up_at = known.up_at if known.runs else now
        each = histories.heard(each, known, now) if each.check_s and each.runs else each
        return replace(each, up_at=up_at, probed=known.probed, hangs=known.hangs, busy=known.busy)

    def _forget_runs(self, container: ContainerId, *, but: str = "") -> None:
        """Why runs of it that are over were not to blame: nobody will ask any more."""
        for run in [run for run in self._excused if run.startswith(f"{container}@") and run != but]:
            del self._excused[run]

    def _note_health(self, each: Instance, known: Instance | None, now: float) -> None:
        """Remember when it fell ill; one that is about to stop may well be."""
        before = known is not None and known.run == each.run and known.health is Health.UNHEALTHY
        if each.runs and each.health is Health.UNHEALTHY and not before and self.wanted.will(each.service) is Will.UP:
            self._histories[each.key] = histories.fell_ill(self.seen.history(each), each, now)

    def _judge(self, each: Instance, now: float, excused: str) -> None:
        history = self.seen.history(each)
        if each.runs or (history.end is not None and history.end.run == each.run):
            return
        if known := self._ends.pop(each.run, None):
            self._histories[each.key] = replace(history, end=replace(known, at=now))
            return
        if each.status is not ContainerStatus.EXITED:
            return
        reason = self._excused.pop(each.run, "") or self._blamed_on_others(each, excused)
        self._histories[each.key] = histories.ended(history, self.wanted, each, now, excused=reason)

    def _blamed_on_others(self, each: Instance, excused: str) -> str:
        """Why an end that nobody saw may be no fault of its own: not where it is plain that it has ended by itself, and
        nothing would start it again.
        """
        never = self._project.services[each.service].restart.kind is RestartKind.NO
        if (never or self.wanted.one_shot(each.service)) and each.exit_code not in KILLED:
            return ""
        return excused

    def _may_stop(self, each: Instance) -> bool:
        """Whether the engine may be about to stop it, because dx has asked for that."""
        return each.busy or self.seen.setback(each, starts=False) is not None

    def _try_at_once(self, name: ServiceName) -> None:
        """Somebody asks for something else, or asks again: no pause is waited for."""
        self._setbacks.hurry(self.seen.of(name))

    def _note_late_start(self, each: Instance, known: Instance | None) -> None:
        """A start that the engine did not answer was done after all, and nobody wants it any more."""
        if known is None or known.run == each.run or not each.runs:
            return
        if self.seen.setback(known, starts=True) is not None and self.wanted.will(each.service) is Will.DOWN:
            self._wills[each.service] = Will.STOPPING

    def _note_ready(self, wanted: Wanted, seen: Seen, now: float) -> None:
        for each in seen.instances:
            alone = Seen((each,), self._histories)
            if each.runs and policy.phase(wanted, alone, each.service, now) is Phase.READY:
                self._histories[each.key] = histories.ready(seen.history(each), now)

    def _settle_stops(self) -> None:
        """What was to stop and does not run any more has stopped."""
        for name, will in self._wills.items():
            if will is Will.STOPPING and not any(each.runs or each.busy for each in self.seen.of(name)):
                self._wills[name] = Will.DOWN
