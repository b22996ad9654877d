"""The one owner of a project: sees its containers, decides by its ledger, acts, and tells whoever waits.

    supervisor = Supervisor(source=..., ledger=..., compose=..., containers=..., keep=..., hub=...)
    supervisor.start()
    await supervisor.up([...], progress); await supervisor.wait([...], progress)

Made by `projects`, who closes it. It follows the engine by what it is told (`on_event`, `gap`, `lost`). What somebody
does behind its back is taken as their will. While the engine is away it does nothing, and blames nobody. Its verbs take
turns; they raise `ServiceFailed`, and what Compose and the engine raise.

The end of a container that the engine restarts by itself would be nobody's to count, so the containers' own policy is
set to `no` while they are looked after: see docs/decisions/0022.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from dxd.compose.compose import Compose
from dxd.compose.model import Project, RestartKind, ServiceName, Source, dependants, with_dependencies
from dxd.engine.model import ContainerId, EngineEvent, Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import DxError, EngineDown, EngineTrouble, NotFound, PortTaken, ServiceFailed
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks
from dxd.services import policy, probes
from dxd.services.ledger import Ledger
from dxd.services.listening import Doors
from dxd.services.model import Action, Do, Phase, Will
from dxd.services.news import PROJECT, SERVICE, Attribution, News, What
from dxd.services.probes import Probes
from dxd.services.publishing import Publishing
from dxd.services.seeding import Seeding
from dxd.services.sight import Sight, run_of
from dxd.services.sleeper import Sleeper
from dxd.services.swaps import Swaps
from dxd.services.turn import Turn
from dxd.services.uses import Uses
from dxd.services.waiters import Waiters
from dxd.snapshots.seeds import Seeds
from dxd.telemetry import get_logger

SETTLE_S = 0.3
"""After the engine was out of sight: what happened meanwhile is told within this."""
DYING_S = 20.0
"""An engine that stops ends its containers first, one after the other, before it is lost."""
TOLD_S = 5.0
"""That somebody has stopped a container is told after its end."""
AGAIN_S = 1.0
"""After the engine would not say what is there."""

log = get_logger("services")


class Supervisor:
    """One project's."""

    def __init__(
        self,
        *,
        source: Source,
        ledger: Ledger,
        compose: Compose,
        containers: Supervised,
        publishing: Publishing,
        keep: Callable[[Ledger], Awaitable[None]],
        hub: Hub,
        started: Callable[[Inspected], None],
        before: Callable[[], Awaitable[None]],
        seeds: Seeds,
        doors: Doors,
        uses: Uses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep` is told when what has to outlive the daemon is another, `started` of each run of a container. `before`
        is awaited before anything is decided; where it raises, nothing is.
        """
        self.source = source
        self.ledger = ledger
        self._compose = compose
        self._containers = containers
        self._publishing = publishing
        self._keep = keep
        self._started = started
        self._hub = hub
        self._before = before
        self._clock = clock
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._sight = Sight(ledger=ledger, containers=containers, clock=clock, started=self._runs)
        self._probes = Probes(containers, self._tasks, self._passed)
        self._seeding = Seeding(
            containers, seeds, self._tasks, done=self._seeded, failed=self._not_seeded, again=self._seed_again
        )
        self._attribution = Attribution()
        self._turn = Turn()
        self._wake = asyncio.Event()
        self._away = False
        self._back_ns = 0
        """When the engine came in sight again, since 1970."""
        self._adopted = False
        self._making = False
        self._waiters = Waiters(
            ledger=ledger,
            containers=containers,
            known=lambda: self._sight.complete and not self._away and not self._making,
            away=lambda: self._away,
            clock=clock,
        )
        self._deferred: list[EngineEvent] = []
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._kept: object = None
        self._looked = asyncio.Event()
        """Set once it is known what is there, or that the engine cannot say."""
        self._phases: dict[str, Phase] = {}
        self.approved: Project | None = None
        """As somebody has asked for it, with `up` or `restart`, in this daemon's life."""
        self.troubles: dict[ServiceName, str] = {}
        """By service, what of its files could not be followed, for people."""
        self.told: set[str] = set()
        """Troubles that were told to somebody."""
        self.swaps = Swaps(
            ledger=ledger,
            compose=compose,
            containers=containers,
            attribution=self._attribution,
            turn=self._turn,
            source=lambda: self.source,
            with_compose=self._with_compose,
            look=self._sight.look_at,
            wake=self._wake.set,
        )
        self.sleeper = Sleeper(
            ledger=ledger,
            listening=doors,
            uses=uses,
            tasks=self._tasks,
            containers=lambda: self.inspected,
            rouse=self.rouse,
            engine=containers,
            ports=lambda: publishing.listened(ledger.project, self.source.directory),
            turn=self._turn,
            act=self._pass,
            wake=self._wake.set,
            clock=clock,
        )

    def start(self) -> None:
        """Begin to look after it."""
        self._tasks.spawn(self._run(), name=f"project {self.ledger.project.name}")

    async def close(self) -> None:
        """Look after it no more; its containers go on. Whoever waits is told."""
        self._waiters.close()
        await self._tasks.close()

    @property
    def away(self) -> bool:
        """Whether the engine is out of sight, so that what is known may not be so any more."""
        return self._away

    async def looked(self) -> None:
        """Return when it is known what is there, or that the engine cannot say."""
        await self._looked.wait()

    def on_event(self, event: EngineEvent) -> None:
        """Something happened to a container of some project."""
        if event.attributes.get(PROJECT) != self.ledger.project.name:
            return
        if self._making:
            self._deferred.append(event)
        elif (news := self._attribution.read(event)) is not None:
            self._hear(news, event.time_ns)

    def gap(self) -> None:
        """The engine is in sight, again or still; events may have been missed."""
        if self._away:
            self._away = False
            self._back_ns = time.time_ns()
            self._sight.all_anew("the engine was restarted")
            self._unsettle()
        else:
            self._sight.all_anew()
        self._wake.set()

    def lost(self) -> None:
        """The engine is out of sight: what ended just now may have been its doing, and what ends now is."""
        self._away = True
        self._looked.set()
        self.ledger.forgive(self._clock() - DYING_S, "the engine was restarted")
        # Who stopped something just now was the engine; one that is back at once would say that it goes on.
        for task in self._stops.values():
            task.cancel()
        self._stops.clear()
        self._waiters.wake()

    async def up(
        self,
        project: Project,
        source: Source,
        names: Sequence[ServiceName],
        progress: Progress,
        *,
        recreate: bool = False,
        build: bool = False,
        awake: bool = False,
    ) -> frozenset[ServiceName]:
        """Have these services, or all, and what they depend on, as the project says now; those that it concerns.

        What is `lazy` sleeps until it is needed, unless it is named and is to be `awake`. Raises `PortTaken` and
        `Refused` where its door cannot be had.
        """
        async with self._turn:
            self.ledger.reread(project)
            chosen = self._own(with_dependencies(project.services, tuple(names)))
            ports = await self._publishing.choose(project, source.directory, chosen, progress, anew=recreate)
            self.source, self.approved = replace(source, ports=ports), project
            await self._make(chosen or frozenset(names), progress, recreate=recreate, build=build)
            self.ledger.ask_up(sorted(chosen), once_more=names, lazily=True)
            if awake:
                self.ledger.ask_up([each for each in names if each in chosen])
            await self._open()
        return chosen

    async def reread(self, project: Project) -> None:
        """The files say something else now; nothing is made or removed for that."""
        async with self._turn:
            ports = await self._publishing.recall(project, self.source.directory)
            self.source = replace(self.source, ports=ports)
            self.ledger.reread(project)
            self._sight.all_anew()
            self._wake.set()

    async def begin(self, names: Sequence[ServiceName]) -> frozenset[ServiceName]:
        """Start services whose containers are there, and what they depend on; `ServiceFailed` where one is not.

        Where they are about to run anyhow, one of them with a new container, that one is not asked to hurry: whoever
        takes the turn ends its trial.
        """
        chosen = self._own(with_dependencies(self.ledger.project.services, tuple(names)))
        if self.swaps.under_way in chosen and policy.comes_up(self.ledger.wanted, self.ledger.seen, chosen, self.now()):
            return chosen
        async with self._turn:
            chosen = self._own(with_dependencies(self.ledger.project.services, tuple(names)))
            await self._look()
            for name in sorted(chosen):
                if not self.ledger.seen.of(name):
                    raise ServiceFailed(f"{name} has no container", f"make one: dx up {name}")
            self.ledger.ask_up(sorted(chosen.difference(names)), lazily=True)
            self.ledger.ask_up(names, once_more=names)
            await self._pass()
            return chosen

    async def rouse(self, name: ServiceName) -> None:
        """Return when a service is ready that is wanted as soon as it is needed; `ServiceFailed`.

        Nothing is forgiven for that: what has fallen is started in its time, and what somebody has stopped is not.
        """
        await self._waiters.back()
        await self.looked()
        if self.ledger.wanted.will(name) is Will.STOPPING:
            async with self._turn:  # it may only rest, while its data is copied
                pass
        will, phase = self.ledger.wanted.will(name), self.ledger.phase(name, self.now())[0]
        if will not in (Will.UP, Will.ASLEEP):
            raise ServiceFailed(f"{name} was stopped", f"start it: dx start {name}")
        if phase is Phase.READY:
            return
        since = self.now()
        if will is Will.ASLEEP or phase is Phase.DONE:
            self.ledger.ask_up([name], once_more=[name])
            self._wake.set()
        chosen = self._own(with_dependencies(self.ledger.project.services, (name,)))
        await self.wait(chosen, Silent(), since=since)

    async def stop(self, names: Sequence[ServiceName]) -> None:
        """Stop services, or all; returns when they do not run any more."""
        async with self._turn:
            await self._stop(frozenset(names) or frozenset(self.ledger.project.services))

    @asynccontextmanager
    async def resting(self, names: Iterable[ServiceName]) -> AsyncIterator[None]:
        """Have these services not run until the block ends. What is wanted of them stays, so that they come back as
        they were, by the next daemon where this one dies meanwhile. Other verbs wait.
        """
        async with self._turn:
            await self._look()
            self.ledger.rest(names)
            try:
                await self.save()
                await self._pass()
                await self._waiters.stopped(self.ledger.rests)
                yield
            finally:
                self.ledger.rest(())
                self._wake.set()

    async def restart(
        self, project: Project, source: Source, names: Sequence[ServiceName], progress: Progress
    ) -> frozenset[ServiceName]:
        """Stop services, or all, make anew what is not as the files say now, start them; those that it concerns."""
        async with self._turn:
            self.ledger.reread(project)
            chosen = frozenset(names) or frozenset(project.services)
            chosen |= {
                name
                for name in dependants(project.services, chosen)
                if any(each.restart and each.service in chosen for each in project.services[name].depends_on)
            }
            chosen = self._own(chosen)
            awake = {each for each in chosen if each in names or self.ledger.wanted.will(each) is Will.UP}
            ports = await self._publishing.choose(project, source.directory, chosen, progress)
            self.source, self.approved = replace(source, ports=ports), project
            await self._stop(chosen)
            await self._make(chosen, progress)
            self.ledger.ask_up(sorted(chosen - awake), once_more=chosen, lazily=True)
            self.ledger.ask_up(sorted(awake), once_more=chosen)
            await self._open()
        return chosen

    async def _open(self) -> None:
        """Begin to start what is wanted, and listen for it."""
        await self._pass()
        for error in await self.sleeper.listen():
            raise error

    async def again(self, names: Sequence[ServiceName]) -> None:
        """Stop services and start them, as their containers are."""
        async with self._turn:
            await self._stop(frozenset(names))
            self.ledger.ask_up(names)
            await self._pass()

    def acting(self) -> bool:
        """Whether something is done to the containers just now."""
        return self._turn.locked()

    async def down(self, progress: Progress, *, volumes: bool = False) -> None:
        """Remove its containers and networks; named volumes only where that is asked for."""
        async with self._turn:
            name = self.ledger.project.name
            for each in self.ledger.project.services:
                self.ledger.taken(each, Will.DOWN)
            self.ledger.excuse_all("dx down")
            await self.sleeper.listen()
            await self._with_compose(self._compose.down(self.source, name, volumes=volumes, progress=progress))

    async def release(self) -> None:
        """Give the containers back to the engine, with the restart policies of the file."""
        async with self._turn:
            for each in list(self.inspected.values()):
                service = self.ledger.project.services.get(ServiceName(each.labels.get(SERVICE, "")))
                if service is not None and service.restart.kind not in (RestartKind.UNSET, RestartKind.NO):
                    with suppress(NotFound):
                        await self._containers.set_restart(each.id, service.restart.kind, service.restart.attempts)

    async def wait(self, names: Iterable[ServiceName], progress: Progress, *, since: float) -> None:
        """Return when all of these are ready, done or asleep; `ServiceFailed` once one has ended badly since then."""
        await self._waiters.wait(names, progress, since=since)

    def now(self) -> float:
        """By its clock, for `wait`."""
        return self._clock()

    async def _run(self) -> None:
        while True:
            looked = False
            try:
                if not self._away and not self._making:
                    await self._pass()
                    looked = True
            except EngineDown:
                self._away = True  # whoever follows the engine's events says when it is back
                self._looked.set()
            except EngineTrouble as error:
                log.warning("project is not looked after", project=self.ledger.project.name, reason=error.line())
                asyncio.get_running_loop().call_later(AGAIN_S, self._wake.set)
            except Exception:
                # Whatever it is, it must not end the supervision of the project.
                log.exception("project is not looked after", project=self.ledger.project.name)
                asyncio.get_running_loop().call_later(AGAIN_S, self._wake.set)
            wake_at = self._wake_at() if looked and not self._away and not self._making else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - self._clock())):
                    await self._wake.wait()
            self._wake.clear()

    @property
    def inspected(self) -> Mapping[ContainerId, Inspected]:
        """The project's containers, as the engine last had them."""
        return self._sight.containers

    async def _look(self) -> None:
        await self._sight.look()
        self._looked.set()

    async def _pass(self) -> None:
        """Look at what may have changed, decide, and begin what is to be done."""
        await self._look()
        await self._before()
        if not self._adopted:
            await self._adopt()
        now = self._clock()
        for action in self.ledger.plan(now):
            if self.ledger.begin(action, now):
                self._tasks.spawn(self._act(action), name=f"{action.do} {action.service}")
            else:
                self._wake.set()
        self._probes.keep(probes.due(self.ledger, self.inspected, now))
        self._seeding.keep(
            {each.service: self.inspected[each.id] for each in self.ledger.to_seed(now) if each.id in self.inspected},
            self.ledger.project,
            live={each.run for each in self.ledger.seen.instances if self.ledger.wanted.will(each.service) is Will.UP},
        )
        self.sleeper.turn(now)
        await self._tell()

    async def _adopt(self) -> None:
        """Stop what a daemon before has begun to seed; it is started again, and seeded again, in its turn."""
        for name in self.ledger.project.services:
            running = [each for each in self.ledger.seen.of(name) if each.runs]
            if not running or not await self._seeding.cut_short(self.ledger.project, name):
                self.ledger.seed(name, due=False)
                continue
            for each in running:
                self._seed_again(self.inspected[each.id])
                grace_s = self.ledger.project.services[name].stop_grace_s
                await self._containers.stop(each.id, grace_s=grace_s)
                await self._sight.look_at(each.id)
        self._adopted = True

    def _wake_at(self) -> float | None:
        every = (self.ledger.wake_at(self._clock()), self.sleeper.wake_at)
        return min((each for each in every if each is not None), default=None)

    async def _act(self, action: Action) -> None:
        name, container = action.service, action.container
        service = self.ledger.project.services[name]
        verb = "start" if action.do is Do.START else "stop"
        log.info("service", do=action.do, project=self.ledger.project.name, service=name, reason=action.reason)
        self._attribution.announce(container, verb)
        try:
            if action.do is not Do.START:
                await self.save()  # a daemon that comes after this one is told of it, and may not know of anybody else
            if action.do is Do.START:
                self.ledger.seed(name, due=await self._seeding.due(self.ledger.project, name))
            if service.by_compose:
                by = self._compose.start if action.do is Do.START else self._compose.stop
                await by(self.source, self.ledger.project.name, name)
            elif action.do is Do.START:
                await self._containers.start(container)
            elif not await self._containers.stop(container, grace_s=service.stop_grace_s):
                self._attribution.retract(container, verb)
        except EngineDown:
            self._attribution.retract(container, verb)
            self._away = True
        except NotFound:
            self._attribution.retract(container, verb)
        except DxError as error:
            self._attribution.retract(container, verb)
            if isinstance(error, PortTaken):
                error = PortTaken(error.message, f"to have another one: dx up {name}")
            if action.do is Do.START:
                self.ledger.could_not_start(container, error.line(), self._clock())
            else:
                log.warning("service does not stop", service=name, reason=error.line())
        finally:
            # Seen before it counts as finished: else it would be decided about as it was.
            with suppress(EngineTrouble):
                await self._sight.look_at(container)
            self.ledger.finish(container)
            self._wake.set()

    def _hear(self, news: News, time_ns: int) -> None:
        """One event."""
        name = ServiceName(news.service)
        self._sight.news(news.container)
        self._wake.set()
        if name not in self.ledger.project.services:
            return
        if news.what is What.STOPPED and self.ledger.was_foretold(news.container):
            return
        if news.what is What.STOPPED and time_ns <= self._back_ns:
            # An engine that was killed stops what it finds running when it starts again, and tells of that first. By
            # its own time: it may be told when all else that has to be done on its return was done.
            if seen := self.ledger.get(news.container):
                self.ledger.excuse(seen.run, "the engine was restarted")
            return
        if news.what is What.STARTED:
            if task := self._stops.pop(name, None):
                task.cancel()
            self.ledger.taken(name, Will.UP)
        elif news.what is What.STOPPED or (news.what is What.REMOVED and not self._others(name, news.container)):
            seen = self.ledger.get(news.container)
            run = seen.run if seen else ""
            self.ledger.excuse(run, "stopped by somebody")
            self._stops[name] = self._tasks.start(self._take_stop(name, news.container, run), name=f"will of {name}")

    def _runs(self, container: Inspected) -> None:
        """A run of a container was seen. One that Compose has made beside publishes what the file says."""
        self._started(container)
        if self.made_beside(container):
            self._tasks.spawn(self._adopt_ports(container), name=f"ports of {container.name}")

    def made_beside(self, container: Inspected) -> bool:
        """Whether it publishes what the file says where dx has chosen another port: that is taken over in a moment."""
        name = ServiceName(container.labels[SERVICE])
        chosen = {each.published for each in self.source.ports.get(name, ())}
        service = self.ledger.project.services.get(name)
        if not chosen or service is None:
            return False
        written = {each.published for each in service.ports} - chosen
        return any(str(port) in written for port in container.published)

    async def _adopt_ports(self, container: Inspected) -> None:
        async with self._turn:
            project = self.ledger.project
            service = project.services.get(ServiceName(container.labels[SERVICE]))
            if service is not None:
                ports = await self._publishing.adopt(project, self.source.directory, service, container)
                self.source = replace(self.source, ports=ports)
                self._phases.pop(service.name, None)  # so that whoever compares it with its files looks again
                self._wake.set()

    def _others(self, name: ServiceName, container: ContainerId) -> bool:
        return any(each.id != container for each in self.ledger.seen.of(name))

    async def _take_stop(self, name: ServiceName, container: ContainerId, run: str) -> None:
        """Somebody has stopped it, unless it was the engine on its way out, which takes no connections any more."""
        if not await self._containers.goes_on():
            return
        log.info("service was stopped by somebody else", project=self.ledger.project.name, service=name)
        now = self.ledger.get(container)
        if now is not None and now.runs and now.run != run:
            self.ledger.ask_stop([name])  # it had been started again before the news came
        else:
            self.ledger.taken(name, Will.DOWN)
            self.ledger.forgive(self._clock() - TOLD_S, "stopped by somebody", only=name)
        self._wake.set()

    def _passed(self, container: Inspected) -> None:
        self.ledger.probed(container.id, run_of(container))
        self._wake.set()

    def _seeded(self, name: ServiceName) -> None:
        self.ledger.seed(name, due=False)
        self._wake.set()

    def _not_seeded(self, container: Inspected, reason: str) -> None:
        self._attribution.announce(container.id, "stop")
        self.ledger.condemn(run_of(container), reason)

    def _seed_again(self, container: Inspected) -> None:
        self._attribution.announce(container.id, "stop")
        self.ledger.excuse(run_of(container), "its seed was cut short")

    async def _stop(self, names: frozenset[ServiceName]) -> None:
        await self._look()
        self.ledger.ask_stop(sorted(names))
        await self._pass()
        await self._waiters.stopped(lambda: all(self.ledger.wanted.will(name) is not Will.STOPPING for name in names))

    async def _make(
        self, names: frozenset[ServiceName], progress: Progress, *, recreate: bool = False, build: bool = False
    ) -> None:
        """Have Compose make what is missing or not as the files say; it asks the providers that those depend on."""
        name = self.ledger.project.name

        async def make() -> None:
            await self._compose.create(self.source, name, names, progress=progress, recreate=recreate, build=build)
            # Before anything is started: a port that a container publishes now must not have a door any more.
            self._sight.all_anew()
            await self._sight.look()
            await self.sleeper.listen()

        if names:
            await self._with_compose(make())

    def _own(self, names: Iterable[ServiceName]) -> frozenset[ServiceName]:
        """Of these services, those that have containers of this project: a provider keeps the others."""
        return frozenset(each for each in names if self.ledger.project.services[each].provider is None)

    async def _with_compose(self, work: Awaitable[None]) -> None:
        """Let Compose change containers; nothing is decided meanwhile, and what goes is not taken as anybody's will."""
        self._making = True
        before = set(self.inspected)
        try:
            await work
        finally:
            try:
                left = await self._sight.ids()
                for gone in before - left:
                    self._attribution.vanished(gone)
            finally:
                self._making = False
                self._sight.all_anew()
                deferred, self._deferred = self._deferred, []
                for event in deferred:
                    self.on_event(event)
                self._wake.set()

    async def _tell(self) -> None:
        """Keep what has to be kept, and wake whoever waits."""
        await self.save()
        now = self._clock()
        for name in self.ledger.project.services:
            phase, reason = self.ledger.phase(name, now)
            if self._phases.get(name) is not phase:
                self._phases[name] = phase
                told = {"project": self.ledger.project.name, "service": name, "state": phase, "reason": reason}
                self._hub.publish("service.changed", **told)
        self._waiters.wake()

    async def save(self) -> None:
        """Keep what has to outlive the daemon, where it is not kept yet."""
        state = (dict(self.ledger.wills), sorted(each.run for each in self.ledger.ends()))
        if state != self._kept:
            self._kept = state
            await self._keep(self.ledger)

    def _unsettle(self) -> None:
        self.ledger.settled = False

        def settle() -> None:
            self.ledger.settled = True
            self._wake.set()

        asyncio.get_running_loop().call_later(SETTLE_S, settle)
