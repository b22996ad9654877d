"""Leases, and what becomes of them: the owner of the table of runs.

A lease is worked out here, from definition, image, caller and file system; its finished spec goes to the agent over the
control link before the launcher is told, so that the launcher carries nothing but a token. What agents report ends up
in one canonical log line per run. History is a bounded part of memory.
"""

import asyncio
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from dx import protocol
from dxd.engine.model import Image
from dxd.errors import AgentFailed, Conflict, NotFound, NotHere, UnknownTool
from dxd.images.images import Images
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress
from dxd.runs import command, devices, environment, explain, grants, session
from dxd.runs.model import Elsewhere, Grant, Lease, LeaseRequest, Run, RunId, RunState, StillAlive
from dxd.runs.neighbours import Neighbours
from dxd.runs.options import services, with_options
from dxd.runs.record import Record
from dxd.runs.sharing import binds_of, key_of, unseen
from dxd.runs.spec import Spec
from dxd.telemetry import get_logger
from dxd.tools.model import Network, Root, Tool, ToolName
from dxd.trust.projects import Projects
from dxd.trust.tools import Tools
from dxd.warm.container import Warm, Watcher
from dxd.warm.link import Ended
from dxd.warm.model import Key, VolumeKind
from dxd.warm.pool import Pool
from dxd.warm.starter import OutOfReach
from dxd.warm.volumes import Volumes

LEASE_S = 60.0
"""How long a launcher may take to claim its lease; more than it waits for a busy agent."""
KEPT_RUNS = 1000
"""Runs that have ended and are still listed; about 0.5 MiB."""
MANY_ARGUMENTS = 256
"""From here on a thread looks at what they name; each takes about 3 µs."""
TRIES = 3
"""Containers tried for one lease, when one dies while it is worked out."""

log = get_logger("runs")


class Resolver(Protocol):
    """Knows the image that a tool's runs take."""

    async def resolve(self, tool: Tool, progress: Progress, /, *, caller: int) -> Image:
        """Of a run that this process asks for; built or pulled where it is missing."""


class Runs:
    """Gives out leases and follows the runs."""

    def __init__(
        self, *, tools: Tools, projects: Projects, images: Images, builds: Resolver, pool: Pool, hub: Hub, home: str,
        scratch_bytes: int, volumes: Volumes, private: Sequence[bytes], neighbours: Neighbours,
        force_bind: bool = False,
    ) -> None:  # fmt: skip
        self._tools = tools
        self._projects = projects
        self._images = images
        self._builds = builds
        self._pool = pool
        self._hub = hub
        self._home = os.fsencode(home)
        self._scratch_bytes = scratch_bytes
        self._volumes = volumes
        self._neighbours = neighbours
        self._force_bind = force_bind
        self._private = tuple(dict.fromkeys(path for each in private for path in (each, os.path.realpath(each))))
        self._live: dict[int, Record] = {}
        self._ended: OrderedDict[int, Record] = OrderedDict()
        self._unbounded: set[str] = set()
        """Tools whose scratch layer has no bound here, which was said."""
        self._next = int(time.time() * 1000)
        pool.watcher = Watcher(started=self._started, ended=self._has_ended, lost=self._lost)

    async def lease(self, request: LeaseRequest, progress: Progress) -> Lease | StillAlive | Elsewhere:
        """Work out a lease; see `api.ports.Runs`."""
        release: list[Callable[[], None]] = []
        try:
            return await self._lease(request, progress, release)
        finally:
            for each in release:  # nobody has taken it over
                each()

    async def _lease(
        self, request: LeaseRequest, progress: Progress, release: list[Callable[[], None]]
    ) -> Lease | StillAlive | Elsewhere:
        if request.late is not None and await self._vouch(request.late):
            return StillAlive()
        if request.bind is not None and (void := self._live.get(request.bind)) and void.state is RunState.LEASED:
            self._finish(void, RunState.LOST)
        tool, chosen = await self._find(request, progress)
        if request.options:
            tool = with_options(tool, request.options, request.cwd)
        network = await self._meet(request, tool, progress, release)
        image = await self._builds.resolve(tool, progress, caller=request.peer.pid)
        portable = self._pool.portable
        if portable and not request.framed:
            return Elsewhere()
        what = command.choose(
            command=chosen,
            entrypoint=tool.entrypoint if tool.entrypoint is not None else () if chosen else image.entrypoint,
            default=image.command,
            args=request.args,
            name=tool.word,
        )
        home = _home_of(request.env) or self._home
        plan = await self._plan(request, tool, home)
        for line in explain.lines(plan, request.options, request.env):
            progress.note(line)
        wanted = (*session.variables(tool.share), *tool.env)
        env = environment.compose(image.env, request.env, wanted, cwd=plan.pwd, home=home)
        grants.check_caches(tool.caches, plan.grants)
        devices.check(tool.devices)
        key = key_of(image, tool, network)
        if portable or self._force_bind or request.bind is not None:
            key = replace(key, binds=binds_of(plan.grants))
        if not self._pool.has(key):
            await self._prepare(key, tool, progress)
        spec = Spec(
            peer=request.peer,
            what=what,
            env=env,
            plan=plan,
            home=home,
            scratch_bytes=self._scratch_bytes if tool.scratch_bytes is None else tool.scratch_bytes,
            ulimits=tool.ulimits,
            key=key,
            portable=portable,
        )
        for _ in range(TRIES):
            try:
                warm = await self._pool.take(key, image=tool.image or f"{tool.name} (build)", tool=tool.name)
            except OutOfReach:
                return await self.lease(request, progress)
            self._tell(warm, key, tool, progress)
            assert warm.link is not None
            run = self._enter(warm, tool.name, os.fsdecode(what.argv[0]), request.peer.pid)
            token = secrets.token_bytes(protocol.TOKEN_BYTES)
            try:
                await warm.link.send(spec.frame(run.id, token, run.expires))
            except ConnectionError:
                self._forget(run)
                continue
            if release:
                run.release = release.pop()
            shown = tuple(Grant(each.source, each.readonly, each.directory) for each in plan.grants if not key.binds)
            return Lease(RunId(run.id), token, warm.socket, shown, framed=portable)
        raise AgentFailed("the container ends as soon as it is ready", "see: dx daemon logs")

    def all(self) -> list[Run]:
        """What is known, the latest first."""
        records = [*self._ended.values(), *self._live.values()]
        return [each.view() for each in sorted(records, key=lambda each: each.id, reverse=True)]

    def get(self, run: RunId) -> Run:
        """One of them; raises `NotFound`."""
        return self._record(run).view()

    async def signal(self, run: RunId, number: int, *, group: bool) -> None:
        """Send a signal to a run; raises `NotFound`, and `Conflict` where it has ended or not begun."""
        found = self._record(run)
        if found.state is not RunState.RUNNING or found.warm.link is None:
            raise Conflict(f"run {run} is {found.state.value}, not running")
        frame = protocol.frame(protocol.RUN_SIGNAL, protocol.RUN_SIGNAL_BODY.pack(run, number, int(group)))
        try:
            await found.warm.link.send(frame)
        except ConnectionError:
            raise Conflict(f"the container of run {run} is gone") from None

    async def connect(self, run: RunId, inner: asyncio.Protocol) -> None:
        """The run link of a leased run through the engine, whose bytes `inner` gets; raises `NotFound`, and `Conflict`
        where it is not waiting for one.
        """
        found = self._record(run)
        if found.state is not RunState.LEASED or not self._pool.portable:
            raise Conflict(f"run {run} is {found.state.value}, and takes no launcher by way of the daemon")
        try:
            await self._pool.connect(found.warm, inner)
        except NotFound:
            # Gone, or paused: where its agent does not answer it is removed, so that the next try has another one.
            await self._pool.is_alive(found.warm)
            raise

    async def expire(self) -> None:
        """Give up leases that nobody claimed; an eternal job."""
        while True:
            await asyncio.sleep(LEASE_S / 10)
            now = time.monotonic()
            for each in [each for each in self._live.values() if each.state is RunState.LEASED and now > each.expires]:
                self._finish(each, RunState.LOST)

    async def _meet(
        self, request: LeaseRequest, tool: Tool, progress: Progress, release: list[Callable[[], None]]
    ) -> str:
        """Have the services that the tool needs be ready; the engine's name of the network that its run sees.

        What lets them sleep again is added to `release`.
        """
        cwd = os.fsdecode(request.cwd)
        if tool.needs:
            made = services(request.options)
            environ = environment.texts(request.env)
            release.append(await self._neighbours.wake(cwd, tool.needs, progress, made=made, environ=environ))
        if tool.network is Network.PROJECT:
            network = await self._neighbours.network(cwd, tool.network_name)
            if not tool.needs:
                release.append(self._neighbours.on(network))
            return network
        return tool.network.value

    def _tell(self, warm: Warm, key: Key, tool: Tool, progress: Progress) -> None:
        """What a run in this container has not."""
        if warm.claimed and tool.scratch_bytes is not None and tool.name not in self._unbounded:
            self._unbounded.add(tool.name)
            progress.note(f"the scratch_size of {tool.name} bounds nothing on this machine; see: dx doctor")
        for line in explain.unseen(tool.name, unseen(warm.key.binds, key.binds)):
            progress.note(line)

    async def _prepare(self, key: Key, tool: Tool, progress: Progress) -> None:
        """Before there is a container of the key; raises `Conflict` where the tool's kept root is in use."""
        for line in explain.elsewhere(self._pool.remote, key):
            progress.note(line)
        if tool.root is Root.KEPT:
            await self._keep(key, progress)

    async def _keep(self, key: Key, progress: Progress) -> None:
        """Have the tool's kept root free for a container of the key; raises `Conflict` where another's runs use it."""
        use = next(each for each in key.volumes if each.kind is VolumeKind.ROOT)
        await self._pool.release(use)
        kept = [each.use for each in await self._volumes.all(VolumeKind.ROOT) if each.use.tool == use.tool]
        if kept and use not in kept:
            progress.note(
                f"the image of {use.tool} is another one, so its kept root begins anew; "
                f"with the image before, what was kept is there again (dx reset {use.tool} removes it)"
            )

    async def _find(self, request: LeaseRequest, progress: Progress) -> tuple[Tool, bytes | None]:
        """The tool, and the command where it is one that the tool offers by name."""
        name = os.fsdecode(request.command)
        try:
            tool = self._tools.named(name, request.cwd)
        except UnknownTool as error:
            if request.shim and (project := self._tools.elsewhere(name)):
                raise NotHere(f"{name} is a tool of {project} only, and there is no other {name} on PATH") from None
            if request.shim:
                raise UnknownTool(f"{name}: no tool offers this command any more", "run: dx reshim") from None
            # A bare word is a tool misspelt far more often than an image to pull.
            if not any(mark in name for mark in "/:@") and not await self._images.is_local(name):
                raise UnknownTool(error.message, error.hint or f"for an image: dx run {name}:latest") from None
        else:
            return tool, request.command if name in tool.commands else None
        finally:
            for line in self._projects.passed_over():
                progress.note(line)
        return Tool(ToolName(name), image=name), None

    async def _vouch(self, late: RunId) -> bool:
        """Whether the agent of a lease that was given out still answers; if not, the lease is void."""
        found = self._live.get(late)
        if found is None:
            return late in self._ended and self._ended[late].ended is not None
        if await self._pool.is_alive(found.warm):
            return True
        self._finish(found, RunState.LOST)
        return False

    async def _plan(self, request: LeaseRequest, tool: Tool, home: bytes) -> grants.Plan:
        place = grants.Place(request.cwd, home, self._private, _value(request.env, b"PWD"))
        work = partial(
            grants.plan, place, mounts=tool.mounts, args=request.args, paths=tool.paths, caches=tool.caches,
            git=tool.git,
        )  # fmt: skip
        # So many would hold up every other run.
        plan = await asyncio.to_thread(work) if len(request.args) > MANY_ARGUMENTS else work()
        if not tool.share:
            return plan
        return replace(plan, grants=tuple(session.with_session(plan.grants, tool.share, request.env, home=home)))

    def _enter(self, warm: Warm, tool: str, name: str, client_pid: int) -> Record:
        self._next += 1
        now = datetime.now(UTC)
        run = Record(self._next, tool, name, warm, client_pid, now, time.monotonic() + LEASE_S)
        self._live[run.id] = run
        self._pool.begin(warm, run.id)
        return run

    def _record(self, run: RunId) -> Record:
        found = self._live.get(run) or self._ended.get(run)
        if found is None:
            raise NotFound(f"no run {run}", "see: dx ps")
        return found

    def _started(self, warm: Warm, number: int, began: float) -> None:
        run = self._live.get(number) or self._inherited(warm, number)
        run.state, run.began = RunState.RUNNING, began
        self._hub.publish("run.started", id=number, tool=run.tool, command=run.command, container=warm.id)

    def _inherited(self, warm: Warm, number: int) -> Record:
        """A run that the daemon before this one leased; what it was called is not known any more."""
        run = Record(number, ", ".join(sorted(warm.tools)) or warm.image, "", warm, 0, datetime.now(UTC), 0.0)
        self._live[number] = run
        run.release = self._neighbours.on(warm.key.network)
        return run

    def _has_ended(self, warm: Warm, ended: Ended) -> None:
        if ended.run in self._ended:  # given up, and told of all the same
            return
        run = self._live.get(ended.run) or self._inherited(warm, ended.run)
        run.ended = ended
        self._finish(run, RunState.FINISHED)

    def _lost(self, warm: Warm, number: int) -> None:
        run = self._live.get(number)
        # A lease may still be claimed where only the link was lost; where the container is gone it cannot.
        if run is not None and (run.state is RunState.RUNNING or warm.link is None):
            self._finish(run, RunState.LOST)

    def _finish(self, run: Record, state: RunState) -> None:
        run.state = state
        self._forget(run)
        self._ended[run.id] = run
        if len(self._ended) > KEPT_RUNS:
            self._ended.popitem(last=False)
        fields: dict[str, object] = {"id": run.id, "tool": run.tool, "command": run.command, "state": state.value}
        if (ended := run.ended) is not None:
            fields |= {"exit_code": ended.exit_code, "signal": ended.signal, "duration_s": round(ended.duration_s, 6)}
            fields |= {"user_s": ended.user_s, "system_s": ended.system_s, "rss": ended.max_rss_bytes}
        log.info("run", container=run.warm.id[:12], **fields)
        self._hub.publish("run.finished", container=run.warm.id, **fields)

    def _forget(self, run: Record) -> None:
        self._live.pop(run.id, None)
        self._pool.end(run.warm, run.id)
        run.release()


def _home_of(env: Sequence[bytes]) -> bytes:
    home = _value(env, b"HOME")
    return os.path.normpath(home) if home.startswith(b"/") else b""


def _value(env: Sequence[bytes], name: bytes) -> bytes:
    """The first value of a variable, as getenv(3) has it; empty where it is not set."""
    start = name + b"="
    return next((entry[len(start) :] for entry in env if entry.startswith(start)), b"")
