"""Which build serves a tool's runs: the tags by which the engine knows it, and giving them.

Builds end and people go back at any time, so those who give a tool's tags take turns.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.images.images import BUILD_LABEL, TOOL_LABEL, Images
from dxd.kit.hub import Hub
from dxd.rebuild.names import Names, word


class Serving:
    """The builds that serve. A tag is there, or is not: it knows nothing by itself but the news."""

    def __init__(
        self, *, engine: Engine, images: Images, hub: Hub, names: Names, replace: Callable[[ImageId], None]
    ) -> None:
        """`replace` is told of an image that no run takes any more."""
        self._engine = engine
        self._images = images
        self._hub = hub
        self._replace = replace
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By tool: who gives tags. Only the engine is waited for meanwhile."""
        self.names = names
        self.promoted = asyncio.Event()
        """Another build serves than before; whoever waits for it clears it."""

    async def current(self, tool: str) -> Image | None:
        """The build that the tool's runs take; raises `WrongArchitecture`, `EngineTrouble`."""
        image = await self._images.find(self.names.serving(tool))
        return image if image is not None and image.labels.get(TOOL_LABEL) == word(tool) else None

    async def built(self, tool: str, digest: str) -> Image | None:
        """The build of that digest, whoever made it; an image to which somebody gave its name is none."""
        image = await self._images.find(self.names.build(tool, digest))
        return image if image is not None and image.labels.get(BUILD_LABEL) == digest else None

    async def is_pinned(self, tool: str) -> bool:
        """Whether the build that serves does so whatever changes."""
        return await self._engine.image(self.names.pinned(tool)) is not None

    async def hold(self, tool: str) -> bool:
        """Whether the tool is pinned. Where the pinned build does not serve, whoever pinned it was ended in between:
        then it does now.
        """
        async with self._turns[tool]:
            pinned = await self._engine.image(self.names.pinned(tool))
            if pinned is None:
                return False
            current = await self.current(tool)
            if current is None or current.id != pinned.id:
                await self._serve(tool, pinned)
            return True

    async def pin(self, tool: str, image: ImageId) -> None:
        """Have that build serve whatever changes, from the next run on."""
        async with self._turns[tool]:
            found = await self._images.inspect(image)
            await self._engine.tag(image, self.names.pinned(tool))
            await self._serve(tool, found)

    async def unpin(self, tool: str) -> None:
        """Let it follow its files; nothing where it does."""
        async with self._turns[tool]:
            await self._engine.remove_image(self.names.pinned(tool))
            self._images.unnamed(self.names.pinned(tool))

    async def promote(self, tool: str, image: Image, digest: str, *, wanted: Callable[[], bool]) -> bool:
        """Give a build the tag of its digest, and have the next runs take it; False where it is only kept, because
        the tool is pinned, or it is not `wanted` any more.
        """
        async with self._turns[tool]:
            await self._name(image, self.names.build(tool, digest))
            if await self.is_pinned(tool) or not wanted():
                if (current := await self.current(tool)) is not None and current.id != image.id:
                    self._replace(image.id)  # where it was tried
                return False
            await self._serve(tool, image)
            return True

    async def _serve(self, tool: str, image: Image) -> None:
        """Have the next runs take the image, in one step, the last tag; those that live go on."""
        before = await self.current(tool)
        await self.lend(tool, image)
        await self._name(image, self.names.serving(tool))
        self._hub.publish("build.promoted", tool=tool, image=image.id)
        self.promoted.set()
        if before is not None and before.id != image.id:
            self._replace(before.id)

    async def lend(self, tool: str, image: Image) -> None:
        """Have `FROM dx/NAME` mean that image, which another daemon may have moved."""
        await self._name(image, self.names.bases(tool)[0])

    async def _name(self, image: Image, tag: str) -> None:
        await self._engine.tag(image.id, tag)
        self._images.named(tag, image)
