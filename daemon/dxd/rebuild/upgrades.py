"""Which images of tools their registries have anew, and taking those.

Nothing is kept here: a registry is asked each time that somebody wants to know. The tag of an image moves at the end of
its pull, so that what was there serves until then; tools that are built on it follow by way of `Rebuilds`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.errors import DxError
from dxd.images.images import Images
from dxd.kit.progress import Progress
from dxd.rebuild.bases import Bases
from dxd.rebuild.names import word
from dxd.tools.lock import Locks
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


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What became of one tool."""

    tool: str
    images: tuple[str, ...]
    """Those that were pulled for it."""
    error: str = ""
    """Why it was not upgraded, in one line; empty where it was."""


Follow = Callable[[Tool, Progress], Awaitable[Image]]
"""Builds a tool if what it is built from is not what it was, those that it is built on before it."""


class Upgrades:
    """Compares with registries, and pulls."""

    def __init__(
        self, *, engine: Engine, images: Images, tools: Tools, bases: Bases, follow: Follow,
        retire: Callable[[ImageId], None], locks: Locks,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._images = images
        self._tools = tools
        self._bases = bases
        self._follow = follow
        self._retire = retire
        self._locks = locks
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def outdated(self, names: Sequence[str] = ()) -> list[Compared]:
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
        found = dict(zip(refs, await asyncio.gather(*map(self._compare, refs)), strict=True))
        compared = [
            Compared(tool, ref, is_base, *found[ref]) for (tool, ref, is_base) in wanted
        ]  # fmt: skip
        return [*compared, *broken]

    async def upgrade(self, names: Sequence[str], progress: Progress) -> list[Upgraded]:
        """Pull what is outdated of these tools, or of all, then build what is built on it; raises `UnknownTool`.

        A tool that fails stays as it was, and the others go on. What is locked stays, and a line says so.
        """
        locked = {each.name for each in self._tools.all() if self._locks.get(each) is not None}
        for name in names:
            if name in locked:
                progress.note(f"{word(name)} is locked; run: dx lock --upgrade {word(name)}")
        compared = [each for each in await self.outdated(names) if each.tool not in locked]
        moved = {each.image for each in compared if each.standing is Standing.OUTDATED}
        failed: dict[str, str] = {}
        pulled: set[str] = set()
        for ref in sorted(moved):
            try:
                before = await self._images.find(ref)
                image = await self._images.pull(ref, progress)
            except DxError as error:
                failed[ref] = error.line()
                continue
            pulled.add(ref)
            if before is not None and before.id != image.id:
                self._retire(before.id)
        results = []
        for tool in await self._affected(compared, moved, names):
            of_tool = tuple(
                dict.fromkeys(each.image for each in compared if each.tool == tool.name and each.image in pulled)
            )
            error_line = next(
                (failed[each.image] for each in compared if each.tool == tool.name and each.image in failed), ""
            )
            if tool.build is not None and not error_line:
                try:
                    await self._follow(tool, progress)
                except DxError as error:
                    error_line = error.line()
            results.append(Upgraded(tool.name, of_tool, error_line))
        unknown = {each.tool: each.reason for each in compared if each.standing is Standing.UNKNOWN}
        done = {each.tool for each in results}
        return [*results, *(Upgraded(tool, (), reason) for tool, reason in unknown.items() if tool not in done)]

    async def _affected(self, compared: Iterable[Compared], moved: set[str], names: Sequence[str]) -> list[Tool]:
        """The tools of those images, and those that are named and built, and all that are built on these tools; those
        that need another come after it.
        """
        affected: list[str] = [
            each.name for each in self._tools.all()
            if _is_of(each, compared, moved) or (each.name in names and each.build is not None)
        ]  # fmt: skip
        built = [each for each in self._tools.all() if each.build is not None]
        needs: dict[str, set[str]] = {}
        for tool in built:
            try:
                refs = await self._bases.named(tool)
            except DxError:  # its own trouble, which its next build tells
                continue
            needs[tool.name] = {below.name for each in refs if (below := self._bases.tool_of(each, tool)) is not None}
        while more := [name for name, below in needs.items() if name not in affected and below & set(affected)]:
            affected += more
        return [each for name in affected for each in self._tools.all() if each.name == name]

    async def _compare(self, ref: str) -> tuple[Standing, str | None, str | None, str]:
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


def _is_of(tool: Tool, compared: Iterable[Compared], moved: set[str]) -> bool:
    return any(each.tool == tool.name and each.image in moved for each in compared)
