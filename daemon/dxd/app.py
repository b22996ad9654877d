"""The one place that wires rooms together: every part is made here, and gets what it needs by keyword."""

import asyncio
import grp
import hashlib
import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dx import __version__
from dx.places import Places
from dxd import settings as settings_file
from dxd.api.front import HttpFront, create_app
from dxd.compose.compose import Compose
from dxd.compose.model import Project
from dxd.develop.develop import Develop
from dxd.engine.address import find_address
from dxd.engine.docker import Engine
from dxd.engine.networks import Networks
from dxd.engine.storage import Storage
from dxd.engine.supervised import Supervised
from dxd.engine_watch import EngineWatch
from dxd.errors import AgentFailed, BadDefinition
from dxd.images.images import Images
from dxd.kit.hub import Hub
from dxd.lifecycle.listener import Listener
from dxd.lifecycle.notify import Notifier
from dxd.lifecycle.stages import Stop, serve
from dxd.logs.logs import Logs
from dxd.ports.ports import Ports
from dxd.proxy.proxy import Proxy
from dxd.rebuild.bases import Bases
from dxd.rebuild.builder import Builder
from dxd.rebuild.history import History
from dxd.rebuild.leftovers import Leftovers
from dxd.rebuild.locking import Locking
from dxd.rebuild.moved import Moved
from dxd.rebuild.names import Names
from dxd.rebuild.pins import Pins
from dxd.rebuild.pulls import Pulls
from dxd.rebuild.pushes import Pushes
from dxd.rebuild.rebuild import Rebuilds
from dxd.rebuild.serving import Serving
from dxd.rebuild.states import States
from dxd.rebuild.trial import Trial
from dxd.rebuild.upgrades import Upgrades
from dxd.runs.runs import Runs
from dxd.services.data import Data
from dxd.services.listening import Doors
from dxd.services.naming import Naming
from dxd.services.neighbours import Neighbours
from dxd.services.networks import ProjectNetworks
from dxd.services.publishing import Publishing
from dxd.services.remains import Remains
from dxd.services.services import Services
from dxd.services.sharing import Sharing
from dxd.services.uses import Uses
from dxd.settings import Settings
from dxd.snapshots.seeds import Seeds
from dxd.snapshots.snapshots import Snapshots
from dxd.store.builds import Builds
from dxd.store.consents import Consents
from dxd.store.consumers import Consumers
from dxd.store.database import Database
from dxd.store.ports import PortRows
from dxd.store.projects import KnownProjects
from dxd.store.schema import MIGRATIONS
from dxd.store.seeds import SeedRows
from dxd.store.service_images import ServiceImages
from dxd.telemetry import get_logger
from dxd.tools import shims
from dxd.tools.catalogue import Catalogue
from dxd.tools.lock import NAME as LOCK_NAME
from dxd.tools.lock import Locks
from dxd.trust.projects import Projects
from dxd.trust.tools import Tools
from dxd.warm import ladder
from dxd.warm.ladder import Rung
from dxd.warm.model import Identity
from dxd.warm.pool import Pool
from dxd.warm.starter import Starter
from dxd.warm.volumes import Volumes

AGENT_DIR = "DX_AGENT_DIR"
"""A directory with another agent in it, for tests with a sanitizer's build."""

log = get_logger("app")


def main(places: Places, *, listener: Listener, notifier: Notifier) -> int:
    """Be the daemon until it is asked to stop; returns the exit status."""
    try:
        settings = settings_file.load(places.tools_file)
    except BadDefinition as error:
        # Running tools matter more than a setting: the file is shown as broken until it is mended.
        log.warning("settings are not used", reason=error.line())
        settings = Settings()
    return asyncio.run(_serve(places, settings, listener, notifier))


async def _serve(places: Places, settings: Settings, listener: Listener, notifier: Notifier) -> int:
    home = Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    agent_dir = find_agent(os.environ)
    force = ladder.forced(os.environ.get(ladder.FORCE, ""))
    hub = Hub()
    scraps = places.runtime_dir / "builds"
    shutil.rmtree(scraps, ignore_errors=True)  # of a daemon that was killed
    engine = Engine(partial(find_address, os.environ, home), deadline_s=settings.engine_deadline_s, directory=scraps)
    images = Images(engine)
    starter = Starter(
        engine=engine,
        runtime_dir=places.runtime_dir,
        agent_dir=agent_dir,
        agent_version=hashlib.sha256((agent_dir / "agent").read_bytes()).hexdigest()[:12],
        instance=hashlib.sha256(f"{os.getuid()}:{places.runtime_dir}".encode()).hexdigest()[:16],
        identity=identity(home),
        force=force,
    )
    pool = Pool(engine=engine, starter=starter, hub=hub, idle_s=settings.idle_s, max_warm=settings.max_warm)
    volumes = Volumes(engine=engine, release=pool.release, instance=starter.instance)
    private = [os.fsencode(each) for each in (places.runtime_dir, places.state_dir, places.config_dir, places.data_dir)]
    if (host := os.environ.get("DOCKER_HOST", "")).startswith("unix://"):  # the usual sockets are below /run
        private.append(os.fsencode(host.removeprefix("unix://")))
    locks = Locks(places.tools_file.with_name(LOCK_NAME))
    database = Database(places.state_dir / "history.db", MIGRATIONS)
    projects = Projects(consents=Consents(database), own=places.tools_file, uid=os.getuid())
    tools = Tools(user=Catalogue(places.tools_file), projects=projects)
    builds = Builds(database, places.state_dir / "builds")
    serving = Serving(engine=engine, images=images, hub=hub, names=Names(starter.instance), replace=pool.replace)
    bases = Bases(images=images, tools=tools, names=serving.names)
    pins = Pins(locks=locks, tools=tools, images=images)
    pulls = Pulls(engine=engine, images=images, builds=builds, names=serving.names, pins=pins, retire=pool.replace)
    moved = Moved(bases=bases, pins=pins)
    states = States(tools=tools)
    leftovers = Leftovers(
        engine=engine, builds=builds, names=serving.names, replace=pool.replace, building=states.building
    )
    builder = Builder(
        engine=engine,
        images=images,
        builds=builds,
        hub=hub,
        names=serving.names,
        pins=pins,
        moved=moved,
        trial=Trial(pool=pool, launcher=launcher),
        leftovers=leftovers,
        limit_s=settings.build_limit_s,
    )
    rebuilds = Rebuilds(
        images=images,
        tools=tools,
        builds=builds,
        serving=serving,
        bases=bases,
        pins=pins,
        moved=moved,
        pulls=pulls,
        states=states,
        builder=builder,
        leftovers=leftovers,
    )
    pushes = Pushes(
        engine=engine,
        tools=tools,
        resolve=rebuilds.resolve,
        instance=starter.instance,
        directory=places.state_dir / "pushes",
    )
    history = History(
        engine=engine,
        builds=builds,
        tools=tools,
        serving=serving,
        pulls=pulls,
        unpinned=rebuilds.changed,
        rest=pool.rest,
        sweep=pushes.sweep,
        locks=locks,
        keep=settings.keep_builds,
        keep_days=settings.keep_days,
    )
    upgrades = Upgrades(
        engine=engine,
        images=images,
        tools=tools,
        bases=bases,
        follow=rebuilds.follow,
        pulls=pulls,
        retire=pool.replace,
        locks=locks,
        redefined=lambda: shims.reconcile(places.shims_dir, tools.commands(), launcher()),
    )
    locking = Locking(locks=locks, images=images, tools=tools, bases=bases, rebuilds=rebuilds, retire=pool.replace)
    containers = Supervised(engine)
    compose = Compose(
        engine.address,
        overrides=places.state_dir / "overrides",
        variables={"DX_RUNTIME_DIR": str(places.runtime_dir)},
    )

    def acting(project: str) -> bool:
        return services.acting(project)  # which has the networks

    networks = ProjectNetworks(
        networks=Networks(engine),
        containers=containers,
        occupied=pool.occupied,
        leave=pool.vacate,
        retire=pool.leave,
        acting=acting,
    )

    async def part(project: str) -> None:
        await sharing.end(project)  # which is made of services

    async def make(project: Project) -> None:
        await develop.note(project)  # which follows services

    logs = Logs(engine=engine, directory=places.state_dir / "logs", max_bytes=settings.log_bytes)
    snapshots = Snapshots(
        engine=engine,
        agent=agent_dir / "agent",
        agent_version=starter.agent_version,
        owner=starter.instance,
    )
    seeds = Seeds(snapshots=snapshots, rows=SeedRows(database))
    proxy = Proxy(places.runtime_dir)
    doors = Doors(proxy=proxy, names_port=settings.names_port)
    uses = Uses()
    services = Services(
        compose=compose,
        containers=containers,
        store=KnownProjects(database),
        hub=hub,
        networks=networks,
        remains=Remains(storage=Storage(engine), networks=Networks(engine)),
        naming=Naming(containers=containers, made_for=networks.project_at),
        publishing=Publishing(
            ports=Ports(engine=engine, rows=PortRows(database)),
            containers=containers,
            direct=Networks(engine).direct,
            listening=doors.of,
        ),
        parting=part,
        making=make,
        logs=logs,
        before=snapshots.sweep,
        seeds=seeds,
        doors=doors,
        uses=uses,
    )
    runs = Runs(
        tools=tools,
        projects=projects,
        images=images,
        builds=rebuilds,
        pool=pool,
        hub=hub,
        home=str(home),
        scratch_bytes=settings.scratch_bytes,
        volumes=volumes,
        private=private,
        neighbours=Neighbours(services=services, networks=networks, uses=uses),
        force_bind=Rung.BIND in force,
    )
    sharing = Sharing(
        services=services,
        store=Consumers(database),
        networks=Networks(engine),
        containers=containers,
        uses=uses,
    )
    develop = Develop(
        services=services, compose=compose, containers=containers, images=ServiceImages(database), hub=hub
    )
    watch = EngineWatch(
        engine=engine,
        images=images,
        pool=pool,
        rebuilds=rebuilds,
        services=services,
        networks=networks,
        sharing=sharing,
        develop=develop,
        force=force,
    )
    stop = Stop()
    app = create_app(
        version=__version__,
        tools=tools,
        projects=projects,
        images=rebuilds,
        runs=runs,
        containers=pool,
        volumes=volumes,
        builds=history,
        upgrades=upgrades,
        locking=locking,
        pushes=pushes,
        logs=logs,
        log_services=services.logged,
        services=services,
        sharing=sharing,
        data=Data(services=services, snapshots=snapshots, seeds=seeds),
        hub=hub,
        status=watch,
        stop=stop.ask,
        shims=lambda: shims.reconcile(places.shims_dir, tools.commands(), launcher()),
    )
    try:
        await projects.start()
        return await serve(
            listener=listener,
            front=HttpFront(app),
            stop=stop,
            notifier=notifier,
            jobs={
                "engine events": watch.follow,
                "warm containers": pool.keep,
                "leases": runs.expire,
                "builds": rebuilds.keep,
                "old builds": history.keep,
                "services": services.keep,
                "doors of services": proxy.run,
                "files of services": develop.keep,
            },
            drain_s=settings.drain_s,
        )
    finally:
        await sharing.close()
        await develop.close()
        await services.close()
        await proxy.close()
        await logs.close()
        await networks.close()
        await rebuilds.close()
        await builder.close()
        await pool.close()
        await images.close()
        await engine.close()
        await database.close()


def find_agent(environ: Mapping[str, str]) -> Path:
    """The directory of the agent for this machine; raises `AgentFailed` where it is not installed."""
    directory = Path(environ.get(AGENT_DIR) or Path(__file__).parent / "agent-bin" / os.uname().machine)
    if not os.access(directory / "agent", os.X_OK):
        raise AgentFailed(f"there is no agent for {os.uname().machine} in {directory}", "install dx again")
    return directory


def launcher() -> Path:
    """The `dx` that was installed with this daemon."""
    beside = Path(sys.argv[0]).absolute().parent / "dx"
    return beside if beside.exists() else Path(sys.executable).absolute().parent / "dx"


def identity(home: Path) -> Identity:
    """The user of this daemon, for the containers' passwd and group files."""
    uid, gid = os.getuid(), os.getgid()
    try:
        entry = pwd.getpwuid(uid)
        name, comment = entry.pw_name, entry.pw_gecos.replace(":", " ")
    except KeyError:
        name, comment = f"user{uid}", ""
    lines = []
    for group in sorted({gid, *os.getgroups()}):
        try:
            lines.append(f"{grp.getgrgid(group).gr_name}:x:{group}:")
        except KeyError:
            lines.append(f"group{group}:x:{group}:")
    passwd = f"{name}:x:{uid}:{gid}:{comment}:{home}:/bin/sh"
    return Identity(uid, gid, str(home) if str(home) != "/" else "", passwd, tuple(lines), tuple(os.getgroups()))
