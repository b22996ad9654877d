"""How the images of tools compare to those that their registries have now.

A registry is asked each time that somebody wants to know; nothing is pulled, and nothing kept. Used by `Upgrades`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.errors import DxError
from dxd.images.images import Images
from dxd.rebuild.bases import Bases
from dxd.tools.model import Tool
from dxd.trust.tools import Tools

MAX_QUESTIONS = 32
"""At the same time, to all registries together."""


class Standing(StrEnum):
    """How an image here compares to that of its registry."""

    CURRENT = "current"
    OUTDATED = "outdated"
    MISSING = "missing"
    """It is not here; the next run or build pulls it."""
    LOCAL = "local"
    """It was made here, or is named by its digest or id: there is nothing to compare with."""
    UNKNOWN = "unknown"
    """The registry does not say."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An image of a tool, or one that a tool is built on."""

    tool: str
    image: str
    is_base: bool
    standing: Standing
    held: str | None = None
    """The digest here."""
    offered: str | None = None
    """The registry's."""
    reason: str = ""
    """Why it is unknown, in one line."""


class Comparison:
    """Asks registries."""

    def __init__(self, *, engine: Engine, images: Images, tools: Tools, bases: Bases) -> None:
        self._engine = engine
        self._images = images
        self._tools = tools
        self._bases = bases
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def compare(self, names: Sequence[str] = ()) -> list[Compared]:
        """Every image of these tools, or of all, with what its registry has now; raises `UnknownTool`.

        What a registry does not answer is told of the image; the others go on.
        """
        wanted: dict[tuple[str, str, bool], str] = {}
        broken = []
        for tool in self._wanted(names):
            try:
                for ref in await self._images_of(tool):
                    wanted[tool.name, ref, tool.build is not None] = ref
            except DxError as error:
                broken.append(Compared(tool.name, "", is_base=True, standing=Standing.UNKNOWN, reason=error.line()))
        refs = sorted(set(wanted.values()))
        found = dict(zip(refs, await asyncio.gather(*map(self._compared, refs)), strict=True))
        compared = [
            Compared(tool, ref, is_base, *found[ref]) for (tool, ref, is_base) in wanted
        ]  # fmt: skip
        return [*compared, *broken]

    async def _compared(self, ref: str) -> tuple[Standing, str | None, str | None, str]:
        """How the image stands, its digest here, the registry's, and why that is not known."""
        name = reference.parse(ref)
        if name is None or name.is_digest:
            return Standing.LOCAL, None, None, ""
        held = None
        try:
            async with self._questions:
                image = await self._images.find(ref)
                if image is None:
                    return Standing.MISSING, None, None, ""
                held = reference.digest_in(image.digests, name)
                if held is None:
                    return Standing.LOCAL, None, None, ""
                offered = await self._engine.digest(ref)
        except DxError as error:
            return Standing.UNKNOWN, held, None, error.line()
        return Standing.CURRENT if offered == held else Standing.OUTDATED, held, offered, ""

    def _wanted(self, names: Sequence[str]) -> Sequence[Tool]:
        return [self._tools.get(name) for name in dict.fromkeys(names)] if names else self._tools.all()

    async def _images_of(self, tool: Tool) -> Sequence[str]:
        if tool.image is not None:
            return (tool.image,)
        return [each for each in await self._bases.named(tool) if self._bases.tool_of(each, tool) is None]
