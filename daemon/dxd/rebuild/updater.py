"""Bringing one tool up to date: a look at its files, the decision (`policy`), and acting on it, until they are at rest.

`Rebuilds` calls it, and shares out what comes of it. A tool's work goes one at a time, by its state's `turn`, and who
has the turn writes to the state what comes of it: the failure, the pin that holds it, the build that goes on. What is
wrong with the files or the lock, or with the engine, is raised, and remembered as what the tool fails by; `Over` says
that the tool is defined otherwise by now.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from dxd.engine.model import Image
from dxd.errors import DxError, EngineTrouble, NotFound
from dxd.images.context import ContextMoved
from dxd.images.identity import Identity
from dxd.images.images import BUILD_LABEL, Images
from dxd.kit.progress import Progress
from dxd.rebuild.builder import Builder, Order
from dxd.rebuild.gone import Gone
from dxd.rebuild.inputs import Inputs
from dxd.rebuild.policy import Do, Picture, decide
from dxd.rebuild.serving import Serving
from dxd.rebuild.state import Failure, ToolState
from dxd.store.builds import Builds
from dxd.store.model import Build, Result
from dxd.tools.model import OnChange, Tool

RESTS_S = (0.25, 1.0, 4.0)
"""At least, before a build whose files changed before they were sent is begun anew; after the last it is an error,
and tried again like everything that may pass by itself.
"""
LONGEST_REST_S = 15.0
"""Longer than the watcher's second word of a storm takes."""


class Over(Exception):
    """The tool is defined otherwise than when the work began."""


class Updater:
    """Brings tools up to date; what it knows of one is in its state."""

    def __init__(
        self, *, images: Images, builds: Builds, serving: Serving, inputs: Inputs, builder: Builder, gone: Gone,
        promoted: Callable[[ToolState], None], restless: Callable[[ToolState], None],
    ) -> None:  # fmt: skip
        """`promoted` is told of a tool that has another build now, `restless` of one whose files have changed since
        they were looked at, while it is built of them.
        """
        self._images = images
        self._builds = builds
        self._serving = serving
        self._inputs = inputs
        self._builder = builder
        self._gone = gone
        self._promoted = promoted
        self._restless = restless

    async def bring(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        """Have the tool's image be what its files say, and its state know when to try again where that fails.

        `asked` is by somebody who wants just that, other than by running the tool.
        """
        async with state.turn:
            begun, before = time.monotonic(), state.failure
            try:
                image = await self._bring_in_turn(state, asked_by, asked, progress)
            except DxError as error:
                told = state.failure if state.failure is not before else None
                if told is not None and told.digest:  # it is the files' fault
                    state.rested()
                else:
                    if told is None and not isinstance(error, EngineTrouble):
                        state.fails(Failure("", f"{state.tool.name}: {error.line()}"))
                    state.rests(begun, time.monotonic())
                raise
            except BaseException:
                state.stale = True
                raise
            state.rested()
            return image

    async def look(self, state: ToolState, progress: Progress) -> Identity:
        """What the tool's files amount to now; it is told of changes from here on. Needs no turn."""
        state.stale = False
        state.changes.clear()
        try:
            return await self._inputs.look(state, progress)
        except BaseException:
            state.stale = True
            raise

    async def _bring_in_turn(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        tool = state.tool
        await self._remember_failure(state)
        await self._gone.end_pins()
        rests = iter(RESTS_S)
        while True:
            if state.over:
                raise Over
            found = await self.look(state, progress)
            pinned = await self._serving.hold(tool.name)
            current = await self._serving.current(tool.name)
            there = await self._there(tool.name, found.digest)
            picture = Picture(
                wanted=found.digest,
                current=current.labels.get(BUILD_LABEL) if current else None,
                is_there=there is not None,
                failed=state.failure.digest if state.failure else None,
                pinned=pinned,
                manual=tool.on_change is OnChange.MANUAL,
                asked=asked,
            )
            decision = decide(picture)
            state.held = pinned and picture.current != found.digest
            if decision.do is Do.NOTHING:
                if current is None:
                    raise NotFound(f"{tool.name} has no build", f"run: dx upgrade {tool.word}")
                if picture.current == found.digest or (state.failure is not None and not state.failure.digest):
                    state.failure = None
                if picture.current == found.digest and not state.recorded:
                    build = await self._adopted(tool, current, found, asked_by)
                    if build.served is None:
                        await self._builds.serves(build.id)
                    state.recorded = True
                return current
            if decision.do is Do.PROMOTE:
                assert there is not None
                serves: Image | None = await self._promote(state, found, there)
                if serves is there:
                    await self._builds.serves((await self._adopted(tool, there, found, asked_by)).id)
            else:
                serves = await self._build_unless_moved(state, found, asked_by, progress, rests)
            if serves is not None and not state.over:
                return serves
            progress.note(f"what {tool.name} is built from has changed; building it again")

    async def _build_unless_moved(
        self, state: ToolState, found: Identity, asked_by: str, progress: Progress, rests: Iterator[float]
    ) -> Image | None:
        """`_build`; None also where its files changed before they were sent, after the next of these rests."""
        try:
            return await self._build(state, found, asked_by, progress)
        except ContextMoved:
            rest_s = next(rests, None)
            if rest_s is None:
                raise
            await asyncio.sleep(rest_s)
            if self._inputs.is_restless(state.tool.name):  # then the watcher tells when they are at rest
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_REST_S):
                        await state.changes.wait()
            return None

    async def _build(self, state: ToolState, found: Identity, asked_by: str, progress: Progress) -> Image | None:
        """Build, try and promote; the image that serves then, None where it was given up because the files are others
        by now.
        """
        order = Order(
            tool=state.tool,
            asked_by=asked_by,
            found=found,
            recipe=state.seen.recipe,
            built_on=state.seen.built_on,
            replaced=state.replaced,
            is_over=lambda: state.over,
            promote=partial(self._promote, state, found),
        )
        attempt = await self._builder.begin(order)
        state.building = found.digest
        if not state.over:
            state.replaced.clear()
        if state.stale:
            self._restless(state)
        try:
            return await self._builder.carry_out(attempt, progress)
        finally:
            state.building = None
            if state.replaced.is_set():  # perhaps too late to give it up
                state.stale = True
            if attempt.failure is not None:
                state.fails(attempt.failure)
            await asyncio.shield(self._builder.end(attempt))

    async def _promote(self, state: ToolState, found: Identity, image: Image) -> Image:
        """Have the next runs take it, and the tools follow that are built on it; the image that they take, which is
        another one where the tool was pinned meanwhile.
        """
        name = state.tool.name
        promoted = await self._serving.promote(name, image, found.digest, wanted=lambda: not state.over)
        state.failure = None
        if not promoted:
            state.held = not state.over
            return await self._serving.current(name) or image
        self._promoted(state)
        return image

    async def _there(self, tool: str, digest: str) -> Image | None:
        """The build of that digest, also where somebody has taken its names away."""
        if (named := await self._serving.built(tool, digest)) is not None:
            return named
        for each in await self._builds.all(tool):
            if each.digest == digest and each.result is Result.GOOD and each.image_id is not None:
                return await self._images.find(each.image_id)
        return None

    async def _adopted(self, tool: Tool, image: Image, found: Identity, asked_by: str) -> Build:
        """The row of a build that was not made just now; another dx may have made it."""
        why, packed = "it was there already", found.parts.packed()
        return await self._builds.adopt(tool.name, found.digest, image.id, cause=why, asked_by=asked_by, parts=packed)

    async def _remember_failure(self, state: ToolState) -> None:
        """What a daemon before this one found out."""
        if not state.remembered:
            state.remembered = True
            last = next(iter(await self._builds.all(state.tool.name)), None)
            if last is not None and last.result is Result.FAILED:
                state.failure = Failure.of(state.tool.name, last.digest, last.id, last.error)
