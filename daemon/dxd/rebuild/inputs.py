"""What a tool's build is made of: the look at its files and its bases, and whether another look is due.

A look reads how the tool is built, has the watcher tell of changes to that from then on, and takes the images that it
is built on as their names mean them; another tool among them is brought up to date first. `Inputs` owns the watcher and
what is remembered of files. What a look saw is in the tool's state, as `Seen`, to which nobody else writes. `Rebuilds`
owns it; `Updater` looks by way of it.

A look raises `BuildFailed` and its kin where files are not as they should be, `Conflict` or `BadDefinition` where the
lock is not, and `EngineTrouble`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from dxd.engine.model import Image, ImageId
from dxd.errors import BuildFailed
from dxd.images import context
from dxd.images.dockerfile import Base
from dxd.images.identity import Identity, Memory
from dxd.images.images import BUILD_LABEL, Images
from dxd.images.reading import identified
from dxd.kit.progress import Progress
from dxd.rebuild.bases import Bases
from dxd.rebuild.moved import Moved
from dxd.rebuild.news import News
from dxd.rebuild.pins import Pins
from dxd.rebuild.serving import Serving
from dxd.rebuild.state import ToolState
from dxd.rebuild.watching import same_watch, specs_of
from dxd.tools.model import OnChange, Tool
from dxd.watch.model import Problem as Unwatched
from dxd.watch.watcher import Watcher

Bring = Callable[[Tool, str, Progress], Coroutine[Any, Any, Image]]
"""Have a tool's image be what its files say, for somebody that is named."""


class Inputs:
    """Looks at what tools are built from."""

    def __init__(
        self, *, images: Images, bases: Bases, pins: Pins, serving: Serving, moved: Moved, news: News, bring: Bring,
        changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`changed` is told the name of a tool whose files have changed, once they have come to rest."""
        self._images = images
        self._bases = bases
        self._pins = pins
        self._serving = serving
        self._moved = moved
        self._news = news
        self._bring = bring
        self._watch = Watcher(changed)
        self._memory = Memory()

    async def look(self, state: ToolState, progress: Progress) -> Identity:
        """What the tool's files amount to now. From here on the watcher tells of changes to them."""
        tool, seen = state.tool, state.seen
        assert tool.build is not None
        if seen.recipe is not None and not state.over:
            self._watch.settled(tool.name)
        recipe = await asyncio.to_thread(context.read, tool.build)
        if not state.over and (seen.recipe is None or not same_watch(seen.recipe, recipe)):
            self._watch.set(tool.name, specs_of(tool.build, recipe))
            self._watch.settled(tool.name)
        seen.recipe = recipe
        seen.locked = self._pins.of(tool)
        needed, news = await self._bases.of(tool.build, recipe), self._news.count
        seen.bases = tuple(each.name for each in needed)
        built_on: dict[str, ImageId] = {}
        found = await self._identity(tool, needed, built_on, progress)
        seen.built_on, seen.news = built_on, news
        return found

    async def digest(self, tool: Tool, progress: Progress) -> str:
        """That of all that the tool is built from now. This is no look at it: what has changed is still built."""
        assert tool.build is not None
        recipe = await asyncio.to_thread(context.read, tool.build)
        return (await self._identity(tool, await self._bases.of(tool.build, recipe), {}, progress)).digest

    def may_differ(self, state: ToolState) -> bool:
        """Whether the files may be others than they were; one who waits believes no tree that is polled."""
        tool, seen = state.tool, state.seen
        if seen.recipe is None or self._watch.dirty(tool.name) or state.is_due(time.monotonic()):
            return True
        if self._pins.of(tool) != seen.locked:
            return True
        return tool.on_change is OnChange.WAIT and not self._watch.sure(tool.name)

    def is_restless(self, name: str) -> bool:
        """Whether its files have changed, and the watcher has yet to say that they are at rest."""
        return self._watch.dirty(name)

    def has_news(self, state: ToolState) -> bool:
        """Whether there was news of images since its bases were looked at."""
        return state.seen.news != self._news.count

    async def bases_moved(self, state: ToolState) -> bool:
        """Whether such news was of images that it is built on: they are others than they were; raises `DxError`."""
        news, seen = self._news.count, state.seen
        moved = seen.news != news and await self._moved.since(state.tool, seen.built_on)
        seen.news = max(news, seen.news)
        return moved

    def drop(self, name: str) -> None:
        """Watch nothing for that tool any more."""
        self._watch.drop(name)

    def unwatched(self) -> list[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""
        return self._watch.problems()

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._watch.close()

    async def _identity(
        self, tool: Tool, needed: Sequence[Base], built_on: dict[str, ImageId], progress: Progress
    ) -> Identity:
        """`built_on` is what the names of its bases mean, to be filled."""
        assert tool.build is not None
        bases: dict[str, str] = {}
        for each in needed:
            built_on[each.name], bases[each.key] = await self._base(each.name, tool, progress)
        platform = await self._images.platform()
        return await identified(
            tool.name, tool.build, platform=platform, bases=bases, memory=self._memory, progress=progress
        )

    async def _base(self, ref: str, above: Tool, progress: Progress) -> tuple[ImageId, str]:
        """An image that the tool's is built on, and what it counts as: its id, but that of another tool, which is
        brought up to date first, the digest of its build, so that it is the same on every machine, and when it had to
        be built again.
        """
        tool = self._bases.tool_of(ref, above)
        if tool is None or tool.name == above.name:
            image = await self._pins.base(above, ref, progress)
            return image.id, image.id
        if await self._bases.leads_to(tool, above.name):
            both = f"{above.name} and {tool.name}"
            raise BuildFailed(f"{both} are built on each other", "build one of them without the other")
        image = await self._bring(tool, f"build of {above.name}", progress)
        await self._serving.lend(tool.name, image)
        return image.id, image.labels[BUILD_LABEL]
