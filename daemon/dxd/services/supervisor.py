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

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from dxd.compose.compose import Compose
from dxd.compose.model import Port, Project, RestartKind, ServiceName, Source, dependants, with_dependencies
from dxd.engine.model import ContainerId, EngineEvent, Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import NotFound, ServiceFailed
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks
from dxd.services import policy
from dxd.services.beside import Beside
from dxd.services.ledger import Ledger
from dxd.services.listening import Doors
from dxd.services.loop import Loop
from dxd.services.making import Making
from dxd.services.model import Phase, Will
from dxd.services.news import PROJECT, SERVICE, Attribution
from dxd.services.others import Others
from dxd.services.publishing import Publishing
from dxd.services.sight import Sight
from dxd.services.sleeper import Sleeper
from dxd.services.swaps import Swaps
from dxd.services.turn import Turn
from dxd.services.uses import Uses
from dxd.snapshots.seeds import Seeds
from dxd.telemetry import get_logger

SETTLE_S = 0.3
"""After the engine was out of sight: what happened meanwhile is told within this."""
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
        self.approved: Project | None = None
        """As somebody has asked for it, with `up` or `restart`, in this daemon's life."""
        self.troubles: dict[ServiceName, str] = {}
        """By service, what of its files could not be followed, for people."""
        self.told: set[str] = set()
        """Troubles that were told to somebody."""
        self._compose = compose
        self._containers = containers
        self._publishing = publishing
        self._started = started
        self._clock = clock
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._turn = Turn()
        self._sight = Sight(ledger=ledger, containers=containers, clock=clock, started=self._runs)
        attribution = Attribution()
        self._loop = Loop(
            ledger=ledger,
            compose=compose,
            containers=containers,
            sight=self._sight,
            attribution=attribution,
            seeds=seeds,
            tasks=self._tasks,
            hub=hub,
            source=lambda: self.source,
            sleeper=lambda: self.sleeper,
            making=lambda: self._making.going,
            keep=keep,
            before=before,
            clock=clock,
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
            act=self._loop.step,
            wake=self._loop.wake,
            clock=clock,
        )
        self._others = Others(
            ledger=ledger,
            attribution=attribution,
            tasks=self._tasks,
            saw=self._sight.news,
            goes_on=containers.goes_on,
            ago=containers.ago_s,
            wake=self._loop.wake,
            clock=clock,
        )
        self._making = Making(
            ledger=ledger,
            compose=compose,
            containers=containers,
            attribution=attribution,
            sight=self._sight,
            source=lambda: self.source,
            made=self.sleeper.listen,
            heard=self._others.on_event,
            wake=self._loop.wake,
        )
        self.beside = Beside(
            ledger=ledger,
            publishing=publishing,
            turn=self._turn,
            tasks=self._tasks,
            source=lambda: self.source,
            took=self._took,
        )
        self.swaps = Swaps(
            ledger=ledger,
            compose=compose,
            containers=containers,
            attribution=attribution,
            turn=self._turn,
            source=lambda: self.source,
            with_compose=self._making.with_compose,
            look=self._sight.look_at,
            wake=self._loop.wake,
        )

    def start(self) -> None:
        """Begin to look after it."""
        self._tasks.spawn(self._loop.run(), name=f"project {self.ledger.project.name}")

    async def close(self) -> None:
        """Look after it no more; its containers go on. Whoever waits is told."""
        self._loop.waiters.close()
        await self._tasks.close()

    @property
    def away(self) -> bool:
        """Whether the engine is out of sight, so that what is known may not be so any more."""
        return self._loop.away

    async def looked(self) -> None:
        """Return when it is known what is there, or that the engine cannot say."""
        await self._loop.looked()

    def on_event(self, event: EngineEvent) -> None:
        """Something happened to a container of some project."""
        if event.attributes.get(PROJECT) != self.ledger.project.name:
            return
        if self._making.going:
            self._making.defer(event)
        else:
            self._others.on_event(event)

    def gap(self) -> None:
        """The engine is in sight, again or still; events may have been missed."""
        if self._loop.away:
            self._others.back()
        self._loop.back()

    def lost(self) -> None:
        """The engine is out of sight."""
        self._others.lost()
        self._loop.lost()

    async def up(
        self,
        project: Project,
        source: Source,
        names: Sequence[ServiceName],
        progress: Progress,
        *,
        every: Collection[ServiceName],
        recreate: bool = False,
        build: bool = False,
        awake: bool = False,
    ) -> frozenset[ServiceName]:
        """Have these services, or `every`, and what they depend on, as the project says now; those that it concerns.

        What is `lazy` sleeps until it is needed, unless it is named and is to be `awake`. Raises `PortTaken` and
        `Refused` where its door cannot be had.
        """
        async with self._turn.of("dx up", progress):
            # It may take long, and what is there goes on as it was wanted so far.
            supplied = await self._making.supply(project, source, names or every, progress, build=build)
            self.ledger.reread(project)
            chosen = self._own(with_dependencies(project.services, tuple(names or every)))
            ports = await self._publishing.choose(project, source.directory, chosen, progress, anew=recreate)
            self.source, self.approved = replace(source, ports=ports), project
            await self._making.make(
                chosen or frozenset(names), progress, recreate=recreate, build=build, supplied=supplied
            )
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
            self._loop.wake()

    async def begin(self, names: Sequence[ServiceName], progress: Progress) -> frozenset[ServiceName]:
        """Start services whose containers are there, and what they depend on; `ServiceFailed` where one is not.

        Where they are about to run anyhow, one of them with a new container, that one is not asked to hurry: whoever
        takes the turn ends its trial.
        """
        chosen = self._own(with_dependencies(self.ledger.project.services, tuple(names)))
        if self.swaps.under_way in chosen and policy.comes_up(self.ledger.wanted, self.ledger.seen, chosen, self.now()):
            return chosen
        async with self._turn.of("dx start", progress):
            self._loop.waiters.refuse_if_gone(names)  # while others had their turn
            chosen = self._own(with_dependencies(self.ledger.project.services, tuple(names)))
            await self._loop.look()
            for name in sorted(chosen):
                if not self.ledger.seen.of(name):
                    raise ServiceFailed(f"{name} has no container", f"make one: dx up {name}")
            self.ledger.ask_up(sorted(chosen.difference(names)), lazily=True)
            self.ledger.ask_up(names, once_more=names)
            await self._loop.step()
            return chosen

    async def rouse(self, name: ServiceName) -> None:
        """Return when a service is ready that is wanted as soon as it is needed; `ServiceFailed`.

        Nothing is forgiven for that: what has fallen is started in its time, and what somebody has stopped is not.
        """
        await self._loop.waiters.back()
        await self.looked()
        if self.ledger.wanted.will(name) is Will.STOPPING:
            async with self._turn:  # it may only rest, while its data is copied
                pass
        self._loop.waiters.refuse_if_gone([name])
        will, phase = self.ledger.wanted.will(name), self.ledger.phase(name, self.now())[0]
        if will not in (Will.UP, Will.ASLEEP):
            raise ServiceFailed(f"{name} was stopped", f"start it: dx start {name}")
        if phase is Phase.READY:
            return
        since = self.now()
        if will is Will.ASLEEP or phase is Phase.DONE:
            self.ledger.ask_up([name], once_more=[name])
            self._loop.wake()
        chosen = self._own(with_dependencies(self.ledger.project.services, (name,)))
        await self.wait(chosen, Silent(), since=since)

    async def stop(self, names: Sequence[ServiceName], progress: Progress) -> None:
        """Stop services, or all; returns when they do not run any more."""
        async with self._turn.of("dx stop", progress):
            self._loop.waiters.refuse_if_gone(names)  # while others had their turn
            await self._stop(frozenset(names) or frozenset(self.ledger.project.services))

    @asynccontextmanager
    async def resting(self, names: Iterable[ServiceName]) -> AsyncIterator[None]:
        """Have these services not run until the block ends. What is wanted of them stays, so that they come back as
        they were, by the next daemon where this one dies meanwhile. Other verbs wait.
        """
        async with self._turn.of("a copy of its data", Silent()), self._at_rest(names):
            yield

    @asynccontextmanager
    async def _at_rest(self, names: Iterable[ServiceName]) -> AsyncIterator[None]:
        """As `resting`, for a verb that has its turn."""
        chosen = frozenset(names)
        await self._loop.look()
        self.ledger.rest(chosen)
        try:
            await self._loop.save()
            await self._loop.step()
            await self._loop.waiters.stopped(chosen, self.ledger.rests)
            yield
        finally:
            self.ledger.rest(())
            self._loop.wake()

    async def restart(
        self, project: Project, source: Source, names: Sequence[ServiceName], progress: Progress
    ) -> frozenset[ServiceName]:
        """Stop services, or all, make anew what is not as the files say now, start them; those that it concerns.

        Whatever ends it in between, and be it the daemon, those that were wanted are wanted still.
        """
        async with self._turn.of("dx restart", progress):
            chosen = frozenset(names) or frozenset(project.services)
            chosen |= {
                name
                for name in dependants(project.services, chosen)
                if any(each.restart and each.service in chosen for each in project.services[name].depends_on)
            }
            supplied = await self._making.supply(project, source, chosen, progress)
            self.ledger.reread(project)
            chosen = self._own(chosen)
            awake = {each for each in chosen if each in names or self.ledger.wanted.will(each) is Will.UP}
            ports = await self._publishing.choose(project, source.directory, chosen, progress)
            self.source, self.approved = replace(source, ports=ports), project
            async with self._at_rest(chosen):
                await self._making.make(chosen, progress, supplied=supplied)
                self.ledger.ask_up(sorted(chosen - awake), once_more=chosen, lazily=True)
                self.ledger.ask_up(sorted(awake), once_more=chosen)
            await self._open()
        return chosen

    async def _open(self) -> None:
        """Begin to start what is wanted, and listen for it."""
        await self._loop.step()
        for error in await self.sleeper.listen():
            raise error

    async def again(self, names: Sequence[ServiceName]) -> None:
        """Stop services and start them, as their containers are; those that the files still have."""
        async with self._turn:
            chosen = [name for name in names if name in self.ledger.project.services]
            async with self._at_rest(chosen):
                self.ledger.ask_up(chosen)
            await self._loop.step()

    def acting(self) -> bool:
        """Whether something is done to the containers just now."""
        return self._turn.locked()

    async def down(self, progress: Progress, *, volumes: bool = False) -> None:
        """Remove its containers and networks; named volumes only where that is asked for."""
        async with self._turn.of("dx down", progress):
            name = self.ledger.project.name
            for each in self.ledger.project.services:
                self.ledger.taken(each, Will.DOWN)
            self.ledger.excuse_all("dx down")
            await self.sleeper.listen()
            await self._making.with_compose(self._compose.down(self.source, name, volumes=volumes, progress=progress))

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
        await self._loop.waiters.wait(names, progress, since=since)

    def now(self) -> float:
        """By its clock, for `wait`."""
        return self._clock()

    @property
    def inspected(self) -> Mapping[ContainerId, Inspected]:
        """The project's containers, as the engine last had them."""
        return self._sight.containers

    def _runs(self, container: Inspected) -> None:
        self._started(container)
        self.beside.runs(container)

    def _took(self, name: ServiceName, ports: Mapping[ServiceName, tuple[Port, ...]]) -> None:
        self.source = replace(self.source, ports=ports)
        self._loop.forget_phase(name)

    async def _stop(self, names: frozenset[ServiceName]) -> None:
        await self._loop.look()
        self.ledger.ask_stop(sorted(names))
        await self._loop.step()
        await self._loop.waiters.stopped(
            names, lambda: all(self.ledger.wanted.will(name) is not Will.STOPPING for name in names)
        )

    def _own(self, names: Iterable[ServiceName]) -> frozenset[ServiceName]:
        """Of these services, those that have containers of this project: a provider keeps the others."""
        return frozenset(each for each in names if self.ledger.project.services[each].provider is None)
