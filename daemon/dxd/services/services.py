"""Every project that dx knows: found by name or directory, kept in the store, each with a supervisor of its own.

Made by `app`, which tells it the engine's events; the edge asks it for everything. A project is known from its first
`up` on, comes back with the daemon, and is forgotten when somebody says so. Files that cannot be read when the daemon
starts are tried again now and then; meanwhile the project is shown with what is wrong. Fails with `UnknownProject`,
`UnknownService`, `Conflict`, and what its supervisors raise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dxd.compose import files
from dxd.compose.compose import Compose, kept
from dxd.compose.model import Project, ProjectName, ServiceName, Source, with_dependencies
from dxd.engine.model import EngineEvent, Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import BadCompose, Conflict, DxError, EngineTrouble, UnknownProject, UnknownService
from dxd.kit.hub import Hub
from dxd.kit.nearest import did_you_mean
from dxd.kit.progress import Progress
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, ServiceId
from dxd.services import variables, views
from dxd.services.ledger import Ledger
from dxd.services.listening import Doors
from dxd.services.model import End, EndKind, ProjectView, ServiceView, Will
from dxd.services.naming import Naming
from dxd.services.networks import ProjectNetworks
from dxd.services.news import SERVICE
from dxd.services.publishing import Publishing
from dxd.services.supervisor import Supervisor
from dxd.services.uses import Uses
from dxd.snapshots.seeds import Seeds
from dxd.store.model import KnownProject, KnownService
from dxd.store.projects import KnownProjects
from dxd.telemetry import get_logger

AGAIN_S = 10.0
"""Between two looks at files that could not be read."""
LOOK_S = 3.0
"""An engine that takes longer to list a project's containers is waited for no longer before the project is shown."""

log = get_logger("services")


@dataclass(slots=True)
class Known:
    """A project, with what is wrong with its files; without a supervisor until they could be read once."""

    row: KnownProject
    supervisor: Supervisor | None = None
    problem: str = ""


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
        naming: Naming,
        publishing: Publishing,
        parting: Callable[[str], Awaitable[None]],
        logs: Logs,
        before: Callable[[], Awaitable[None]],
        seeds: Seeds,
        doors: Doors,
        uses: Uses,
    ) -> None:
        """`parting` ends what a project uses of others, before it is removed.

        `before` comes before anything is done with any service.
        """
        self._before = before
        self._seeds = seeds
        self._compose = compose
        self._containers = containers
        self._store = store
        self._hub = hub
        self._logs = logs
        self._doors = doors
        self._uses = uses
        self._networks = networks
        self._naming = naming
        self._publishing = publishing
        self._parting = parting
        self._known: dict[str, Known] = {}
        self._loaded = asyncio.Event()
        self._turns: dict[str, asyncio.Lock] = {}

    async def keep(self) -> None:
        """Look after the projects that were known before, and try again those that cannot be read; an eternal job."""
        for row in await self._store.all():
            self._known[row.name] = Known(row)
        await asyncio.gather(*(self._read(each) for each in self._known.values()))
        # Before anybody asks for ports: those of services that sleep are taken.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await asyncio.gather(*(each.sleeper.listen() for each in self._supervisors()))
        self._loaded.set()
        for supervisor in self._supervisors():
            await supervisor.looked()
            await supervisor.sleeper.listen()
        await self._doors.settled()
        while True:
            await asyncio.sleep(AGAIN_S)
            for each in [each for each in self._known.values() if each.supervisor is None]:
                await self._read(each)

    def followed(self) -> dict[str, Supervisor]:
        """Those that are looked after, by name."""
        return {name: each.supervisor for name, each in self._known.items() if each.supervisor is not None}

    async def reread(self, name: str) -> bool:
        """Read a project's files again; where they are broken, what they said last counts, and False comes back."""
        known = self._known[name]
        supervisor = known.supervisor
        assert supervisor is not None
        try:
            project, _ = await self._compose.read(supervisor.source)
            if project.name != name:
                raise BadCompose(f"the project is called {project.name} now", "to have it under that name: dx up")
        except EngineTrouble:
            raise
        except DxError as error:
            known.problem = error.line()
            return False
        known.problem = ""
        await supervisor.reread(project)
        return True

    def on_event(self, event: EngineEvent) -> None:
        """Something happened in the engine."""
        if event.kind == "container":
            for each in self._supervisors():
                each.on_event(event)

    def gap(self) -> None:
        """The engine is in sight; events may have been missed."""
        for each in self._supervisors():
            each.gap()

    def lost(self) -> None:
        """It is out of sight."""
        for each in self._supervisors():
            each.lost()

    async def close(self) -> None:
        """Look after nothing any more; the containers go on."""
        for each in self._supervisors():
            await each.close()

    async def all(self) -> list[ProjectView]:
        """Every one, by name."""
        await self._loaded.wait()
        await asyncio.gather(*(_looked(each) for each in self._known.values()))
        return [self._view(each) for _, each in sorted(self._known.items())]

    async def find(self, name: str | None, cwd: str | None) -> ProjectView:
        """The one of that name, else the one that the directory belongs to. Raises `UnknownProject`."""
        known = await self._get(name, cwd)
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
        await self._loaded.wait()
        async with self._begun(source, services, progress) as (project, found):
            names = named(project, services)
            concerned = with_dependencies(project.services, tuple(names))
            await self._naming.refuse_taken_names(project, concerned, self._known)
            known = await self._know(project, found)
            supervisor = known.supervisor
            assert supervisor is not None
            since = supervisor.now()
            chosen = await supervisor.up(project, found, names, progress, recreate=recreate, build=build, awake=awake)
            known.problem = ""
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def start(self, name: str, services: Sequence[str], progress: Progress, *, wait: bool = False) -> ProjectView:
        """Start services that were stopped."""
        known, supervisor = await self._supervised(name)
        names = named(supervisor.ledger.project, services)
        since = supervisor.now()
        chosen = await supervisor.begin(names)
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def stop(self, name: str, services: Sequence[str]) -> ProjectView:
        """Stop services, or all; they stay stopped until somebody wants them."""
        known, supervisor = await self._supervised(name)
        await supervisor.stop(named(supervisor.ledger.project, services))
        return self._view(known)

    async def restart(
        self, name: str, source: Source, services: Sequence[str], progress: Progress, *, wait: bool = False
    ) -> ProjectView:
        """Stop and start services, or all, after the files were read again; what they say otherwise is made anew.

        Of `source` the environment counts, and what is known of the project else.
        """
        known, supervisor = await self._supervised(name)
        before = supervisor.source
        source = replace(before, environ=source.environ or before.environ)
        project, source = await self._fresh(source, services, progress)
        async with self._turn(project.name):
            await self._keep_source(known, project, source)
            since = supervisor.now()
            chosen = await supervisor.restart(project, source, named(project, services), progress)
            known.problem = ""
        _tell_troubles(supervisor, progress)
        if wait:
            await supervisor.wait(chosen, progress, since=since)
        return self._view(known)

    async def wait(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Return when services, or all that are wanted, are ready or done."""
        known, supervisor = await self._supervised(name)
        project = supervisor.ledger.project
        wanted = [each for each in project.services if supervisor.ledger.wanted.will(each) is Will.UP]
        names = named(project, services) or wanted
        since = supervisor.now()
        asleep = [each for each in names if supervisor.ledger.wanted.will(each) is Will.ASLEEP]
        if asleep:
            await supervisor.begin(asleep)
        await supervisor.wait(names, progress, since=since)
        return self._view(known)

    async def down(self, name: str, progress: Progress, *, volumes: bool = False) -> None:
        """Remove a project's containers and networks; its named volumes only where that is asked for."""
        known = await self._get(name, None)
        async with self._turn(known.row.name):
            await self._networks.vacate(known.row.name)
            await self._parting(known.row.name)
            if known.supervisor is not None:
                await known.supervisor.down(progress, volumes=volumes)
            else:
                await self._compose.down(
                    _source(known.row), ProjectName(known.row.name), volumes=volumes, progress=progress
                )
                await self._store.want(known.row.name, {})

    async def forget(self, name: str) -> None:
        """Look after a project no more; its containers go on, and are the engine's alone again."""
        known = await self._get(name, None)
        async with self._turn(known.row.name):
            if known.supervisor is not None:
                await known.supervisor.sleeper.shut()
                await known.supervisor.release()
                await known.supervisor.close()
            self._known.pop(known.row.name, None)
            await self._store.forget(known.row.name)
            await self._compose.forget(ProjectName(known.row.name))
            await self._publishing.forget(ProjectName(known.row.name), Path(known.row.directory))
            await self._logs.forget(known.row.name)

    async def on_terminal(self, name: str, service: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """How to call Compose for what needs a terminal; raises `UnknownService`."""
        _, supervisor = await self._supervised(name)
        named(supervisor.ledger.project, [service])
        return await self._compose.on_terminal(supervisor.ledger.project.name)

    async def supervisor(self, name: str) -> Supervisor:
        """The owner of a project, for whatever needs its services to rest; raises `UnknownProject`, `BadCompose`."""
        return (await self._supervised(name))[1]

    async def logged(self, directory: str, project: str, services: Sequence[str]) -> list[ServiceId]:
        """Those of a project, by its name or one of its directories, of which something was printed.

        Raises `UnknownProject`, and `NotFound` where nothing is kept.
        """
        return await self._logs.find(project or (await self._get(None, directory)).row.name, services)

    async def variables(self, name: str) -> Mapping[str, str]:
        """Where the project's services are, as variables for programs: `DATABASE_URL`, `WEB_PORT`."""
        known, supervisor = await self._supervised(name)
        return variables.of(self._view(known).services, supervisor.ledger.project)

    async def inside(self, name: str, service: str, alias: str) -> Mapping[str, str]:
        """Where a service is for those on a network where it is called so: `HOST`, `PORT`, `URL`."""
        known, supervisor = await self._supervised(name)
        (chosen,) = named(supervisor.ledger.project, [service])
        view = next(each for each in self._view(known).services if each.name == chosen)
        return variables.inside(view, supervisor.ledger.project.services[chosen], alias)

    def acting(self, name: str) -> bool:
        """Whether something is done to the containers of a project just now; nothing is to one that is not known."""
        known = self._known.get(name)
        return known is not None and known.supervisor is not None and known.supervisor.acting()

    async def source(self, name: str) -> Source:
        """Where a project is read from; raises `UnknownProject`."""
        return _source((await self._get(name, None)).row)

    def _supervisors(self) -> list[Supervisor]:
        return [each.supervisor for each in self._known.values() if each.supervisor is not None]

    async def _supervised(self, name: str) -> tuple[Known, Supervisor]:
        known = await self._get(name, None)
        if known.supervisor is None:
            await self._read(known)
        if known.supervisor is None:
            raise BadCompose(known.problem, f"mend it, or: dx forget --project {name}")
        return known, known.supervisor

    async def _get(self, name: str | None, cwd: str | None) -> Known:
        await self._loaded.wait()
        if name is not None:
            if name in self._known:
                return self._known[name]
            hint = did_you_mean(name, self._known) or "see: dx services --all"
            raise UnknownProject(f"there is no project {name!r}", hint)
        directory = Path(cwd or "/")
        for each in (directory, *directory.parents):
            for known in self._known.values():
                if known.row.directory == str(each):
                    return known
            if await asyncio.to_thread(files.is_checkout, each):
                break  # what is around it is of another one
        raise UnknownProject(f"no project is known for {directory}", "begin one there: dx up")

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
            known = {name: each.row.directory for name, each in self._known.items()}
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
    ) -> AsyncIterator[tuple[Project, Source]]:
        """The project as its files are now, in its turn; of two that would have one name, the first has it."""
        while True:
            project, source = await self._fresh(given, services, progress)
            async with self._turn(project.name):
                known = self._known.get(project.name)
                if given.name is None and known is not None and known.row.directory != str(source.directory):
                    continue  # the other was faster
                yield project, source
                return

    async def _know(self, project: Project, source: Source) -> Known:
        """The project as one that is known from now on; raises `Conflict` where another has its name."""
        known = self._known.get(project.name)
        if known is not None and known.row.directory != str(source.directory):
            raise Conflict(
                f"the project {project.name} is that of {known.row.directory}",
                "give this one a name of its own: dx up --project NAME",
            )
        if known is None:
            other = await self._naming.foreign(project.name, source.directory)
            if other is not None:
                raise Conflict(
                    f"there are containers of a project {project.name} already, that of {other}",
                    "give this one a name of its own: dx up --project NAME",
                )
            known = self._known[project.name] = Known(_row(project, source))
        await self._keep_source(known, project, source)
        if known.supervisor is None:
            known.supervisor = self._supervise(project, source, known.row)
        return known

    async def _keep_source(self, known: Known, project: Project, source: Source) -> None:
        known.row = replace(_row(project, source), services=known.row.services)
        await self._store.put(known.row)

    async def _read(self, known: Known) -> None:
        """Begin to look after one that is known from before."""
        source = _source(known.row)
        try:
            project, _ = await self._compose.read(source)
        except EngineTrouble as error:
            known.problem = error.line()
            return
        except DxError as error:
            if error.line() != known.problem:
                log.warning("project cannot be read", project=known.row.name, reason=error.line())
            known.problem = error.line()
            return
        known.problem = ""
        source = replace(source, ports=await self._publishing.recall(project, source.directory))
        if known.supervisor is None and self._known.get(known.row.name) is known:
            known.supervisor = self._supervise(project, source, known.row)

    def _supervise(self, project: Project, source: Source, row: KnownProject) -> Supervisor:
        wills = {
            ServiceName(name): Will(each.will) if each.will in (Will.UP, Will.ASLEEP) else Will.DOWN
            for name, each in row.services.items()
            if name in project.services
        }
        ends = [
            End(run, EndKind(kind), reason, 0.0) for each in row.services.values() for run, kind, reason in each.ends
        ]
        ledger = Ledger(project, wills, ends)
        supervisor = Supervisor(
            source=source,
            ledger=ledger,
            compose=self._compose,
            containers=self._containers,
            publishing=self._publishing,
            keep=self._keep_wills,
            hub=self._hub,
            started=partial(self._keep_output, project.name),
            before=self._before,
            seeds=self._seeds,
            doors=self._doors,
            uses=self._uses,
        )
        supervisor.start()
        return supervisor

    def _keep_output(self, project: ProjectName, container: Inspected) -> None:
        self._logs.follow(ServiceId(project, container.labels[SERVICE]), Instance(container.id, container.name))

    async def _keep_wills(self, ledger: Ledger) -> None:
        ends = ledger.ends()
        rows = {}
        for name, will in ledger.wills.items():
            of_it = {each.run for each in ledger.seen.of(name)}
            rows[str(name)] = KnownService(
                will, tuple((each.run, each.kind, each.reason) for each in ends if each.run in of_it)
            )
        await self._store.want(ledger.project.name, rows)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Of those who change a project, one at a time."""
        async with self._turns.setdefault(name, asyncio.Lock()):
            yield

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
                    {**supervisor.troubles, **supervisor.sleeper.troubles},
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
            raise UnknownService(f"the project {project.name} has no service {each!r}", hint)
    return [ServiceName(each) for each in dict.fromkeys(services)]


def _row(project: Project, source: Source) -> KnownProject:
    return KnownProject(
        name=project.name,
        directory=str(source.directory),
        files=source.files,
        given_name=source.name,
        profiles=source.profiles,
        environ=source.environ,
    )


def _source(row: KnownProject) -> Source:
    return Source(Path(row.directory), row.files, row.given_name, row.profiles, row.environ)
