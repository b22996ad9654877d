"""Taking images of tools that their registries have anew.

An image is pulled by its digest, and its tag moves when all
is well: what was there serves until then, and goes on where the new one's labels ask for more than was allowed. Tools
that are built on it follow by way of `Rebuilds`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.errors import DxError
from dxd.images.images import Images
from dxd.kit.progress import Progress
from dxd.rebuild.bases import Bases
from dxd.rebuild.comparison import Compared, Comparison, Standing
from dxd.rebuild.names import word
from dxd.rebuild.pulls import Pulls
from dxd.tools.labels import Ask
from dxd.tools.lock import Locks
from dxd.tools.model import Tool
from dxd.tools.takeover import Takeover, takeover
from dxd.trust.tools import Tools


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What became of one tool."""

    tool: str
    images: tuple[str, ...]
    """Those that were pulled for it."""
    error: str = ""
    """Why it was not upgraded, in one line; empty where it was."""
    asks: tuple[Ask, ...] = ()
    """What its new image asks for beyond what was allowed: then it was not upgraded."""
    digest: str = ""
    """Of the image that asks, to allow it by."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What may be done about images whose labels are not what they were."""

    labels: bool = True
    """Whether definitions follow them; else they stay as they are."""
    allow: frozenset[str] = frozenset()
    """Digests of images whose asks are allowed."""
    keep: bool = False
    """Whether an image that asks for more stays in the engine, so that allowing it does not pull it again."""


NO_CONSENT = Consent()


@dataclass(slots=True)
class _Outcome:
    """What became of the images."""

    pulled: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Why not, by name."""
    asks: dict[str, tuple[str, tuple[Ask, ...]]] = field(default_factory=dict)
    """By tool, the digest and what it asks for."""


Follow = Callable[[Tool, Progress], Awaitable[Image]]
"""Builds a tool if what it is built from is not what it was, those that it is built on before it."""


class Upgrades:
    """Pulls what is another image at its registry."""

    def __init__(
        self, *, engine: Engine, images: Images, tools: Tools, bases: Bases, follow: Follow,
        pulls: Pulls, retire: Callable[[ImageId], None], locks: Locks, redefined: Callable[[], object],
    ) -> None:  # fmt: skip
        """`redefined` is called in a thread after a definition was written."""
        self._engine = engine
        self._images = images
        self._tools = tools
        self._bases = bases
        self._follow = follow
        self._pulls = pulls
        self._retire = retire
        self._locks = locks
        self._redefined = redefined
        self._comparison = Comparison(engine=engine, images=images, tools=tools, bases=bases)
        self._waiting: set[str] = set()
        """Images that were kept so that they can be allowed."""

    async def outdated(self, names: Sequence[str] = ()) -> list[Compared]:
        """As `Comparison.compare`."""
        return await self._comparison.compare(names)

    async def upgrade(
        self, names: Sequence[str], progress: Progress, consent: Consent = NO_CONSENT
    ) -> list[Upgraded]:  # fmt: skip
        """Pull what is outdated of these tools, or of all, then build what is built on it; raises `UnknownTool`.

        A tool that fails, or whose new image asks for more than was allowed, stays as it was, and the others go on.
        What is locked stays, and a line says so; so does a tool whose lock cannot be read.
        """
        locked, unsure = self._locks.of(self._tools.all())
        for name in names:
            if name in locked:
                progress.note(f"{word(name)} is locked; run: dx lock --upgrade {word(name)}")
        compared = [each for each in await self.outdated(names) if each.tool not in locked and each.tool not in unsure]
        moved = {each.image: each.offered for each in compared if each.standing is Standing.OUTDATED and each.offered}
        outcome = _Outcome()
        for ref, offered in sorted(moved.items()):
            try:
                await self._take(ref, offered, outcome, progress, consent)
            except DxError as error:
                outcome.failed[ref] = error.line()
        results = [Upgraded(name, (), line) for name, line in unsure.items() if name in names or not names]
        for tool in await self._affected(compared, moved.keys(), names):
            if tool.name in unsure:
                continue
            refs = dict.fromkeys(each.image for each in compared if each.tool == tool.name)
            error_line = next((outcome.failed[each] for each in refs if each in outcome.failed), "")
            if tool.build is not None and not error_line:
                try:
                    await self._follow(tool, progress)
                except DxError as error:
                    error_line = error.line()
            digest, asks = outcome.asks.get(tool.name, ("", ()))
            of_tool = tuple(each for each in refs if each in outcome.pulled)
            results.append(Upgraded(tool.name, of_tool, error_line, asks, digest))
        unknown = {each.tool: each.reason for each in compared if each.standing is Standing.UNKNOWN}
        done = {each.tool for each in results}
        return [*results, *(Upgraded(tool, (), reason) for tool, reason in unknown.items() if tool not in done)]

    async def _take(
        self, ref: str, offered: str, outcome: _Outcome, progress: Progress, consent: Consent
    ) -> None:  # fmt: skip
        """Have the name mean what the registry offers, and its tools be what that says, where all of it is allowed."""
        name = reference.parse(ref)
        before = await self._images.find(ref)
        assert name is not None
        at = name.at(offered)
        was_there = await self._images.find(at) is not None and at not in self._waiting
        begun = time.monotonic()
        image = await self._images.pull(at, progress)
        seconds = time.monotonic() - begun
        try:
            taken = self._taken(ref, before, image) if consent.labels else []
        except DxError:
            await self._let_go(at, was_there=was_there)
            raise
        asking = {each.tool.name: each.asks for each in taken if each.asks}
        if asking and offered not in consent.allow:
            if consent.keep:
                self._waiting.add(at)
            else:
                await self._let_go(at, was_there=was_there)
            outcome.asks |= {tool: (offered, asks) for tool, asks in asking.items()}
            texts = dict.fromkeys(each.text for asks in asking.values() for each in asks)
            outcome.failed[ref] = f"{ref} asks anew to {', '.join(texts)}; the image before stays in use"
            return
        for each in taken:
            if each.changed:
                await asyncio.to_thread(self._tools.user.put, each.tool)
                progress.note(f"{each.tool.name}: its image has another {' and '.join(each.changed)} now")
        if any(each.changed for each in taken):
            await asyncio.to_thread(self._redefined)
        users = self._users(ref)
        for tool in users:
            if before is not None:
                await self._pulls.keep(tool, ref, before)
        await self._engine.tag(image.id, f"{name.repository}:{name.tag}")
        self._images.named(ref, image)
        for tool in users:
            await self._pulls.note(
                tool, ref, image, cause="its tag moved", asked_by="upgrade", seconds=seconds, fetched=not was_there
            )
            if await self._pulls.held(tool) is not None:
                progress.note(f"{tool.name} is pinned, and stays as it is; run: dx unpin {tool.word}")
        self._waiting.discard(at)
        outcome.pulled.add(ref)
        if before is not None and before.id != image.id:
            self._retire(before.id)

    def _users(self, ref: str) -> list[Tool]:
        """The tools whose runs take what the name means."""
        tools = [each for each in self._tools.all() if each.image == ref]
        locked, unsure = self._locks.of(tools)
        return [each for each in tools if each.name not in locked and each.name not in unsure]

    def _taken(self, ref: str, before: Image | None, image: Image) -> list[Takeover]:
        """What becomes of each tool of the user's whose runs take the image of that name.

        Those of projects are as their repositories say, whatever images do.
        """
        tools = [each for each in self._users(ref) if each.project is None]
        return [takeover(each, before.labels if before else {}, image.labels) for each in tools]

    async def _let_go(self, at: str, *, was_there: bool) -> None:
        self._waiting.discard(at)
        if not was_there:
            await self._engine.remove_image(at)

    async def _affected(self, compared: Iterable[Compared], moved: Collection[str], names: Sequence[str]) -> list[Tool]:
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


def _is_of(tool: Tool, compared: Iterable[Compared], moved: Collection[str]) -> bool:
    return any(each.tool == tool.name and each.image in moved for each in compared)
