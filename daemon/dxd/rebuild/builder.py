"""One build: recorded, made, tried, promoted and ended, or given up on the way.

`Updater` orders one when the files of a tool are others than those of the build that serves, and ends each that it
began. What becomes of a build is in its `Attempt`, to which only `Builder` writes; history has it from its beginning to
its end, and so have its log and the news. An image has no tag before its trial has gone well, and what was made of a
build that did not end well is removed.

What is wrong with the files raises `ImageTrouble`, also where they took too long; `ContextMoved` says that they changed
before they were sent, and `EngineTrouble` that the engine could not build, neither of which is their fault.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.errors import BuildFailed, EngineTrouble, ImageTrouble
from dxd.images.context import ContextMoved, Recipe
from dxd.images.identity import Identity, Parts, cause
from dxd.images.images import TOOL_LABEL, Images
from dxd.images.weight import LARGE_BYTES, biggest
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress
from dxd.kit.tasks import Tasks, unless
from dxd.rebuild import notice
from dxd.rebuild.leftovers import Leftovers
from dxd.rebuild.moved import Moved
from dxd.rebuild.names import Names
from dxd.rebuild.ownership import attempt_of
from dxd.rebuild.pins import Pins
from dxd.rebuild.state import Failure
from dxd.rebuild.told import Told
from dxd.store.builds import Builds
from dxd.store.model import BuildId, Result
from dxd.telemetry import get_logger
from dxd.tools.model import Tool

Trial = Callable[[Tool, Image, Progress], Coroutine[Any, Any, None]]
"""Starts a container of the image, as a run of the tool would, and what the tool wants tried; raises `BuildFailed`."""

log = get_logger("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A build that is wanted, and how whoever wants it is asked and told meanwhile."""

    tool: Tool
    asked_by: str
    found: Identity
    """What its files amounted to when they were looked at."""
    recipe: Recipe | None
    built_on: Mapping[str, ImageId]
    """What the names of its bases meant then."""
    replaced: asyncio.Event
    """Set when it is of no use any more."""
    is_over: Callable[[], bool]
    """Whether the tool is defined otherwise by now."""
    promote: Callable[[Image], Awaitable[Image]]
    """Have the next runs take what was made; the image that they take, another one where the tool was pinned."""


@dataclass(slots=True, eq=False)
class Attempt:
    """What has become of a build by now."""

    order: Order
    build: BuildId
    made: ImageId | None = None
    result: Result = Result.CANCELLED
    error: str = ""
    failure: Failure | None = None
    """Why it does not serve, where anybody is to be told."""


class Builder:
    """Makes builds of tools; knows of each no more than its order, and of none when it has ended."""

    def __init__(
        self, *, engine: Engine, images: Images, builds: Builds, hub: Hub, names: Names, pins: Pins, moved: Moved,
        trial: Trial, leftovers: Leftovers, limit_s: float,
    ) -> None:  # fmt: skip
        """`limit_s` is for one build."""
        self._engine = engine
        self._images = images
        self._builds = builds
        self._hub = hub
        self._names = names
        self._pins = pins
        self._moved = moved
        self._trial = trial
        self._leftovers = leftovers
        self._limit_s = limit_s
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def begin(self, order: Order) -> Attempt:
        """A build begins, for all who want to know; whoever calls this has it carried out, and ends it."""
        tool, found = order.tool, order.found
        before = await self._builds.last_parts(tool.name)
        why = "the first build" if before is None else cause(Parts.unpacked(before), found.parts)
        packed = found.parts.packed()
        build = await self._builds.begin(tool.name, found.digest, cause=why, asked_by=order.asked_by, parts=packed)
        self._hub.publish("build.started", tool=tool.name, build=build, cause=why)
        return Attempt(order, build)

    async def carry_out(self, attempt: Attempt, progress: Progress) -> Image | None:
        """Build, try and promote; the image that serves then, None where it was given up because the files are others
        by now.
        """
        order, build = attempt.order, attempt.build
        tool = order.tool
        told = Told(progress, partial(self._builds.tell, build))
        try:
            if order.found.size_bytes > LARGE_BYTES and order.recipe is not None:
                told.note((await asyncio.to_thread(biggest, order.recipe)).line())
            async with asyncio.timeout(self._limit_s):
                attempt.made = await unless(order.replaced, self._made(attempt, told))
            # What a name means by now may be in it, where the digest has what it meant before.
            if attempt.made is None or await self._moved.since(tool, order.built_on, of_tools=True):
                return None
            serves = await self._tried(attempt, attempt.made, told)
            if serves is not None:
                attempt.result = Result.GOOD
            return serves
        except TimeoutError:
            error = f"building {tool.name} took more than {_span(self._limit_s)}"
            self._failed(attempt, error)
            self._builds.tell(build, error)
            hint = f"see: dx builds log {build}; build_limit_s in [daemon] of dx.toml is the limit"
            raise BuildFailed(error, hint) from None
        except ContextMoved as moved:
            attempt.error = moved.message
            self._builds.tell(build, attempt.error)
            raise
        except ImageTrouble as trouble:
            self._failed(attempt, trouble.message)
            raise
        except EngineTrouble as trouble:
            # Nothing is said of the files by that: the same build is tried again.
            attempt.error = trouble.message
            attempt.failure = Failure("", f"{tool.name}: its new build was broken off: {trouble.line()}")
            self._builds.tell(build, attempt.error)
            raise

    async def end(self, attempt: Attempt) -> None:
        """It is over, however that came: what nobody needs of it goes, and history, the log and people are told."""
        tool, build, result, error = attempt.order.tool, attempt.build, attempt.result, attempt.error
        if result is Result.FAILED:
            title = f"The build of {tool.name} failed"
            self._tasks.spawn(notice.tell(title, f"{error}\ndx builds log {build}"), name="notification")
        if result is not Result.GOOD:
            if attempt.made is not None:
                await self._removed(tool, attempt.made)
            self._leftovers.expect()
        image = attempt.made if result is Result.GOOD else None
        ended = await self._builds.end(build, result, image_id=image, error=error)
        seconds = None if ended.seconds is None else round(ended.seconds, 3)
        log.info("build", tool=tool.name, build=build, result=result.value, seconds=seconds, reason=error)
        self._hub.publish("build.finished", tool=tool.name, build=build, result=result.value, error=error)

    async def close(self) -> None:
        """Cancel what is still being told; builds are ended by whoever began them."""
        await self._tasks.close()

    def _failed(self, attempt: Attempt, error: str) -> None:
        order = attempt.order
        attempt.result, attempt.error = Result.FAILED, error
        attempt.failure = Failure.of(order.tool.name, order.found.digest, attempt.build, error)

    async def _made(self, attempt: Attempt, progress: Progress) -> ImageId:
        """The image, without a tag; history knows it."""
        order = attempt.order
        assert order.tool.build is not None
        made = await self._images.build(
            order.tool.word,
            order.tool.build,
            order.found,
            progress,
            builder=self._names.instance,
            attempt=attempt_of(await self._builds.get(attempt.build)),
            pins=await self._pins.names(order.tool),
        )
        await self._builds.made(attempt.build, made)
        return made

    async def _tried(self, attempt: Attempt, made: ImageId, told: Told) -> Image | None:
        """Try what was made, and have it serve; the image that serves then, None where it was given up."""
        order = attempt.order
        image = await self._images.inspect(made)
        await unless(order.replaced, self._trial(order.tool, image, told))
        if order.replaced.is_set():
            return None
        serves = await order.promote(image)
        if serves is image:
            await self._builds.serves(attempt.build)
        elif not order.is_over():
            how = f"to have it serve: dx unpin {order.tool.word}"
            told.note(f"{order.tool.name} is pinned, so this build is only kept; {how}")
        return serves

    async def _removed(self, tool: Tool, made: ImageId) -> None:
        """What was made, unless somebody has given it a name."""
        with suppress(EngineTrouble):
            held = await self._engine.images({TOOL_LABEL: tool.word})
            if not any(each.tags for each in held if each.id == made):
                await self._engine.remove_image(made)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
