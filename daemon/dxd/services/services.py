"""Every project that dx knows: found by name or directory, kept in the store, each with a supervisor of its own.

Made by `app`, which tells it the engine's events; the edge asks it for everything. A project is known from its first
`up` on, comes back with the daemon, and is forgotten when somebody says so. Files that cannot be read when the daemon
starts are tried again now and then; meanwhile the project is shown with what is wrong. Fails with `UnknownProject`,
`UnknownService`, `Conflict`, and what its supervisors raise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dxd.compose import files
from dxd.compose.compose import Compose, kept
from dxd.compose.model import Project, ProjectName, ServiceName, Source, with_dependencies
from dxd.engine.model import EngineEvent
from dxd.engine.supervised import Supervised
from dxd.errors import BadCompose, UnknownService
from dxd.kit.hub import Hub
from dxd.kit.nearest import did_you_mean
from dxd.kit.progress import Progress
from dxd.logs.logs import Logs
from dxd.logs.model import ServiceId
from dxd.services import profiles, variables, views
from dxd.services.listening import Doors
from dxd.services.model import ProjectView, ServiceView, Will
from dxd.services.naming import Naming
from dxd.services.networks import ProjectNetworks
from dxd.services.publishing import Publishing
from dxd.services.register import LOOK_S, Known, Register, source_of
from dxd.services.remains import Remains
from dxd.services.supervisor import Supervisor
from dxd.services.turn import Turn
from dxd.services.uses import Uses
from dxd.snapshots.seeds import Seeds
from dxd.store.projects import KnownProjects
from dxd.telemetry import get_logger

log = get_logger("services")


class Services:
    """All of them."""

    def __init__(
        self,
        *,
        compose: Compose,
        containers: Supervised,
        store: KnownProjects,
        hub: Hub,
        networks: ProjectNetworks,
        remains: Remains,
        naming: Naming,
        publishing: Publishing,
        parting: Callable[[str], Awaitable[None]],
        making: Callable[[Project], Awaitable[None]],
        logs: Logs,
        before: Callable[[], Awaitable[None]],
        seeds: Seeds,
        doors: Doors,
        uses: Uses,
    ) -> None:
        """`parting` ends what a project uses of others, before it is removed; `making` is told of one whose containers
        are about to be made.

        `before` comes before anything is done with any service.
        """
        self._register = Register(
            compose=compose,
            containers=containers,
            store=store,
            hub=hub,
            naming=naming,
            publishing=publishing,
            logs=logs,
            before=before,
            seeds=seeds,
            doors=doors,
            uses=uses,
        )
        self._compose = compose
        self._store = store
        self._logs = logs
        self._doors = doors
        self._networks = networks
        self._remains = remains
        self._naming = naming
        self._publishing = publishing
        self._parting = parting
        self._making = making
        self._turns: dict[str, Turn] = {}

    async def keep(self) -> None:
        """Look after the projects that were known before; an eternal job."""
        await self._register.keep()

    def followed(self) -> dict[str, Supervisor]:
        """Those that are looked after, by name."""
        return self._register.supervisors()

    async def reread(self, name: str) -> bool:
        """Read a project's files again; where they are broken, what they said last counts, and False comes back."""
        return await self._register.reread(name)

    def on_event(self, event: EngineEvent) -> None:
        """Something happened in the engine."""
        if event.kind == "container":
            for each in self._register.supervisors().values():
                each.on_event(event)

    def gap(self) -> None:
        """The engine is in sight; events may have been missed."""
        for each in self._register.supervisors().values():
            each.gap()

    def lost(self) -> None:
        """It is out of sight."""
        for each in self._register.supervisors().values():
            each.lost()

    async def close(self) -> None:
        """Look after nothing any more; the containers go on."""
        for each in self._register.supervisors().values():
            await each.close()

    async def all(self) -> list[ProjectView]:
        """Every one, by name."""
        await self._register.loaded()
        await asyncio.gather(*(_looked(each) for each in self._register.known.values()))
        return [self._view(each) for _, each in sorted(self._register.known.items())]

    async def find(self, name: str | None, cwd: str | None) -> ProjectView:
        """The one of that name, else the one that the directory belongs to. Raises `UnknownProject`."""
        known = await self._register.get(name, cwd)
        await _looked(known)
        return self._view(known)

    async def up(
        self,
        source: Source,
        services: Sequence[str],
        progress: Progress,
        *,
        wait: bool = False,
        recreate: bool = False,
        build: bool = False,
        awake: bool = False,
    ) -> ProjectView:
        """Have services of a project, or all, with what they depend on; with `awake` the named ones do not sleep.

        With `wait` returns when all are ready, done or asleep.
        """
        await self._register.loaded()
        async with self._begun(source, services, progress) as (project, found, every):
            names = named(project, services)
            concerned = with_dependencies(project.services, tuple(names or every))
            await self._naming.refuse_taken_names(project, concerned, self._register.known)
            known = await self._register.know(project, found)
            supervisor = known.supervisor
            assert supervisor is not None
            await self._making(project)
            since = supervisor.now()
            chosen = await supervisor.up(
                project, found, names, progress, every=every, recreate=recreate, build=build, awake=awake
            )
            known.problem = ""
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def start(self, name: str, services: Sequence[str], progress: Progress, *, wait: bool = False) -> ProjectView:
        """Start services that were stopped."""
        known, supervisor = await self._register.supervised(name)
        names = named(supervisor.ledger.project, services)
        since = supervisor.now()
        chosen = await supervisor.begin(names, progress)
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def stop(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Stop services, or all; they stay stopped until somebody wants them."""
        known, supervisor = await self._register.supervised(name)
        await supervisor.stop(named(supervisor.ledger.project, services), progress)
        return self._view(known)

    async def restart(
        self, name: str, source: Source, services: Sequence[str], progress: Progress, *, wait: bool = False
    ) -> ProjectView:
        """Stop and start services, or all, after the files were read again; what they say otherwise is made anew.

        Of `source` the environment and the profiles count, which are added to those in force, and what is known of the
        project else.
        """
        known, supervisor = await self._register.supervised(name)
        before = supervisor.source
        added = tuple(each for each in source.profiles if each not in before.profiles)
        source = replace(before, environ=source.environ or before.environ, profiles=(*before.profiles, *added))
        project, source = await self._fresh(source, services, progress)
        async with self._turn(project.name).of("dx restart", progress):
            await self._register.put(known, project, source)
            await self._making(project)
            since = supervisor.now()
            chosen = await supervisor.restart(project, source, named(project, services), progress)
            known.problem = ""
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def wait(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Return when services, or all that are wanted, are ready or done."""
        known, supervisor = await self._register.supervised(name)
        project = supervisor.ledger.project
        wanted = [each for each in project.services if supervisor.ledger.wanted.will(each) is Will.UP]
        names = named(project, services) or wanted
        since = supervisor.now()
        asleep = [each for each in names if supervisor.ledger.wanted.will(each) is Will.ASLEEP]
        if asleep:
            await supervisor.begin(asleep, progress)
        await supervisor.wait(names, progress, since=since)
        return self._view(known)

    async def down(self, name: str, progress: Progress, *, volumes: bool = False) -> None:
        """Remove a project's containers and networks; its named volumes only where that is asked for.

        Raises `Conflict` where one of them is left, because somebody else has it.
        """
        known = await self._register.get(name, None)
        async with self._turn(known.row.name).of("dx down", progress):
            await self._networks.vacate(known.row.name)
            await self._parting(known.row.name)
            if known.supervisor is not None:
                await known.supervisor.down(progress, volumes=volumes)
            else:
                await self._compose.down(
                    source_of(known.row), ProjectName(known.row.name), volumes=volumes, progress=progress
                )
                await self._store.want(known.row.name, {})
            await self._remains.refuse(known.row.name, volumes=volumes)

    async def forget(self, name: str) -> None:
        """Look after a project no more; its containers go on, and are the engine's alone again."""
        known = await self._register.get(name, None)
        async with self._turn(known.row.name):
            if known.supervisor is not None:
                await known.supervisor.sleeper.shut()
                await known.supervisor.release()
                await known.supervisor.close()
            self._register.drop(known.row.name)
            await self._store.forget(known.row.name)
            await self._compose.forget(ProjectName(known.row.name))
            await self._publishing.forget(ProjectName(known.row.name), Path(known.row.directory))
            await self._logs.forget(known.row.name)

    async def on_terminal(self, name: str, service: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """How to call Compose for what needs a terminal; raises `UnknownService`."""
        _, supervisor = await self._register.supervised(name)
        named(supervisor.ledger.project, [service])
        return await self._compose.on_terminal(supervisor.ledger.project.name)

    async def supervisor(self, name: str) -> Supervisor:
        """The owner of a project, for whatever needs its services to rest; raises `UnknownProject`, `BadCompose`."""
        return (await self._register.supervised(name))[1]

    async def logged(self, directory: str, project: str, services: Sequence[str]) -> list[ServiceId]:
        """Those of a project, by its name or one of its directories, of which something was printed.

        Raises `UnknownProject`, and `NotFound` where nothing is kept.
        """
        return await self._logs.find(project or (await self._register.get(None, directory)).row.name, services)

    async def variables(self, name: str) -> Mapping[str, str]:
        """Where the project's services are, as variables for programs: `DATABASE_URL`, `WEB_PORT`."""
        known, supervisor = await self._register.supervised(name)
        return variables.of(self._view(known).services, supervisor.ledger.project)

    async def inside(self, name: str, service: str, alias: str) -> Mapping[str, str]:
        """Where a service is for those on a network where it is called so: `HOST`, `PORT`, `URL`."""
        known, supervisor = await self._register.supervised(name)
        (chosen,) = named(supervisor.ledger.project, [service])
        view = next(each for each in self._view(known).services if each.name == chosen)
        return variables.inside(view, supervisor.ledger.project.services[chosen], alias)

    def acting(self, name: str) -> bool:
        """Whether something is done to the containers of a project just now; nothing is to one that is not known."""
        known = self._register.known.get(name)
        return known is not None and known.supervisor is not None and known.supervisor.acting()

    async def source(self, name: str) -> Source:
        """Where a project is read from; raises `UnknownProject`."""
        return source_of((await self._register.get(name, None)).row)

    async def _fresh(self, source: Source, services: Sequence[str], progress: Progress) -> tuple[Project, Source]:
        """The project as its files are now, and where it is from, for good. Tells what Compose warns of."""
        directory = await asyncio.to_thread(files.directory_of, source.directory, source.files, source.environ)
        if directory is None and source.files:
            directory = source.directory
        if directory is None:
            raise BadCompose(f"there is no compose file in {source.directory} or above it", "name one with --file")
        given = tuple(str((source.directory / each).absolute()) for each in source.files)
        source = replace(source, directory=directory, files=given)
        project, warnings = await self._compose.read(source)
        missing = [each for each in services if each not in project.services and each in project.inactive]
        if missing:
            # As for Compose, to name a service is to want its profile.
            more = [profile for each in missing for profile in project.inactive[ServiceName(each)][:1]]
            source = replace(source, profiles=(*source.profiles, *dict.fromkeys(more)))
            project, warnings = await self._compose.read(source)
        if source.name is None:
            known = {name: each.row.directory for name, each in self._register.known.items()}
            own, other = await self._naming.choose(project.name, directory, known)
            if own != project.name:
                if other:
                    progress.note(f"the project {project.name} is that of {other}, so this one is {own}")
                source = replace(source, name=own)
                project, warnings = await self._compose.read(source)
        for each in warnings:
            progress.note(each)
        return project, replace(source, name=project.name, environ=kept(source.environ, project.needs))

    @asynccontextmanager
    async def _begun(
        self, given: Source, services: Sequence[str], progress: Progress
    ) -> AsyncIterator[tuple[Project, Source, frozenset[ServiceName]]]:
        """The project as its files are now, in its turn, and which of its services are meant by all of them.

        Of two that would have one name, the first has it. Profiles of services that run stay in force.
        """
        while True:
            project, source = await self._fresh(given, services, progress)
            async with self._turn(project.name).of("dx up", progress):
                known = self._register.known.get(project.name)
                if given.name is None and known is not None and known.row.directory != str(source.directory):
                    continue  # the other was faster
                yield await self._in_force(known, project, source)
                return

    async def _in_force(
        self, known: Known | None, project: Project, source: Source
    ) -> tuple[Project, Source, frozenset[ServiceName]]:
        """The same with the profiles of services that run, and which services are meant by all of them."""
        asked, supervisor = project, None
        if known is not None and known.row.directory == str(source.directory):
            with suppress(BadCompose):
                _, supervisor = await self._register.supervised(known.row.name)
        if known is None or supervisor is None:
            return project, source, frozenset(project.services)
        await _looked(known)
        ledger, now = supervisor.ledger, supervisor.now()
        if more := profiles.in_force(ledger, project, known.row.profiles, now):
            source = replace(source, profiles=(*source.profiles, *more))
            project, _ = await self._compose.read(source)
        return project, source, profiles.meant(ledger, asked, project, now)

    def _turn(self, name: str) -> Turn:
        """Of those who change a project, one at a time."""
        return self._turns.setdefault(name, Turn())

    def _unkept(self, project: str) -> dict[ServiceName, str]:
        return {
            ServiceName(each.service): why.line()
            for each, why in self._logs.unkept().items()
            if each.project == project
        }

    def _view(self, known: Known) -> ProjectView:
        row, supervisor = known.row, known.supervisor
        problem = known.problem
        if supervisor is not None and supervisor.away:
            problem = problem or "the engine is away; its services are shown as they were seen last"
        services: tuple[ServiceView, ...] = ()
        if supervisor is not None:
            services = tuple(
                views.of(
                    supervisor.ledger,
                    supervisor.inspected,
                    {**self._unkept(row.name), **supervisor.troubles, **supervisor.sleeper.troubles},
                    self._doors.of(supervisor.ledger.project.name),
                    supervisor.now(),
                )
            )
        return ProjectView(ProjectName(row.name), row.directory, row.files, row.profiles, services, problem)


async def _looked(known: Known) -> None:
    """Wait a moment, where nobody has looked yet what is there."""
    if known.supervisor is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await known.supervisor.looked()


def _tell_troubles(supervisor: Supervisor, progress: Progress) -> None:
    """Say once what of the files could not be followed."""
    for line in supervisor.troubles.values():
        if line not in supervisor.told:
            supervisor.told.add(line)
            progress.note(line)


def named(project: Project, services: Sequence[str]) -> list[ServiceName]:
    """Names that are services of the project; raises `UnknownService`."""
    for each in services:
        if each not in project.services:
            hint = did_you_mean(each, project.services) or f"it has {', '.join(sorted(project.services)) or 'none'}"
            if own := project.inactive.get(ServiceName(each)):
                hint = f"it has one of the profile {own[0]}; to have it run: dx up {each}"
            raise UnknownService(f"the project {project.name} has no service {each!r}", hint)
    return [ServiceName(each) for each in dict.fromkeys(services)]
