"""Which image the lock has a tool's runs and builds take."""

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.engine.model import Image
from dxd.errors import BuildFailed, Conflict
from dxd.images.images import Images
from dxd.kit.progress import Progress
from dxd.tools.lock import Locks
from dxd.tools.model import Tool
from dxd.trust.tools import Tools


class Pins:
    """The lock, as runs and builds meet it. Where nothing is locked it costs one stat(2)."""

    def __init__(self, *, locks: Locks, tools: Tools, images: Images, engine: Engine) -> None:
        self._locks = locks
        self._tools = tools
        self._images = images
        self._engine = engine

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
            if self._tools.get(tool.name).image != tool.image:  # this run's own choice
                return tool.image
            was = f"locked to {locked.image}" if locked.image else "locked as one that is built"
            raise Conflict(f"{tool.name} is {was}, and dx.toml has {tool.image}", f"run: dx lock --upgrade {tool.word}")
        platform = await self._images.platform()
        if platform not in locked.digests:
            raise Conflict(f"{tool.name} is not locked for {platform}", "run: dx lock")
        return name.at(locked.digests[platform])

    async def base(self, tool: Tool, ref: str, progress: Progress) -> Image:
        """An image that a tool is built on, the name of which is its in the engine; raises `BuildFailed`."""
        locked = self._locks.get(tool)
        digest = locked.bases.get(ref, {}).get(await self._images.platform()) if locked is not None else None
        name = reference.parse(ref)
        if digest is None or name is None:
            return await self._images.resolve(ref, progress)
        image = await self._images.resolve(name.at(digest), progress)
        named = await self._images.find(ref)
        if named is None and not name.is_digest:
            await self._engine.tag(image.id, f"{name.repository}:{name.tag}")
            self._images.named(ref, image)
        elif named is not None and named.id != image.id:
            raise BuildFailed(
                f"{ref}, on which {tool.name} is built, is another image here than the one that is locked",
                f"run: dx lock --upgrade {tool.word}, or: docker tag {name.at(digest)} {ref}",
            )
        return image
