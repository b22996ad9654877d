"""Stand-ins for the rooms below the edge, with no more in them than a test of the edge can see."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dxd.api.door import DEFAULT_LIMITS, Limits
from dxd.api.front import HttpFront, create_app
from dxd.compose.model import ProjectName, ServiceName, Source
from dxd.engine.docker import Engine
from dxd.engine.model import BoundPort, ContainerId, EngineState, EngineStatus, Health, Image, ImageId
from dxd.errors import Conflict, EngineDown, NotFound, ServiceFailed, UnknownProject, UnknownService, UnknownTool
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress
from dxd.logs.logs import Logs
from dxd.logs.model import ServiceId
from dxd.rebuild.comparison import Compared, Standing
from dxd.rebuild.locking import Complaint
from dxd.rebuild.pushes import Pushed
from dxd.rebuild.upgrades import Consent, Upgraded
from dxd.runs.model import Grant, Lease, LeaseRequest, Run, RunId, RunState, StillAlive
from dxd.services.model import Phase, ProjectView, ServiceView, Will
from dxd.snapshots.model import Copy, Snapshot
from dxd.store.consents import Consents
from dxd.store.consumers import Consumer
from dxd.store.database import Database
from dxd.store.model import BuildId, BuildView, Freed, Result
from dxd.store.schema import MIGRATIONS
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import Tool
from dxd.tools.shims import reconcile
from dxd.trust.projects import Projects
from dxd.trust.tools import Tools
from dxd.warm import ladder
from dxd.warm.ladder import Step
from dxd.warm.model import ContainerView, VolumeKind, VolumeUse
from dxd.warm.volumes import VolumeView
from dxd.watch.model import Problem as Unwatched

BORN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONTAINER = ContainerId("c" * 64)
LEASE = Lease(
    run=RunId(7),
    token=bytes(range(16)),
    agent=Path("/run/dx/agent.sock"),
    grants=(Grant(b"/home/me/project", readonly=False, directory=True), Grant(b"/data/\xff", True, False)),
)
RUN = Run(
    id=RunId(7),
    tool="jq",
    command="jq",
    container=CONTAINER,
    client_pid=4711,
    state=RunState.RUNNING,
    created_at=BORN,
    started_at=BORN,
)
VIEW = ContainerView(
    id=CONTAINER,
    image="jq:latest",
    image_id=ImageId("sha256:" + "1" * 64),
    tools=("jq",),
    network="none",
    state="ready",
    runs=1,
    idle_s=0.0,
    created_at=BORN,
    agent_pid=99,
)
CACHE = VolumeView("dx-cache-1", VolumeUse(VolumeKind.CACHE, "pip", "/home/me/.cache/pip"))
BUILD = BuildView(
    id=BuildId(3),
    tool="jq",
    digest="d" * 64,
    image_id="sha256:" + "1" * 64,
    began=BORN,
    seconds=12.5,
    result=Result.GOOD,
    cause="Dockerfile, main.c",
    asked_by="change",
    error="",
    size_bytes=8 << 20,
    current=True,
    pinned=False,
)
SNAPSHOT = Snapshot(
    project="shop",
    name="before",
    id="0" * 16,
    created=datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
    files=3,
    bytes=4096,
    copies=(Copy("shop_data", "dx-snapshot-0-0", {}),),
)
OLDER = replace(BUILD, id=BuildId(1), current=False)
FAILED = replace(BUILD, id=BuildId(2), tool="yq", image_id=None, result=Result.FAILED, error="no", current=False)
IMAGE = Image(
    id=ImageId("sha256:" + "1" * 64),
    architecture="amd64",
    os="linux",
    entrypoint=("/jq",),
    command=(),
    env=(),
    working_dir="",
    user="",
    labels={},
    size_bytes=1,
)

PROJECT = ProjectView(
    name=ProjectName("shop"),
    directory="/home/me/shop",
    files=(),
    profiles=("debug",),
    services=(
        ServiceView(
            project=ProjectName("shop"),
            name=ServiceName("db"),
            phase=Phase.READY,
            reason="",
            will=Will.UP,
            image="postgres:16",
            containers=("shop-db-1",),
            ports=(BoundPort(5432, "tcp", "0.0.0.0", 5433),),
            health=Health.HEALTHY,
            restarts=1,
            since_s=12.5,
        ),
    ),
    problem="",
)

Answering = Callable[[LeaseRequest, Progress], Awaitable[Lease | StillAlive]]
Resolving = Callable[[Tool | str, Progress, bool], Awaitable[Image]]


async def at_once(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
    """A warm container is there."""
    if request.command == b"broken":
        raise RuntimeError("a bug")
    return LEASE if request.late is None else StillAlive()


async def there(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
    """The image is there."""
    return IMAGE


@dataclass
class Rooms:
    """All the ports that the edge needs, in one: what it was asked, and what it shall answer."""

    answering: Answering = at_once
    resolving: Resolving = there
    asked: list[LeaseRequest] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    """Tools that were."""
    runs: list[Run] = field(default_factory=lambda: [replace(RUN, id=RunId(8), state=RunState.FINISHED), RUN])
    views: list[ContainerView] = field(default_factory=lambda: [VIEW])
    volumes: list[VolumeView] = field(default_factory=lambda: [CACHE])
    builds: list[BuildView] = field(default_factory=lambda: [BUILD, FAILED, OLDER])
    build_log: list[bytes] = field(default_factory=lambda: [b"step 1\n", b"step 2: \xff\n"])
    log_closed: asyncio.Event = field(default_factory=asyncio.Event)
    freed: Freed = Freed(3, 120 << 20)
    pushed: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Which tools where to, with which labels."""
    locked: list[Sequence[str] | None] = field(default_factory=list)
    """What was to be upgraded, each time that tools were locked."""
    compared: list[Compared] = field(
        default_factory=lambda: [
            Compared("jq", "jq:1", False, Standing.OUTDATED, "sha256:1", "sha256:2"),
            Compared("yq", "alpine", True, Standing.UNKNOWN, "sha256:3", reason="down"),
        ]
    )
    projects: list[ProjectView] = field(default_factory=lambda: [PROJECT])
    ups: list[tuple[Source, tuple[str, ...], bool, bool, bool]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=lambda: [SNAPSHOT])
    changes: list[tuple[str, str, tuple[str, ...], object]] = field(default_factory=list)
    signals: list[tuple[int, int, bool]] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    agent: str = ""
    """The socket that stands for a program in a container."""
    engine_status: EngineStatus = EngineStatus(EngineState.UP, "/var/run/docker.sock", "20.10", None)
    down: EngineDown | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Made:
    """A front, and what stands behind it."""

    hub: Hub
    catalogue: Catalogue
    shims: Path
    logs: Logs
    front: HttpFront
    database: Database


@dataclass
class FakeRuns:
    """The port `Runs`."""

    rooms: Rooms

    async def lease(self, request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
        self.rooms.asked.append(request)
        try:
            return await self.rooms.answering(request, progress)
        except asyncio.CancelledError:
            self.rooms.cancelled.set()
            raise

    async def connect(self, run: RunId, inner: asyncio.Protocol) -> None:
        if self.get(run).state is not RunState.LEASED:
            raise Conflict(f"run {run} is not leased")
        await asyncio.get_running_loop().create_unix_connection(lambda: inner, self.rooms.agent)

    def all(self) -> list[Run]:
        return self.rooms.runs

    def get(self, run: RunId) -> Run:
        for each in self.rooms.runs:
            if each.id == run:
                return each
        raise NotFound(f"there is no run {run}")

    async def signal(self, run: RunId, number: int, *, group: bool) -> None:
        if self.get(run).state is RunState.FINISHED:
            raise Conflict(f"run {run} has ended")
        self.rooms.signals.append((run, number, group))


@dataclass
class FakeContainers:
    """The port `Containers`."""

    rooms: Rooms

    def all(self) -> list[ContainerView]:
        return self.rooms.views

    async def drop(self, container: ContainerId) -> None:
        for each in self.rooms.views:
            if each.id == container:
                self.rooms.views.remove(each)
                return
        raise NotFound("there is no such container")

    async def drop_all(self, tool: str | None) -> int:
        if self.rooms.down is not None:
            raise self.rooms.down
        drop = [each for each in self.rooms.views if tool is None or tool in each.tools]
        self.rooms.views = [each for each in self.rooms.views if each not in drop]
        return len(drop)


@dataclass
class FakeVolumes:
    """The port `Volumes`."""

    rooms: Rooms

    async def all(self, kind: VolumeKind) -> list[VolumeView]:
        return list(self.rooms.volumes)

    async def remove(self, kind: VolumeKind, tool: str, path: str | None) -> list[VolumeView]:
        found = [each for each in await self.all(kind) if each.use.tool == tool and path in (None, each.use.path)]
        self.rooms.volumes = [each for each in self.rooms.volumes if each not in found]
        return found


@dataclass
class FakeBuilds:
    """The port `Builds`."""

    rooms: Rooms

    async def all(self, tool: str | None) -> list[BuildView]:
        return [each for each in self.rooms.builds if tool in (None, each.tool)]

    async def get(self, build: BuildId) -> BuildView:
        for each in self.rooms.builds:
            if each.id == build:
                return each
        raise NotFound(f"there is no build {build}")

    async def log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        await self.get(build)
        return self._bits()

    async def rollback(self, tool: str, build: BuildId | None) -> BuildView:
        good = [each for each in await self.all(tool) if each.result is Result.GOOD]
        if not good:
            raise UnknownTool(f"there is no tool {tool}")
        found = good[-1] if build is None else await self.get(build)
        if found not in good:
            raise Conflict(f"build {found.id} is not {tool}'s")
        self.rooms.builds = [
            replace(each, current=each is found, pinned=each is found) if each in good else each
            for each in self.rooms.builds
        ]
        return await self.get(found.id)

    async def unpin(self, tool: str) -> None:
        self.rooms.builds = [replace(each, pinned=False) for each in self.rooms.builds]

    async def prune(self) -> Freed:
        if self.rooms.down is not None:
            raise self.rooms.down
        return self.rooms.freed

    async def _bits(self) -> AsyncGenerator[bytes, None]:
        try:
            for each in self.rooms.build_log:
                yield each
        finally:
            self.rooms.log_closed.set()


@dataclass
class FakeUpgrades:
    """The port `Upgrades`."""

    rooms: Rooms

    async def outdated(self, names: Sequence[str] = ()) -> list[Compared]:
        if unknown := set(names) - {each.tool for each in self.rooms.compared}:
            raise UnknownTool(f"there is no tool {unknown.pop()}")
        return [each for each in self.rooms.compared if not names or each.tool in names]

    async def upgrade(self, names: Sequence[str], progress: Progress, consent: Consent) -> list[Upgraded]:
        found = await self.outdated(names)
        progress.progress("pulling")
        progress.note("pulled")
        return [
            Upgraded(each.tool, (each.image,) if not each.reason else (), each.reason)
            for each in found
            if each.standing in (Standing.OUTDATED, Standing.UNKNOWN)
        ]


@dataclass
class FakePushes:
    """The port `Pushes`."""

    rooms: Rooms

    async def push(self, name: str, to: str, wanted: Mapping[str, str], progress: Progress) -> Pushed:
        if name != "jq":
            raise UnknownTool(f"there is no tool {name}")
        progress.note("pushed")
        self.rooms.pushed.append((name, to, dict(wanted)))
        return Pushed(to, "sha256:1")


@dataclass
class FakeLocking:
    """The port `Locking`."""

    rooms: Rooms

    async def lock(self, _project: Path | None, upgrade: Sequence[str] | None, progress: Progress) -> list[Complaint]:
        self.rooms.locked.append(upgrade)
        if upgrade and upgrade[0] not in ("jq", "yq"):
            raise UnknownTool(f"there is no tool {upgrade[0]}")
        progress.note("pulled")
        return []

    async def check(self, _project: Path | None, _progress: Progress) -> list[Complaint]:
        return [Complaint("jq", "is not locked")]


@dataclass
class FakeImages:
    """The port `Images`."""

    rooms: Rooms

    async def resolve(self, source: Tool | str, progress: Progress, *, rebuild: bool = False) -> Image:
        try:
            return await self.rooms.resolving(source, progress, rebuild)
        except asyncio.CancelledError:
            self.rooms.cancelled.set()
            raise

    async def removed(self, name: str) -> None:
        self.rooms.removed.append(name)


@dataclass
class FakeStatus:
    """The port `Status`."""

    rooms: Rooms

    def ready(self) -> bool:
        return True

    def engine(self) -> EngineStatus:
        return self.rooms.engine_status

    def failed_builds(self) -> dict[str, str]:
        return {"lint": "lint: its new build failed"}

    def unwatched(self) -> list[Unwatched]:
        return [Unwatched("too many files", "raise the limit")]

    def ladder(self) -> tuple[Step, ...]:
        return ladder.root((1, 22)), ladder.grants(bind=False, portable=False), ladder.reach("")


@dataclass
class FakeServices:
    """The port `Services`."""

    rooms: Rooms

    async def all(self) -> list[ProjectView]:
        return self.rooms.projects

    async def find(self, name: str | None, cwd: str | None) -> ProjectView:
        for each in self.rooms.projects:
            if each.name == name or (name is None and cwd is not None and f"{cwd}/".startswith(f"{each.directory}/")):
                return each
        raise UnknownProject(f"there is no project {name!r}", "begin one: dx up")

    async def up(
        self, source: Source, services: Sequence[str], progress: Progress, *, wait: bool, recreate: bool, build: bool
    ) -> ProjectView:
        self.rooms.ups.append((source, tuple(services), wait, recreate, build))
        if source.directory == Path("/bug"):
            raise RuntimeError("a bug")
        progress.progress("Container shop-db-1 created")
        if "fallen" in services:
            progress.note("fallen | last words")
            raise ServiceFailed("fallen: ended with status 3", "see: dx logs fallen")
        return self.rooms.projects[0]

    async def start(self, name: str, services: Sequence[str], progress: Progress, *, wait: bool) -> ProjectView:
        return await self._changed("start", name, services, wait)

    async def stop(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        return await self._changed("stop", name, services, None)

    async def restart(
        self, name: str, source: Source, services: Sequence[str], progress: Progress, *, wait: bool
    ) -> ProjectView:
        return await self._changed("restart", name, services, dict(source.environ))

    async def wait(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        return await self._changed("wait", name, services, None)

    async def down(self, name: str, progress: Progress, *, volumes: bool) -> None:
        await self._changed("down", name, (), volumes)

    async def forget(self, name: str) -> None:
        self.rooms.projects.remove(await self.find(name, None))

    async def variables(self, name: str) -> dict[str, str]:
        await self.find(name, None)
        return {"DB_PORT": "5433"}

    async def on_terminal(self, name: str, service: str) -> tuple[list[str], dict[str, str]]:
        await self.find(name, None)
        if service != "db":
            raise UnknownService(f"there is no service {service!r}", "did you mean db?")
        return ["/bin/docker-compose", "--project-name", name], {"DOCKER_HOST": "unix:///e.sock"}

    async def _changed(self, verb: str, name: str, services: Sequence[str], more: object) -> ProjectView:
        self.rooms.changes.append((verb, name, tuple(services), more))
        return await self.find(name, None)


@dataclass
class FakeData:
    """The port `Data`."""

    rooms: Rooms

    async def all(self, project: str | None) -> list[Snapshot]:
        return [each for each in self.rooms.snapshots if project in (None, each.project)]

    async def save(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        progress.progress("stopping db")
        if "fallen" in services:
            raise ServiceFailed("fallen: ended with status 3", "see: dx logs fallen")
        self.rooms.changes.append(("save", project, tuple(services), name))
        made = replace(SNAPSHOT, project=project, name=name)
        self.rooms.snapshots.insert(0, made)
        return made

    async def restore(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        self.rooms.changes.append(("restore", project, tuple(services), name))
        return self._get(project, name)

    async def reset(self, project: str, services: Sequence[str], progress: Progress) -> ProjectView:
        self.rooms.changes.append(("reset", project, tuple(services), None))
        progress.note("emptied shop_data")
        return await FakeServices(self.rooms).find(project, None)

    async def remove(self, project: str, name: str) -> Snapshot:
        found = self._get(project, name)
        self.rooms.snapshots.remove(found)
        return found

    def _get(self, project: str, name: str) -> Snapshot:
        for each in self.rooms.snapshots:
            if (each.project, each.name) == (project, name):
                return each
        raise NotFound(f"{project} has no snapshot {name!r}", "see: dx snapshot ls")


async def _logged(logs: Logs, directory: str, project: str, names: Sequence[str]) -> list[ServiceId]:
    if directory:
        raise NotFound("no project is known by its directory", "give its name: --project NAME")
    return await logs.find(project, names)


@dataclass
class FakeSharing:
    """The port `Sharing`."""

    rooms: Rooms

    async def all(self) -> list[Consumer]:
        return [Consumer("site", "db", "shop", "db", ("db",))]

    async def use(self, consumer: str, alias: str, *, of: str, service: str, progress: Progress) -> Mapping[str, str]:
        progress.progress(f"waiting for {service}")
        if service != "db":
            raise UnknownService(f"the project {of} has no service {service!r}", "did you mean db?")
        self.rooms.changes.append(("use", consumer, (alias, of, service), None))
        return {"HOST": alias, "PORT": "5432"}

    async def leave(self, consumer: str, alias: str) -> None:
        self.rooms.changes.append(("leave", consumer, (alias,), None))


def make_app(rooms: Rooms, directory: Path, limits: Limits = DEFAULT_LIMITS) -> Made:
    """The real application over these rooms, with its definitions and shims in the directory."""
    hub, catalogue = Hub(), Catalogue(directory / "config" / "dx.toml")
    database = Database(directory / "history.db", MIGRATIONS)
    projects = Projects(consents=Consents(database), own=catalogue.file, uid=os.getuid())
    shims, launcher = directory / "shims", directory / "bin" / "dx"
    # The room itself, which needs no engine to be read.
    logs = Logs(engine=Engine("unix:///nowhere"), directory=directory / "logs", max_bytes=1 << 20)
    app = create_app(
        version="1.2.3",
        tools=Tools(user=catalogue, projects=projects),
        projects=projects,
        images=FakeImages(rooms),
        runs=FakeRuns(rooms),
        containers=FakeContainers(rooms),
        volumes=FakeVolumes(rooms),
        builds=FakeBuilds(rooms),
        upgrades=FakeUpgrades(rooms),
        pushes=FakePushes(rooms),
        locking=FakeLocking(rooms),
        logs=logs,
        log_services=partial(_logged, logs),
        services=FakeServices(rooms),
        sharing=FakeSharing(rooms),
        data=FakeData(rooms),
        hub=hub,
        status=FakeStatus(rooms),
        stop=rooms.stops.append,
        shims=lambda: reconcile(shims, catalogue.commands(), launcher),
        limits=limits,
    )
    return Made(hub, catalogue, shims, logs, HttpFront(app, limits=limits), database)
