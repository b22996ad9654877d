"""What a tool's image is built on, and which other tools that leads to."""

import asyncio
from collections.abc import Sequence

from dxd.images import context
from dxd.images.context import Recipe
from dxd.images.dockerfile import Base, bases_of
from dxd.images.images import Images
from dxd.rebuild.names import Names
from dxd.tools.model import Build, Tool
from dxd.trust.tools import Tools


class Bases:
    """Reads Dockerfiles for it; keeps nothing."""

    def __init__(self, *, images: Images, tools: Tools, names: Names) -> None:
        self._images = images
        self._tools = tools
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

    def tool_of(self, ref: str, tool: Tool) -> Tool | None:
        """The tool whose build has that name in another tool's Dockerfile: one of its project, else of the user's."""
        found = [
            each for each in self._tools.all()
            if each.build is not None and each.project in {tool.project, None} and ref in self._names.bases(each.name)
        ]  # fmt: skip
        return max(found, key=lambda each: each.project is not None, default=None)

    async def leads_to(self, tool: Tool, target: str, seen: set[str] | None = None) -> bool:
        """Whether a tool is built on the target, by however many in between; raises `BuildFailed`."""
        seen = set() if seen is None else seen
        seen.add(tool.name)
        if tool.build is None:
            return False
        recipe = await asyncio.to_thread(context.read, tool.build)
        for base in await self.of(tool.build, recipe):
            below = self.tool_of(base.name, tool)
            if below is None or below.name in seen:
                continue
            if below.name == target or await self.leads_to(below, target, seen):
                return True
        return False
