"""Which image the lock has a tool's runs and builds take."""

from collections.abc import Mapping

from dxd.engine import reference
from dxd.engine.model import Image
from dxd.errors import BuildFailed, Conflict, UnknownTool
from dxd.images.images import Images
from dxd.kit.progress import Progress
from dxd.tools.lock import Locked, Locks
from dxd.tools.model import Tool
from dxd.trust.tools import Tools


class Pins:
    """The lock, as runs and builds meet it. Where nothing is locked it costs one stat(2)."""

    def __init__(self, *, locks: Locks, tools: Tools, images: Images) -> None:
        self._locks = locks
        self._tools = tools
        self._images = images

    def of(self, tool: Tool) -> Locked | None:
        """What is locked of a tool that is built.

        Raises `Conflict` where the lock is about an image, and `BadDefinition` where it cannot be read.
        """
        locked = self._locks.get(tool)
        if locked is not None and locked.image is not None and not self.is_choice(tool):
            raise _another(tool, locked)
        return locked

    async def image(self, tool: Tool) -> str:
        """The name by which the image of a tool that is not built is to be had.

        Raises `Conflict` where the lock is about another one, and `BadDefinition` where it cannot be read.
        """
        assert tool.image is not None
        locked = self._locks.get(tool)
        name = reference.parse(tool.image)
        if locked is None or name is None:
            return tool.image
        if locked.image != tool.image:
            if self.is_choice(tool):
                return tool.image
            raise _another(tool, locked)
        platform = await self._images.platform()
        if platform not in locked.digests:
            raise Conflict(f"{tool.name} is not locked for {platform}", "run: dx lock")
        return name.at(locked.digests[platform])

    async def held(self, tool: Tool, ref: str) -> Image | None:
        """The image that a tool would be built on, as far as it is here; raises `WrongArchitecture`."""
        return await self._images.find((await self.names(tool)).get(ref, ref))

    async def base(self, tool: Tool, ref: str, progress: Progress) -> Image:
        """An image that a tool is built on; raises `BuildFailed` where others of the tool are locked, and it is not."""
        locked = self._locks.get(tool)
        if locked is None:
            return await self._images.resolve(ref, progress)
        names = _names(locked, await self._images.platform())
        if ref not in names:
            platform = await self._images.platform()
            raise BuildFailed(
                f"{ref}, on which {tool.name} is built, is not locked for {platform}",
                f"run: dx lock, or to take no notice of it, remove {tool.word} from dx.lock",
            )
        return await self._images.resolve(names[ref], progress)

    async def names(self, tool: Tool) -> Mapping[str, str]:
        """What a build has to call images that it is built on, by what the Dockerfile calls them."""
        locked = self._locks.get(tool)
        return {} if locked is None else _names(locked, await self._images.platform())

    def is_choice(self, tool: Tool) -> bool:
        """Whether the image, or build, is one run's own, or that of a tool which is about to be."""
        try:
            defined = self._tools.get(tool.name)
        except UnknownTool:
            return True
        return (defined.image, defined.build is None) != (tool.image, tool.build is None)


def _names(locked: Locked, platform: str) -> dict[str, str]:
    named = ((ref, reference.parse(ref), digests.get(platform)) for ref, digests in locked.bases.items())
    return {ref: name.at(digest) for ref, name, digest in named if name is not None and digest is not None}


def _another(tool: Tool, locked: Locked) -> Conflict:
    was = f"locked to {locked.image}" if locked.image else "locked as one that is built"
    now = tool.image or "a build"
    return Conflict(f"{tool.name} is {was}, and dx.toml has {now}", f"run: dx lock --upgrade {tool.word}")
