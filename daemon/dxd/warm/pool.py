"""The warm containers of this daemon: the one owner of their state.

`take` gives a ready one for a key and starts it where there is none; those who ask for the same key wait for one start.
`adopt` makes the pool agree with the engine; `keep` removes what the policy says. Containers with another
instance's label are never touched. Rooms above learn of runs through the callbacks, never of containers.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from dxd.engine.docker import Engine
from dxd.engine.model import Container, ContainerId, ImageId
from dxd.errors import Conflict, DxError, EngineTrouble, NotFound, PortTaken
from dxd.kit.hub import Hub
from dxd.kit.tasks import Tasks
from dxd.telemetry import get_logger
from dxd.warm import ladder
from dxd.warm import starter as at
from dxd.warm.container import Warm, Watcher
from dxd.warm.link import Ended, Listener
from dxd.warm.model import ContainerView, Key, State, VolumeUse
from dxd.warm.offers import Offers
from dxd.warm.policy import plan
from dxd.warm.ports import clash
from dxd.warm.starter import Starter
from dxd.warm.volumes import INSTANCE_LABEL

PROBE_S = 2.0
"""How long an agent may take to answer before it counts as hung."""
KEEP_S = 5.0
"""How often idle containers are looked over."""
REST_S = 10.0
PORTS_FREE = "its ports are free again"

log = get_logger("warm")


class Pool:
    """Warm containers by key."""

    def __init__(self, *, engine: Engine, starter: Starter, hub: Hub, idle_s: float, max_warm: int) -> None:
        self._engine = engine
        self._starter = starter
        self._hub = hub
        self._idle_s = idle_s
        self._max_warm = max_warm
        self._warm: dict[str, Warm] = {}
        self._offers = Offers()
        self._leaving: set[Warm] = set()
        """No longer in the table, and not yet removed by the engine."""
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._settled = asyncio.Event()
        self._settled.set()
        self.watcher: Watcher | None = None
        """Set once by the room above, before anything starts."""

    def expect(self) -> None:
        """Containers may be there from before: until `settle`, whoever needs to know them waits."""
        self._settled.clear()

    def settle(self) -> None:
        """All that could be adopted is."""
        self._settled.set()

    async def take(self, key: Key, *, image: str, tool: str) -> Warm:
        """A container that is ready for a run of the key. Raises `AgentFailed`, `PortTaken`, `EngineTrouble`."""
        await self._settled.wait()
        while True:
            warm = self._offers.find(key)
            if warm is None and await self._make_way(key):
                continue
            if warm is None:
                self._retire_others(key, image)
                warm = self._begin(key, image, tool, claimed=self._offers.once)
                self._make_room()
            if warm.ready is not None and not warm.ready.done():
                try:
                    await asyncio.shield(warm.ready)
                except BaseException:
                    self._offers.give_back(warm)
                    raise
            if warm.link is not None and self._offers.takes(warm):
                warm.tools.add(tool)
                return warm

    async def prepare(self, key: Key, *, image: str, tool: str) -> None:
        """Have a container of the key be ready for runs to come; those of other images go on taking theirs.

        Raises `AgentFailed`, `EngineTrouble`.
        """
        await self._settled.wait()
        if self._offers.has(key):
            return
        warm = self._begin(key, image, tool, claimed=False)
        assert warm.ready is not None
        await asyncio.shield(warm.ready)

    async def discard(self, image: ImageId) -> None:
        """Remove the containers of an image that nobody is to run; those with runs go when these have ended.

        There are such where another tool's build turned out to be the same image.
        """
        found = [each for each in self._warm.values() if each.key.image == image]
        for each in found:
            if each.runs and each.state is State.READY:
                self._retire(each, "not good enough")
        await asyncio.gather(*(self._removed(each, "not good enough") for each in found if not each.runs))

    async def rest(self) -> None:
        """Wait until those that take no more runs and have none are removed."""
        going = [each for each in self._warm.values() if each.state is State.DRAINING and not each.runs]
        waits = [each.gone.wait() for each in (*going, *self._leaving)]
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                await asyncio.gather(*waits)

    def replace(self, image: ImageId) -> None:
        """Containers of the image take no more runs, and go when they have none."""
        for each in [each for each in self._warm.values() if each.key.image == image]:
            if each.state is State.READY:
                self._retire(each, "replaced")

    def has(self, key: Key) -> bool:
        """Whether there is a container for a run of the key, starting ones too."""
        return self._offers.has(key)

    def ladder(self) -> tuple[ladder.Step, ...]:
        """How runs come by a root, and how their agent is reached."""
        return ladder.root(self._offers.last), ladder.reach(self._starter.out_of_reach)

    @property
    def portable(self) -> bool:
        """Whether agents can only be reached through the engine; certain once it has answered."""
        return self._starter.portable

    @property
    def remote(self) -> str:
        """The engine's address where it may be another machine's; else empty."""
        return self._starter.remote

    async def connect(self, warm: Warm, inner: asyncio.Protocol) -> None:
        """A run link through the engine; `inner` gets its bytes. Raises `EngineTrouble`, `NotFound`."""
        await self._starter.connect(warm.name, inner)

    def begin(self, warm: Warm, run: int) -> None:
        """A lease was given out: the container is in use until the run ends."""
        warm.runs.add(run)
        if warm.claimed and warm.state is State.READY:
            warm.state = State.DRAINING
            for _ in range(self._offers.missing(warm.key)):
                self._begin(warm.key, warm.image, min(warm.tools), claimed=False)
            self._make_room()

    def end(self, warm: Warm, run: int) -> None:
        """The run has ended, or its lease ran out."""
        warm.runs.discard(run)
        if not warm.runs:
            warm.idle_since = time.monotonic()
            if warm.state is State.DRAINING:
                self._remove(warm, "used" if warm.claimed else "replaced")
            elif warm.key.ports:
                self._retire(warm, PORTS_FREE)

    async def is_alive(self, warm: Warm) -> bool:
        """Whether the agent answers; a container whose agent does not is removed before this returns."""
        if self._warm.get(warm.name) is not warm or warm.link is None:
            return False
        if await warm.link.ping(PROBE_S):
            return True
        log.warning("agent does not answer", container=warm.id[:12])
        await self._removed(warm, "its agent does not answer")
        return False

    def all(self) -> list[ContainerView]:
        """Every container there is, starting ones too."""
        return [each.view() for each in self._warm.values()]

    async def drop(self, container: ContainerId) -> None:
        """Remove one, with the runs in it; raises `NotFound`."""
        found = [each for each in self._warm.values() if each.id and each.id.startswith(container)]
        if len(found) != 1:
            raise NotFound(f"no warm container {container}", "see: dx ps")
        await self._removed(found[0], "asked for")

    async def drop_all(self, tool: str | None) -> int:
        """Remove those that take runs of the tool, or all; returns how many."""
        await self._settled.wait()
        found = [each for each in self._warm.values() if tool is None or tool in each.tools]
        await asyncio.gather(*(self._removed(each, "asked for") for each in found))
        return len(found)

    async def release(self, use: VolumeUse) -> None:
        """Remove the containers that have the volume; raises `Conflict` where there are runs in one."""
        await self._settled.wait()
        found = [each for each in self._warm.values() if use in each.key.volumes]
        if any([await self._has_runs(each) for each in found]):
            raise Conflict(f"{use.path} of {use.tool} is in use by a run", f"wait for it, or: dx stop {use.tool}")
        await asyncio.gather(*(self._removed(each, "its volume goes") for each in found))

    def occupied(self) -> set[str]:
        """The networks that containers are on, as their keys name them."""
        return {each.key.network for each in (*self._warm.values(), *self._leaving)}

    async def vacate(self, network: str) -> None:
        """Remove the containers on a network; raises `Conflict` where there are runs in one."""
        await self._settled.wait()
        found = [each for each in self._warm.values() if each.key.network == network]
        if busy := [each for each in found if await self._has_runs(each)]:
            tools = sorted({tool for each in busy for tool in each.tools})
            raise Conflict(
                f"a run of {' or '.join(tools)} is on the network {network}", f"wait for it, or: dx stop {tools[0]}"
            )
        await asyncio.gather(*(self._removed(each, "its network goes") for each in found))

    def leave(self, network: str) -> None:
        """Containers on the network take no more runs, and go when they have none."""
        for each in [each for each in self._warm.values() if each.key.network == network]:
            if each.state is State.READY:
                self._retire(each, "its network goes")

    async def adopt(self) -> None:
        """List what the engine has of ours: take up what lives, remove what does not. Raises `EngineTrouble`."""
        listed = await self._engine.containers({INSTANCE_LABEL: self._starter.instance})
        known = {each.id for each in self._warm.values()}
        for container in listed:
            name = container.labels.get(at.ID_LABEL, "")
            if container.id in known or name in self._warm:
                continue
            if not await self._adopted(container, name):
                log.info("left over container removed", container=container.id[:12])
                with suppress(EngineTrouble):
                    await self._engine.remove(container.id)
        self._starter.sweep(lambda name: name in self._warm)

    async def keep(self) -> None:
        """Remove what is idle for too long or too much; an eternal job."""
        while True:
            await asyncio.sleep(min(KEEP_S, max(0.05, self._idle_s)))
            self._make_room()

    async def close(self) -> None:
        """Let go of the links; the containers stay, for the daemon that comes next. One that is starting is removed."""
        self.watcher = None
        await self._tasks.close()
        for warm in self._warm.values():
            if warm.link is not None:
                warm.link.close()

    def _begin(self, key: Key, image: str, tool: str, *, claimed: bool) -> Warm:
        warm = Warm(self._starter.new_id(), key, image, datetime.now(UTC), claimed=claimed)
        warm.tools.add(tool)
        self._warm[warm.name] = warm
        self._offers.add(warm)
        warm.ready = self._tasks.start(self._start(warm, tool), name=f"start {warm.name}")
        return warm

    async def _start(self, warm: Warm, tool: str) -> None:
        begun = time.monotonic()
        try:
            started = await self._starter.start(warm.name, warm.key, warm.image, tool, self._listener(warm))
        except BaseException:
            self._forget(warm)
            raise
        warm.id, warm.link, warm.agent_pid = started.container, started.link, started.agent_pid
        self._is_ready(warm)
        seconds = round(time.monotonic() - begun, 3)
        log.info("container ready", container=warm.id[:12], image=warm.image, seconds=seconds)

    def _is_ready(self, warm: Warm) -> None:
        if warm.state is State.STARTING:
            warm.state = State.READY
            self._offers.settle(warm)
        warm.socket = self._starter.socket_path(warm.name)
        warm.idle_since = time.monotonic()
        self._hub.publish("container.ready", id=warm.id, image=warm.image, network=warm.key.network)

    async def _adopted(self, container: Container, name: str) -> bool:
        if not container.running or not self._starter.is_id(name):
            return False
        try:
            key = Key.from_label(container.labels.get(at.KEY_LABEL, ""))
        except ValueError:
            return False
        image = container.labels.get(at.NAME_LABEL, "")
        warm = Warm(name, key, image, container.created_at, id=container.id)
        warm.tools.update(filter(None, [container.labels.get(at.FOR_LABEL)]))
        if container.labels.get(at.AGENT_LABEL) != self._starter.agent_version:
            warm.state = State.DRAINING
        self._warm[name] = warm
        try:
            warm.link = await self._starter.find(name, self._listener(warm))
        except (OSError, TimeoutError, DxError):
            self._forget(warm)
            return False
        self._is_ready(warm)
        log.info("container adopted", container=warm.id[:12], image=image, runs=len(warm.runs))
        if warm.state is State.DRAINING and not warm.runs:
            self._remove(warm, "used" if warm.claimed else "of another version")
        elif warm.key.ports and not warm.runs:
            self._retire(warm, PORTS_FREE)
        return True

    def _listener(self, warm: Warm) -> Listener:
        return Listener(
            started=partial(self._run_started, warm),
            ended=partial(self._run_ended, warm),
            lost=partial(self._link_lost, warm),
        )

    def _run_started(self, warm: Warm, run: int, began: float) -> None:
        warm.runs.add(run)
        if self.watcher is not None:
            self.watcher.started(warm, run, began)

    def _run_ended(self, warm: Warm, ended: Ended) -> None:
        if self.watcher is not None:
            self.watcher.ended(warm, ended)
        self.end(warm, ended.run)

    def _link_lost(self, warm: Warm) -> None:
        if self.watcher is not None and warm.id and self._warm.get(warm.name) is warm:
            warm.link = None
            warm.ready = self._tasks.start(self._find_again(warm), name=f"find {warm.name}")

    async def _find_again(self, warm: Warm) -> None:
        """The link broke: either the container is gone, or its agent made room for a better link."""
        try:
            link = await self._starter.find(warm.name, self._listener(warm))
        except (OSError, TimeoutError, DxError):
            await self._removed(warm, "it ended")
            return
        if self._warm.get(warm.name) is not warm:  # it was removed in the meantime
            link.close()
            return
        warm.link = link
        for run in [each for each in warm.runs if each not in link.live]:
            # Told apart from a lease that is still to be claimed by the room above.
            if self.watcher is not None:
                self.watcher.lost(warm, run)

    def _retire_others(self, key: Key, image: str) -> None:
        """A new image behind the same name: containers of the old one take no more runs."""
        for each in list(self._warm.values()):
            same = each.image == image and replace(each.key, image=key.image) == key
            if same and each.key.image != key.image and each.state is State.READY:
                self._retire(each, "replaced")

    def _retire(self, warm: Warm, reason: str) -> None:
        """It takes no more runs, and goes when it has none."""
        warm.state = State.DRAINING
        self._offers.withdraw(warm)
        if not warm.runs:
            self._remove(warm, reason)

    async def _make_way(self, key: Key) -> bool:
        """See that no other container publishes the key's ports; whether it had to be waited for.

        Raises `PortTaken` where one of them has runs.
        """
        for each in [*self._warm.values(), *self._leaving]:
            port = clash(key, each.key)
            if port is None:
                continue
            if each.state is State.STARTING or await self._has_runs(each):
                who = ", ".join(sorted(each.tools)) or each.image
                raise PortTaken(f"{port.shown} of this machine is taken by a run of {who}", "see: dx ps")
            self._retire(each, PORTS_FREE)
            await each.gone.wait()
            return True
        return False

    async def _has_runs(self, warm: Warm) -> bool:
        """Whether it has runs, once its agent has told of those that have ended by now."""
        if warm.runs and warm.link is not None:
            await warm.link.ping(PROBE_S)
        return bool(warm.runs)

    def _make_room(self) -> None:
        pictures = [each.picture() for each in self._warm.values()]
        drops, _ = plan(pictures, idle_s=self._idle_s, max_warm=self._max_warm)
        for drop in drops:
            self._remove(self._warm[drop.id], drop.reason)

    def _remove(self, warm: Warm, reason: str) -> None:
        self._tasks.spawn(self._removed(warm, reason), name=f"remove {warm.name}")

    async def _removed(self, warm: Warm, reason: str) -> None:
        """Remove a container now: nobody is sent to it any more, then its runs are told lost, then it goes."""
        if self._warm.get(warm.name) is not warm:
            return
        if warm.state is State.STARTING and warm.ready is not None:
            warm.ready.cancel()
            await asyncio.wait({warm.ready})
        self._forget(warm)
        link, warm.link = warm.link, None
        self._leaving.add(warm)
        try:
            await self._starter.discard(warm.name, warm.id or None)
        finally:
            self._leaving.discard(warm)
            warm.gone.set()
        if link is not None:
            link.close()
        for run in list(warm.runs):
            if self.watcher is not None:
                self.watcher.lost(warm, run)
        warm.runs.clear()
        if warm.id:
            log.info("container removed", container=warm.id[:12], image=warm.image, reason=reason)
            self._hub.publish("container.gone", id=warm.id, image=warm.image, reason=reason)

    def _forget(self, warm: Warm) -> None:
        if self._warm.get(warm.name) is warm:
            del self._warm[warm.name]
        self._offers.withdraw(warm)
