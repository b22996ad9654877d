"""What a tool's image is built on, and which other tools that leads to."""

import asyncio
from collections.abc import Sequence

from dxd.images import context
from dxd.images.context import Recipe
from dxd.images.dockerfile import Base, bases_of
from dxd.images.images import Images
from dxd.rebuild.names import Names
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import Build, Tool


class Bases:
    """Reads Dockerfiles for it; keeps nothing."""

    def __init__(self, *, images: Images, catalogue: Catalogue, names: Names) -> None:
        self._images = images
        self._catalogue = catalogue
        self._names = names

    async def of(self, build: Build, recipe: Recipe) -> Sequence[Base]:
        """The images that the build needs, in the order in which it names them."""
        text = recipe.content.decode(errors="replace")
        platform = await self._images.platform()
        return bases_of(text, args=dict(build.args), target=build.target, platform=platform).needed

    async def named(self, tool: Tool) -> Sequence[str]:
        """The images that a tool is built on, as its Dockerfile names them; raises `BuildFailed`."""
        if tool.build is None:
            return ()
        recipe = await asyncio.to_thread(context.read, tool.build)
        return [each.name for each in await self.of(tool.build, recipe)]

    def tool_of(self, ref: str) -> Tool | None:
        """The tool whose build serves under that name."""
        built = (each for each in self._catalogue.all() if each.build is not None)
        return next((each for each in built if ref in self._names.bases(each.name)), None)

    async def leads_to(self, tool: Tool, target: str, seen: set[str] | None = None) -> bool:
        """Whether a tool is built on the target, by however many in between; raises `BuildFailed`."""
        seen = set() if seen is None else seen
        seen.add(tool.name)
        if tool.build is None:
            return False
        recipe = await asyncio.to_thread(context.read, tool.build)
        for base in await self.of(tool.build, recipe):
            below = self.tool_of(base.name)
            if below is None or below.name in seen:
                continue
            if below.name == target or await self.leads_to(below, target, seen):
                return True
        return False
