"""The builds of tools as they are shown, taken back to, and removed: history and engine put together."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from dxd.engine.docker import Engine
from dxd.engine.model import HeldImage, ImageId
from dxd.errors import DxError, EngineTrouble, NotFound
from dxd.images.images import BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL
from dxd.rebuild.ownership import of_this_daemon, own_tags
from dxd.rebuild.policy import before
from dxd.rebuild.pulls import Pulls
from dxd.rebuild.serving import Serving
from dxd.store.builds import Builds
from dxd.store.model import Build, BuildId, BuildView, Freed, Result
from dxd.telemetry import get_logger
from dxd.tools.lock import Locks
from dxd.trust.tools import Tools

FIRST_S = 60.0
AGAIN_S = 3600.0
"""Between two looks for what is old enough, where no promotion calls for one."""
SOON_S = 5.0
"""Until the first look after one that has left something, which a run may have; each next one takes twice as long."""

log = get_logger("builds")


class History:
    """What is known of past builds, and the way back to one."""

    def __init__(
        self, *, engine: Engine, builds: Builds, tools: Tools, serving: Serving, pulls: Pulls,
        unpinned: Callable[[str], None], rest: Callable[[], Awaitable[None]], sweep: Callable[[], Awaitable[int]],
        locks: Locks, keep: int, keep_days: float,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._builds = builds
        self._tools = tools
        self._serving = serving
        self._pulls = pulls
        self._rest = rest
        self._sweep = sweep
        self._unpinned = unpinned
        self._locks = locks
        self._keep = keep
        self._keep_days = keep_days

    async def all(self, tool: str | None) -> Sequence[BuildView]:
        """Every build that is remembered, or those of a tool, the latest first."""
        try:
            held, current = await self._held(), await self._current()
        except EngineTrouble:  # history is there without it
            held, current = {}, {}
        return [self._view(each, held, current) for each in await self._builds.all(tool)]

    async def get(self, build: BuildId) -> BuildView:
        """One of them; raises `NotFound`."""
        found = await self._builds.get(build)
        try:
            return self._view(found, await self._held(), await self._current())
        except EngineTrouble:
            return self._view(found, {}, {})

    async def log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        """What the build printed; raises `NotFound`."""
        return await self._builds.log(build)

    async def rollback(self, tool: str, build: BuildId | None) -> BuildView:
        """Have runs take an older build, the one that served before where none is named, and stay with it.

        Going back is no serving of its own: who goes back again gets what had served before that.
        """
        definition = self._tools.get(tool)
        held = await self._held()
        if definition.build is None:
            pulled = await self._pulls.go_back(definition, build, held)
            size = held[ImageId(pulled.image_id or "")].size_bytes
            return pulled.shown(size_bytes=size, current=True, pinned=True)
        good = [each for each in await self._builds.all(tool) if _is_build(each) and each.image_id in held]
        if build is None:
            serving = self._serving.names.serving(tool)
            found = before(good, next((each.id for each in held.values() if serving in each.tags), None))
            if found is None:
                raise NotFound(f"{tool} has no build before this one", f"see: dx builds {tool}")
        else:
            found = next((each for each in good if each.id == build), None)
            if found is None:
                raise NotFound(f"{tool} has no build {build} that could serve", f"see: dx builds {tool}")
        image = ImageId(found.image_id or "")
        await self._serving.pin(tool, image)
        if found.served is None:
            await self._builds.serves(found.id)
        return found.shown(size_bytes=held[image].size_bytes, current=True, pinned=True)

    async def unpin(self, tool: str) -> None:
        """Let the tool follow its files again; nothing where it does."""
        definition = self._tools.get(tool)
        if definition.build is None:
            await self._pulls.unpin(definition)
            return
        await self._serving.unpin(tool)
        self._unpinned(tool)

    async def prune(self) -> Freed:
        """Forget builds that are old enough, and remove the images of ours that no build or container needs."""
        bytes_before = await self._engine.layer_bytes()
        await self._rest()
        removed = await self._sweep()
        removed += (await self._let_go())[0]
        freed = bytes_before - await self._engine.layer_bytes() if removed else 0
        return Freed(removed, max(0, freed))

    async def keep(self) -> None:
        """Let go of what is old enough, after each promotion and now and then; an eternal job."""
        pause_s, soon_s = FIRST_S, SOON_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._serving.promoted.wait()
                soon_s = SOON_S
            self._serving.promoted.clear()
            pause_s = AGAIN_S
            try:
                await self._rest()  # the containers of the build before
                removed, left = await self._let_go()
                if removed:
                    log.info("old builds are removed", images=removed)
                if left:
                    pause_s, soon_s = min(soon_s, AGAIN_S), 2 * soon_s
            except DxError as error:
                log.info("old builds are not removed", reason=error.line())

    async def _let_go(self) -> tuple[int, int]:
        """Forget what is old enough; how many images went with it, and how many are still there.

        Of an image only the names that dx gave go. One that has others, or a container, stays.
        """
        builds = await self._builds.all()
        own = of_this_daemon(await self._images(), builds, self._serving.names)
        locks, unsure = self._locks.of(self._tools.all())
        locked = {each for lock in locks.values() for each in (*lock.inputs.values(), *lock.digests.values())}
        needed = {
            each.id for each in own.values()
            if self._is_needed(self._holders(each)) or each.labels[BUILD_LABEL] in locked
        }  # fmt: skip
        current = await self._current()
        held = [
            each.id for each in builds
            if each.image_id in needed or (each.image_id and (each.digest in locked or each.tool in unsure))
            or (each.is_pulled and (self._tools.problem or current.get(each.tool) == each.image_id))
        ]  # fmt: skip
        fetched = await self._pulls.fetched()
        gone = await self._builds.prune(keep=self._keep, keep_days=self._keep_days, held=held, now=datetime.now(UTC))
        # Asked anew after that, because a build may have ended meanwhile.
        needed |= {ImageId(each.image_id) for each in await self._builds.all() if each.image_id and _is_kept(each)}
        going = [
            each for each in own.values()
            if each.id not in needed and not any(self._serving.names.is_anothers(tag) for tag in each.tags)
        ]  # fmt: skip
        for image in going:
            for name in own_tags(image, self._serving.names) if image.tags else (image.id,):
                await self._engine.remove_image(name)
        left = {each.id for each in await self._images()}
        pulled = 0 if self._tools.problem else await self._pulls.let_go(gone, fetched, self._tools.all())
        gone_with_it = [each for each in going if each.id not in left]
        return len(gone_with_it) + pulled, len(going) - len(gone_with_it)

    async def _held(self) -> dict[str, HeldImage]:
        return {each.id: each for each in await self._engine.images({})}

    async def _current(self) -> dict[str, ImageId | None]:
        """By tool that is not built, the image that its runs take."""
        return {each.name: await self._pulls.current(each) for each in self._tools.all() if each.build is None}

    async def _images(self) -> list[HeldImage]:
        """Those that are builds of this daemon, or made of such ones."""
        return await self._engine.images({BUILDER_LABEL: self._serving.names.instance, BUILD_LABEL: ""})

    def _is_needed(self, holders: Collection[str]) -> bool:
        """Whether one of these tools is there; nobody knows while the file that would say so is wrong."""
        tools = {each.name for each in self._tools.all()}
        return bool(holders) if self._tools.problem else not tools.isdisjoint(holders)

    def _holders(self, image: HeldImage) -> set[str]:
        """The tools whose runs take it, or are to."""
        return self._serving.names.holders(image.labels.get(TOOL_LABEL, ""), image.tags)

    def _view(self, build: Build, held: dict[str, HeldImage], current: Mapping[str, ImageId | None]) -> BuildView:
        image = held.get(build.image_id or "")
        if build.is_pulled:
            is_current = image is not None and current.get(build.tool) == image.id
        else:
            is_current = _is(held, build, self._serving.names.serving(build.tool))
        return build.shown(
            size_bytes=image.size_bytes if image else None,
            current=is_current,
            pinned=_is(held, build, self._serving.names.pinned(build.tool)),
        )


def _is(held: dict[str, HeldImage], build: Build, tag: str) -> bool:
    return build.image_id is not None and build.image_id in held and tag in held[build.image_id].tags


def _is_build(build: Build) -> bool:
    return build.result is Result.GOOD and not build.is_pulled


def _is_kept(build: Build) -> bool:
    """Whether its image is; that of one that goes on has no name yet."""
    return build.result in (Result.GOOD, None)
