"""Which build serves a tool's runs: the tags by which the engine knows it, and giving them."""

import asyncio
from collections.abc import Callable

from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.images.images import BUILD_LABEL, TOOL_LABEL, Images
from dxd.kit.hub import Hub
from dxd.rebuild.names import Names, word


class Serving:
    """The builds that serve. A tag is there, or is not: it has no state of its own but the news."""

    def __init__(
        self, *, engine: Engine, images: Images, hub: Hub, names: Names, replace: Callable[[ImageId], None]
    ) -> None:
        """`replace` is told of an image that no run takes any more."""
        self._engine = engine
        self._images = images
        self._hub = hub
        self._replace = replace
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
        return await self._images.find(self.names.pinned(tool)) is not None

    async def pin(self, tool: str, image: ImageId) -> None:
        """Have that build serve whatever changes, from the next run on."""
        found = await self._images.inspect(image)
        await self._engine.tag(image, self.names.pinned(tool))
        await self.serve(tool, found)

    async def unpin(self, tool: str) -> None:
        """Let it follow its files; nothing where it does."""
        await self._engine.remove_image(self.names.pinned(tool))

    async def serve(self, tool: str, image: Image, digest: str | None = None) -> None:
        """Have the next runs take the image, in one step, the last tag; those that live go on. A new build gets the tag
        of its digest as well.
        """
        before = await self.current(tool)
        if digest is not None:
            await self._name(image, self.names.build(tool, digest))
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
