"""Every project that dx knows: found by its name or a directory, kept in the store, each with a supervisor of its own.

Owned by `services`, whose verbs it serves; `develop` follows what is looked after. A project is known from its first
`up` on, and comes back with the daemon. Files that cannot be read when the daemon starts are tried again now and then;
meanwhile it is known what is wrong with them. Fails with `UnknownProject`, `Conflict` and `BadCompose`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dxd.compose import files
from dxd.compose.compose import Compose
from dxd.compose.model import Project, ProjectName, ServiceName, Source
from dxd.engine.model import Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import BadCompose, Conflict, DxError, EngineTrouble, UnknownProject
from dxd.kit.boot import boot_id
from dxd.kit.hub import Hub
from dxd.kit.nearest import did_you_mean
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, ServiceId
from dxd.services import past
from dxd.services.ledger import Ledger
from dxd.services.listening import Doors
from dxd.services.model import End, EndKind, History, Will
from dxd.services.naming import Naming
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


class Register:
    """All of them."""

    def __init__(
        self,
        *,
        compose: Compose,
        containers: Supervised,
        store: KnownProjects,
        hub: Hub,
        naming: Naming,
        publishing: Publishing,
        logs: Logs,
        before: Callable[[], Awaitable[None]],
        seeds: Seeds,
        doors: Doors,
        uses: Uses,
    ) -> None:
        """`before` comes before anything is done with any service."""
        self.known: dict[str, Known] = {}
        """By name."""
        self._compose = compose
        self._containers = containers
        self._store = store
        self._hub = hub
        self._naming = naming
        self._publishing = publishing
        self._logs = logs
        self._before = before
        self._seeds = seeds
        self._doors = doors
        self._uses = uses
        self._loaded = asyncio.Event()

    async def loaded(self) -> None:
        """Return when those that were known before are known again."""
        await self._loaded.wait()

    def supervisors(self) -> dict[str, Supervisor]:
        """Of those that are looked after, by name."""
        return {name: each.supervisor for name, each in self.known.items() if each.supervisor is not None}

    async def keep(self) -> None:
        """Look after the projects that were known before, and try again those that cannot be read; an eternal job."""
        for row in await self._store.all():
            self.known[row.name] = Known(row)
        await asyncio.gather(*(self._read(each) for each in self.known.values()))
        # Before anybody asks for ports: those of services that sleep are taken.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await asyncio.gather(*(each.sleeper.listen() for each in self.supervisors().values()))
        self._loaded.set()
        for supervisor in self.supervisors().values():
            await supervisor.looked()
            await supervisor.sleeper.listen()
        await self._doors.settled()
        while True:
            await asyncio.sleep(AGAIN_S)
            for each in [each for each in self.known.values() if each.supervisor is None]:
                await self._read(each)

    async def reread(self, name: str) -> bool:
        """Read a project's files again; where they are broken, what they said last counts, and False comes back."""
        known = self.known[name]
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

    async def supervised(self, name: str) -> tuple[Known, Supervisor]:
        """The one of that name, and its owner; raises `UnknownProject`, and `BadCompose` where its files are broken."""
        known = await self.get(name, None)
        if known.supervisor is None:
            await self._read(known)
        if known.supervisor is None:
            raise BadCompose(known.problem, f"mend it, or: dx forget --project {name}")
        return known, known.supervisor

    async def get(self, name: str | None, cwd: str | None) -> Known:
        """The one of that name, else the one that the directory belongs to; raises `UnknownProject`."""
        await self.loaded()
        if name is not None:
            if name in self.known:
                return self.known[name]
            hint = did_you_mean(name, self.known) or "see: dx services --all"
            raise UnknownProject(f"there is no project {name!r}", hint)
        directory = Path(cwd or "/")
        for each in (directory, *directory.parents):
            for known in self.known.values():
                if known.row.directory == str(each):
                    return known
            if await asyncio.to_thread(files.is_checkout, each):
                break  # what is around it is of another one
        raise UnknownProject(f"no project is known for {directory}", "begin one there: dx up")

    async def know(self, project: Project, source: Source) -> Known:
        """The project as one that is known from now on; raises `Conflict` where another has its name."""
        known = self.known.get(project.name)
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
            known = self.known[project.name] = Known(_row(project, source))
        await self.put(known, project, source)
        if known.supervisor is None:
            known.supervisor = self._supervise(project, source, known.row)
        return known

    async def put(self, known: Known, project: Project, source: Source) -> None:
        """Keep where it is read from now."""
        known.row = replace(_row(project, source), services=known.row.services)
        await self._store.put(known.row)

    async def _read(self, known: Known) -> None:
        """Begin to look after one that is known from before."""
        source = source_of(known.row)
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
        if known.supervisor is None and self.known.get(known.row.name) is known:
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
        boot, now = boot_id(), time.monotonic()
        before: dict[past.Key, History] = {}
        for name, each in row.services.items():
            before |= past.known(ServiceName(name), each.past, boot, now)
        ledger = Ledger(project, wills, ends, before)
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
        ends, before, boot = ledger.ends(), ledger.falls(), boot_id()
        rows = {}
        for name, will in ledger.wills.items():
            of_it = {each.run for each in ledger.seen.of(name)}
            rows[str(name)] = KnownService(
                will,
                tuple((each.run, each.kind, each.reason) for each in ends if each.run in of_it),
                past.kept(before, name, boot),
            )
        await self._store.want(ledger.project.name, rows)

    def drop(self, name: str) -> None:
        """Know it no more."""
        self.known.pop(name, None)


def _row(project: Project, source: Source) -> KnownProject:
    return KnownProject(
        name=project.name,
        directory=str(source.directory),
        files=source.files,
        given_name=source.name,
        profiles=source.profiles,
        environ=source.environ,
    )


def source_of(row: KnownProject) -> Source:
    """Where a project is read from."""
    return Source(Path(row.directory), row.files, row.given_name, row.profiles, row.environ)
