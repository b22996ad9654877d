"""The builds of tools as they are shown, taken back to, and removed: history and engine put together."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from dxd.engine.docker import Engine
from dxd.engine.model import HeldImage, ImageId
from dxd.errors import EngineTrouble, NotFound
from dxd.images.images import BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL
from dxd.rebuild.names import word
from dxd.rebuild.policy import before
from dxd.rebuild.serving import Serving
from dxd.store.builds import Builds
from dxd.store.model import Build, BuildId, BuildView, Freed, Result
from dxd.trust.tools import Tools


class History:
    """What is known of past builds, and the way back to one."""

    def __init__(
        self, *, engine: Engine, builds: Builds, tools: Tools, serving: Serving,
        unpinned: Callable[[str], None], rest: Callable[[], Awaitable[None]], sweep: Callable[[], Awaitable[int]],
        keep: int, keep_days: float,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._builds = builds
        self._tools = tools
        self._serving = serving
        self._rest = rest
        self._sweep = sweep
        self._unpinned = unpinned
        self._keep = keep
        self._keep_days = keep_days

    async def all(self, tool: str | None) -> Sequence[BuildView]:
        """Every build that is remembered, or those of a tool, the latest first."""
        try:
            held = await self._held(tool)
        except EngineTrouble:  # history is there without it
            held = {}
        return [self._view(each, held) for each in await self._builds.all(tool)]

    async def get(self, build: BuildId) -> BuildView:
        """One of them; raises `NotFound`."""
        found = await self._builds.get(build)
        try:
            return self._view(found, await self._held(found.tool))
        except EngineTrouble:
            return self._view(found, {})

    async def log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        """What the build printed; raises `NotFound`."""
        return await self._builds.log(build)

    async def rollback(self, tool: str, build: BuildId | None) -> BuildView:
        """Have runs take an older build, the one that served before where none is named, and stay with it.

        Going back is no serving of its own: who goes back again gets what had served before that.
        """
        self._tools.get(tool)
        held = await self._held(tool)
        good = [each for each in await self._builds.all(tool) if each.result is Result.GOOD and each.image_id in held]
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
        self._tools.get(tool)
        await self._serving.unpin(tool)
        self._unpinned(tool)

    async def prune(self) -> Freed:
        """Forget builds that are old enough, and remove the images of ours that no build or container needs."""
        held = await self._own()
        builds = await self._builds.all()
        serving = [each.id for each in builds if self._holders(held.get(each.image_id or ""))]
        await self._builds.prune(keep=self._keep, keep_days=self._keep_days, held=serving, now=datetime.now(UTC))
        kept = {each.image_id for each in await self._builds.all()}
        tools = {each.name for each in self._tools.all()}
        going = [
            each for each in held.values()
            if each.id not in kept and self._holders(each).isdisjoint(tools)
            and not any(self._serving.names.is_anothers(tag) for tag in each.tags)
        ]  # fmt: skip
        bytes_before = await self._engine.layer_bytes()
        await self._rest()
        swept = await self._sweep()
        for image in going:
            for name in image.tags or (image.id,):
                await self._engine.remove_image(name)
        left = (await self._own()).keys() & {each.id for each in going}
        removed = len(going) - len(left) + swept
        freed = bytes_before - await self._engine.layer_bytes() if removed else 0
        return Freed(removed, max(0, freed))

    async def _held(self, tool: str | None) -> dict[str, HeldImage]:
        found = await self._engine.images({TOOL_LABEL: word(tool or ""), BUILD_LABEL: ""})
        return {each.id: each for each in found}

    async def _own(self) -> dict[str, HeldImage]:
        """What this daemon has built."""
        found = await self._engine.images({BUILDER_LABEL: self._serving.names.instance, BUILD_LABEL: ""})
        return {each.id: each for each in found}

    def _holders(self, image: HeldImage | None) -> set[str]:
        """The tools whose runs take it, or are to."""
        return set() if image is None else self._serving.names.holders(image.labels[TOOL_LABEL], image.tags)

    def _view(self, build: Build, held: dict[str, HeldImage]) -> BuildView:
        image = held.get(build.image_id or "")
        return build.shown(
            size_bytes=image.size_bytes if image else None,
            current=_is(held, build, self._serving.names.serving(build.tool)),
            pinned=_is(held, build, self._serving.names.pinned(build.tool)),
        )


def _is(held: dict[str, HeldImage], build: Build, tag: str) -> bool:
    return build.image_id is not None and build.image_id in held and tag in held[build.image_id].tags
