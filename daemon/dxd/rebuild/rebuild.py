"""Which image a tool's runs take, where it is built: the one owner of what is built, tried and promoted.

A run asks `resolve`, which answers from memory unless something changed. What changed is told by the watcher, or found
at the run itself. The engine is the truth: a tag of this daemon's own (`names`) is on the image that runs take,
another one holds it there. A build has no tag before its trial has gone well.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent, Image, ImageId
from dxd.errors import BuildFailed, Conflict, DxError, EngineTrouble, ImageTrouble, NotFound, UnknownTool
from dxd.images import context
from dxd.images.context import ContextMoved
from dxd.images.dockerfile import Base
from dxd.images.identity import Identity, Memory, Parts, cause
from dxd.images.images import BUILD_LABEL, TOOL_LABEL, Images
from dxd.images.reading import identified
from dxd.images.weight import LARGE_BYTES, biggest
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks, unless
from dxd.rebuild import notice
from dxd.rebuild.bases import Bases
from dxd.rebuild.leftovers import Leftovers
from dxd.rebuild.moved import Moved, may_move
from dxd.rebuild.ownership import attempt_of
from dxd.rebuild.pins import Pins
from dxd.rebuild.policy import Do, Picture, decide
from dxd.rebuild.pulls import Pulls
from dxd.rebuild.serving import Serving
from dxd.rebuild.state import Failure, ToolState
from dxd.rebuild.terminal import session_of
from dxd.rebuild.told import Told
from dxd.rebuild.watching import same_watch, specs_of
from dxd.store.builds import Builds
from dxd.store.model import Build, BuildId, Result
from dxd.telemetry import get_logger
from dxd.tools.model import OnChange, Tool
from dxd.trust.tools import Tools
from dxd.watch.model import Problem as Unwatched
from dxd.watch.watcher import Watcher

LOOK_S = 2.0
"""How often dx.toml is looked at for tools that are new, and what could not be built is tried again."""
RESTS_S = (0.25, 1.0, 4.0)
"""At least, before a build whose files changed before they were sent is begun anew; after the last it is an error,
and tried again like everything that may pass by itself.
"""
LONGEST_REST_S = 15.0
"""Longer than the watcher's second word of a storm takes."""
NEWS_S = 0.1
"""After news of images their names are looked at: a pull or a build is several."""
SWEEP_S = 5.0
"""What was left over may stay, where the engine takes longer."""

Trial = Callable[[Tool, Image, Progress], Coroutine[Any, Any, None]]
"""Starts a container of the image, as a run of the tool would, and what the tool wants tried; raises `BuildFailed`."""

log = get_logger("rebuild")


class _Over(Exception):
    """The tool is defined otherwise than when the work began."""


def _check(state: ToolState) -> None:
    if state.over:
        raise _Over


class Rebuilds:
    """The images of tools that are built, and of all others by way of `Images`."""

    def __init__(
        self, *, engine: Engine, images: Images, tools: Tools, hub: Hub, builds: Builds, trial: Trial,
        serving: Serving, bases: Bases, pins: Pins, pulls: Pulls, limit_s: float, replace: Callable[[ImageId], None],
    ) -> None:  # fmt: skip
        """`limit_s` is for one build; `replace` is told of an image that no run is to take."""
        self._engine = engine
        self._images = images
        self._tools = tools
        self._hub = hub
        self._builds = builds
        self._trial = trial
        self._watch = Watcher(self.changed)
        self._serving = serving
        self._bases = bases
        self._pins = pins
        self._pulls = pulls
        self._moved = Moved(bases=bases, pins=pins)
        self._news = 0
        """How many news of images there were."""
        self._reading_news = False
        self._memory = Memory()
        self._limit_s = limit_s
        self._states: dict[str, ToolState] = {}
        self._gone: set[str] = set()
        """Tools that were removed, whose pins are to end."""
        self._leftovers = Leftovers(
            engine=engine, builds=builds, names=serving.names, replace=replace, building=self._building
        )
        self._begun = asyncio.Event()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def resolve(
        self, source: Tool | str, progress: Progress | None = None, *, rebuild: bool = False, caller: int = 0
    ) -> Image:
        """The image of a tool for a run, or that of a name; see `Images.resolve`.

        With `rebuild` the files are looked at now, whatever the tool says of changes; raises `Conflict` where it is
        pinned. `caller` is the process that
        wants to run, and is told of a failed build once in its terminal.
        """
        progress = progress or Silent()
        if isinstance(source, str) or source.build is None:
            return await self._pulls.resolve(source, progress, asked_by="run" if caller else "dx add")
        if rebuild:
            return await self._asked(source, "dx add", progress)
        current = await self._serving.current(source.name)
        if current is None:
            return await self._bring(source, "run", progress)
        state = self._state(source)
        if await self._may_be_stale(state):
            if source.on_change is OnChange.WAIT:
                before = state.failure
                try:
                    if not await self._serving.is_pinned(source.name):
                        current = await self._bring(source, "run", progress)
                except ImageTrouble:
                    pass  # told below
                except DxError as error:
                    if state.failure is before:  # else told below, too
                        progress.note(f"{error.line()}; until then the build before serves")
                state = self._states.get(source.name, state)
            elif source.on_change is OnChange.SERVE:
                self._begin_following(state)
        if state.failure is not None and (terminal := session_of(caller)) not in state.told:
            state.told.add(terminal)
            progress.note(f"{state.failure.line}; the build before it serves")
        return current

    async def follow(self, tool: Tool, progress: Progress) -> Image:
        """Build the tool if what it is built from is not what it was, whatever it says of changes; raises `Conflict`
        where it is pinned.
        """
        return await self._asked(tool, "upgrade", progress)

    async def inputs(self, tool: Tool, progress: Progress) -> str:
        """The digest of all that a tool is built from now. This is no look at it: what has changed is still built."""
        assert tool.build is not None
        recipe = await asyncio.to_thread(context.read, tool.build)
        return (await self._identity(tool, await self._bases.of(tool.build, recipe), {}, progress)).digest

    async def removed(self, name: str) -> None:
        """The tool is defined no more: what goes on for it is given up, and its pin ends. Its builds stay."""
        self._drop(name)
        self._gone.add(name)
        with suppress(EngineTrouble):  # tried again
            await self._end_pins()

    def changed(self, name: str) -> None:
        """Something that the tool is built from has changed; from the watcher."""
        if (state := self._states.get(name)) is None:
            return
        state.stale = True
        state.changes.set()
        if state.tool.on_change is not OnChange.MANUAL:
            self._begin_following(state)

    def on_event(self, event: EngineEvent) -> None:
        """Take note of what happened in the engine, after `Images` has."""
        if may_move(event):
            self._take_news()

    def _take_news(self) -> None:
        self._news += 1
        if not self._reading_news:
            self._reading_news = True
            self._tasks.spawn(self._read_news(), name="look at bases")

    async def _read_news(self) -> None:
        """Have the tools follow whose bases are other images by now."""
        try:
            await asyncio.sleep(NEWS_S)
        finally:
            self._reading_news = False
        for state in list(self._states.values()):
            try:
                await self._look_at_bases(state)
            except DxError as error:
                self._log_once(state, error)

    async def _look_at_bases(self, state: ToolState) -> None:
        """Whether they are what they were; raises `DxError`."""
        news = self._news
        if state.news != news and await self._moved.since(state.tool, state.built_on):
            self.changed(state.tool.name)
        state.news = max(news, state.news)

    async def keep(self) -> None:
        """Look after the tools that are defined, also those that nobody runs; an eternal job."""
        await self._builds.start()
        self._leftovers.expect()
        with suppress(EngineTrouble, ImageTrouble, TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                for tool in self._tools.all():
                    if tool.build is not None:
                        await self._serving.hold(tool.name)
        with suppress(EngineTrouble, TimeoutError):
            # Before anything is built: what is built anew may be the very image that was left over.
            async with asyncio.timeout(SWEEP_S):
                await self._leftovers.sweep()
        self._begun.set()
        while True:
            try:
                await self._look()
            except DxError as error:
                log.info("builds are not looked after", reason=error.line())
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        tools = {tool.name: tool for tool in self._tools.all() if tool.build is not None}
        for tool in tools.values():
            state = self._state(tool)
            if tool.on_change is OnChange.MANUAL or not state.is_due(time.monotonic()):
                continue
            if await self._serving.current(tool.name):
                self._begin_following(state)
        for name in self._states.keys() - tools.keys():
            self._drop(name)
            if not self._is_built(name):
                self._gone.add(name)
        await self._end_pins()
        await self._leftovers.sweep()

    def _drop(self, name: str) -> None:
        if (state := self._states.pop(name, None)) is not None:
            state.end()
            self._watch.drop(name)

    def _is_built(self, name: str) -> bool:
        """Whether the tool is one that is built, or would be if it were right and allowed."""
        try:
            return self._tools.get(name).build is not None
        except UnknownTool:
            return False
        except DxError:
            return True

    async def _end_pins(self) -> None:
        """Of tools that were removed, so that another one of that name begins anew. Raises `EngineTrouble`."""
        for name in tuple(self._gone):
            await self._serving.unpin(name)
            self._gone.discard(name)

    def engine_is_back(self) -> None:
        """It was away, or another one answers: what failed for that is tried again, and what was left over removed."""
        self._leftovers.expect()
        self._take_news()
        for state in self._states.values():
            state.hurry()

    def _building(self) -> set[str]:
        return {each.building for each in self._states.values() if each.building is not None}

    def failures(self) -> dict[str, str]:
        """By tool, why its newest build does not serve."""
        return {name: state.failure.line for name, state in self._states.items() if state.failure is not None}

    def unwatched(self) -> list[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""
        return self._watch.problems()

    async def close(self) -> None:
        """Watch nothing any more, and cancel what goes on."""
        await self._watch.close()
        await self._tasks.close()

    def _state(self, tool: Tool) -> ToolState:
        """What is known of a tool; raises `Conflict` where it is not built any more, or what is wrong with it."""
        state = self._states.get(tool.name)
        if state is not None and state.tool.build != tool.build:
            tool = self._tools.get(tool.name)  # whoever asks may have had it for a while
            if state.tool.build != tool.build:
                state.end()
                state = None
        if tool.build is None:
            raise Conflict(f"{tool.word} is defined otherwise by now", "try again")
        if state is None:
            state = self._states[tool.name] = ToolState(tool)
        state.tool = tool
        return state

    async def _may_be_stale(self, state: ToolState) -> bool:
        """`_is_stale`; after news of images, one who waits has the bases looked at first."""
        if state.tool.on_change is OnChange.WAIT and state.news != self._news:
            with suppress(EngineTrouble):
                await self._look_at_bases(state)
        return self._is_stale(state)

    def _is_stale(self, state: ToolState) -> bool:
        """Whether the files may be others than they were; one who waits believes no tree that is polled."""
        if state.recipe is None or self._watch.dirty(state.tool.name) or state.is_due(time.monotonic()):
            return True
        if self._pins.of(state.tool) != state.locked:
            return True
        return state.tool.on_change is OnChange.WAIT and not self._watch.sure(state.tool.name)

    def _begin_following(self, state: ToolState) -> None:
        if state.building is not None:
            if not state.looking:
                state.looking = True
                self._tasks.spawn(self._look_again(state), name=f"look at {state.tool.name}")
        elif not state.following:
            state.following = True
            self._tasks.spawn(self._follow(state), name=f"follow {state.tool.name}")

    async def _follow(self, state: ToolState) -> None:
        """Bring the tool up to date with its files; the watcher has waited until they came to rest."""
        try:
            await self._bring(state.tool, "change", Silent())
        except DxError as error:
            self._log_once(state, error)
        finally:
            state.following = False

    async def _look_again(self, state: ToolState) -> None:
        """While it is built: whoever builds gives up, and begins anew, when told that the files are others."""
        try:
            found = await self._identify(state, Silent())
            if state.building is None:
                state.stale = True
            elif found.digest != state.building:
                state.replaced.set()
        except DxError as error:
            self._log_once(state, error)
        finally:
            state.looking = False

    def _log_once(self, state: ToolState, error: DxError) -> None:
        if error.line() != state.logged:
            state.logged = error.line()
            log.info("build does not follow", tool=state.tool.name, reason=state.logged)

    async def _asked(self, tool: Tool, asked_by: str, progress: Progress) -> Image:
        """Bring it up to date because somebody wants that, who is told where it cannot be."""
        image = await self._bring(tool, asked_by, progress, asked=True)
        if self._state(tool).held:
            raise Conflict(
                f"{tool.name} is pinned to another build", f"to have it follow its files: dx unpin {tool.word}"
            )
        return image

    async def _bring(self, tool: Tool, asked_by: str, progress: Progress, *, asked: bool = False) -> Image:
        """Have the tool's image be what its files say now; those who ask at the same time share the work.

        Work that others have begun may have looked at the files before this was called. Then it is followed by a look
        of one's own, which costs little where it was right.
        """
        await self._begun.wait()
        key, alone = f"{tool.name} {asked}", False
        while True:
            state = self._state(tool)
            joins = not alone and state.work.is_going(key)
            try:
                image = await state.work.join(key, partial(self._brought, state, asked_by, asked), progress)
            except _Over:
                tool = self._tools.get(tool.name)
                continue
            except DxError:
                if not joins or not self._is_stale(state):
                    raise
            else:
                if not joins or not (asked or self._is_stale(state)):
                    return image
            alone = True  # what is joined from here on was begun after this was called

    async def _brought(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        async with state.turn:
            begun, before = time.monotonic(), state.failure
            try:
                image = await self._brought_in_turn(state, asked_by, asked, progress)
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

    async def _brought_in_turn(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        tool = state.tool
        await self._remember_failure(state)
        await self._end_pins()
        rests = iter(RESTS_S)
        while True:
            _check(state)
            found = await self._identify(state, progress)
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
                serves: Image | None = await self._promote(state, there, found)
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
            if self._watch.dirty(state.tool.name):  # then the watcher tells when they are at rest
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_REST_S):
                        await state.changes.wait()
            return None

    async def _adopted(self, tool: Tool, image: Image, found: Identity, asked_by: str) -> Build:
        """The row of a build that was not made just now; another dx may have made it."""
        why, packed = "it was there already", found.parts.packed()
        return await self._builds.adopt(tool.name, found.digest, image.id, cause=why, asked_by=asked_by, parts=packed)

    async def _there(self, tool: str, digest: str) -> Image | None:
        """The build of that digest, also where somebody has taken its names away."""
        if (named := await self._serving.built(tool, digest)) is not None:
            return named
        for each in await self._builds.all(tool):
            if each.digest == digest and each.result is Result.GOOD and each.image_id is not None:
                return await self._images.find(each.image_id)
        return None

    async def _remember_failure(self, state: ToolState) -> None:
        """What a daemon before this one found out."""
        if not state.remembered:
            state.remembered = True
            last = next(iter(await self._builds.all(state.tool.name)), None)
            if last is not None and last.result is Result.FAILED:
                state.failure = Failure.of(state.tool.name, last.digest, last.id, last.error)

    async def _identify(self, state: ToolState, progress: Progress) -> Identity:
        """What the tool's files amount to now. From here on the watcher tells of changes to them."""
        state.stale = False
        state.changes.clear()
        try:
            return await self._identified(state, progress)
        except BaseException:
            state.stale = True
            raise

    async def _identified(self, state: ToolState, progress: Progress) -> Identity:
        tool = state.tool
        assert tool.build is not None
        if state.recipe is not None and not state.over:
            self._watch.settled(tool.name)
        recipe = await asyncio.to_thread(context.read, tool.build)
        if not state.over and (state.recipe is None or not same_watch(state.recipe, recipe)):
            self._watch.set(tool.name, specs_of(tool.build, recipe))
            self._watch.settled(tool.name)
        state.recipe = recipe
        state.locked = self._pins.of(tool)
        needed, news = await self._bases.of(tool.build, recipe), self._news
        state.bases = tuple(each.name for each in needed)
        built_on: dict[str, ImageId] = {}
        found = await self._identity(tool, needed, built_on, progress)
        state.built_on, state.news = built_on, news
        return found

    async def _identity(
        self, tool: Tool, needed: Sequence[Base], built_on: dict[str, ImageId], progress: Progress
    ) -> Identity:
        """`built_on` is what the names of its bases mean, to be filled."""
        assert tool.build is not None
        bases: dict[str, str] = {}
        for each in needed:
            built_on[each.name], bases[each.key] = await self._base(each.name, tool, progress)
        platform = await self._images.platform()
        return await identified(
            tool.name, tool.build, platform=platform, bases=bases, memory=self._memory, progress=progress
        )

    async def _base(self, ref: str, above: Tool, progress: Progress) -> tuple[ImageId, str]:
        """An image that the tool's is built on, and what it counts as: its id, but that of another tool, which is
        brought up to date first, the digest of its build, so that it is the same on every machine, and when it had to
        be built again.
        """
        tool = self._bases.tool_of(ref, above)
        if tool is None or tool.name == above.name:
            image = await self._pins.base(above, ref, progress)
            return image.id, image.id
        if await self._bases.leads_to(tool, above.name):
            both = f"{above.name} and {tool.name}"
            raise BuildFailed(f"{both} are built on each other", "build one of them without the other")
        image = await self._bring(tool, f"build of {above.name}", progress)
        await self._serving.lend(tool.name, image)
        return image.id, image.labels[BUILD_LABEL]

    async def _build(self, state: ToolState, found: Identity, asked_by: str, progress: Progress) -> Image | None:
        """Build, try and promote; the image that serves then, None where it was given up because the files are others
        by now.
        """
        tool = state.tool
        built_on = state.built_on
        build = await self._recorded(tool, found, asked_by)
        told = Told(progress, partial(self._builds.tell, build))
        state.building = found.digest
        if not state.over:
            state.replaced.clear()
        if state.stale:  # something has changed since its files were looked at
            self._begin_following(state)
        made: ImageId | None = None
        result, error = Result.CANCELLED, ""
        try:
            if found.size_bytes > LARGE_BYTES and state.recipe is not None:
                told.note((await asyncio.to_thread(biggest, state.recipe)).line())
            async with asyncio.timeout(self._limit_s):
                made = await unless(state.replaced, self._made(tool, found, build, told))
            # What a name means by now may be in it, where the digest has what it meant before.
            if made is None or await self._moved.since(tool, built_on, of_tools=True):
                return None
            serves = await self._tried(state, made, found, build, told)
            if serves is not None:
                result = Result.GOOD
            return serves
        except TimeoutError:
            result, error = Result.FAILED, f"building {tool.name} took more than {_span(self._limit_s)}"
            self._builds.tell(build, error)
            hint = f"see: dx builds log {build}; build_limit_s in [daemon] of dx.toml is the limit"
            raise BuildFailed(error, hint) from None
        except ContextMoved as moved:
            error = moved.message
            self._builds.tell(build, error)
            raise
        except ImageTrouble as trouble:
            result, error = Result.FAILED, trouble.message
            raise
        except EngineTrouble as trouble:
            # Nothing is said of the files by that: the same build is tried again.
            error = trouble.message
            state.fails(Failure("", f"{tool.name}: its new build was broken off: {trouble.line()}"))
            self._builds.tell(build, error)
            raise
        finally:
            state.building = None
            if state.replaced.is_set():  # perhaps too late to give it up
                state.stale = True
            if result is Result.FAILED:
                state.fails(Failure.of(tool.name, found.digest, build, error))
                title = f"The build of {tool.name} failed"
                self._tasks.spawn(notice.tell(title, f"{error}\ndx builds log {build}"), name="notification")
            await asyncio.shield(self._ended(tool, build, result, made, error))

    async def _recorded(self, tool: Tool, found: Identity, asked_by: str) -> BuildId:
        """A build begins, for all who want to know."""
        before = await self._builds.last_parts(tool.name)
        why = "the first build" if before is None else cause(Parts.unpacked(before), found.parts)
        packed = found.parts.packed()
        build = await self._builds.begin(tool.name, found.digest, cause=why, asked_by=asked_by, parts=packed)
        self._hub.publish("build.started", tool=tool.name, build=build, cause=why)
        return build

    async def _made(self, tool: Tool, found: Identity, build: BuildId, progress: Progress) -> ImageId:
        """The image, without a tag; history knows it."""
        assert tool.build is not None
        made = await self._images.build(
            tool.word,
            tool.build,
            found,
            progress,
            builder=self._serving.names.instance,
            attempt=attempt_of(await self._builds.get(build)),
            pins=await self._pins.names(tool),
        )
        await self._builds.made(build, made)
        return made

    async def _tried(
        self, state: ToolState, made: ImageId, found: Identity, build: BuildId, told: Told
    ) -> Image | None:
        """Try what was made, and have it serve; the image that serves then, None where it was given up."""
        image = await self._images.inspect(made)
        await unless(state.replaced, self._trial(state.tool, image, told))
        if state.replaced.is_set():
            return None
        serves = await self._promote(state, image, found)
        if serves is image:
            await self._builds.serves(build)
        elif not state.over:
            how = f"to have it serve: dx unpin {state.tool.word}"
            told.note(f"{state.tool.name} is pinned, so this build is only kept; {how}")
        return serves

    async def _ended(self, tool: Tool, build: BuildId, result: Result, made: ImageId | None, error: str) -> None:
        if result is not Result.GOOD and made is not None:
            with suppress(EngineTrouble):
                held = await self._engine.images({TOOL_LABEL: tool.word})
                if not any(each.tags for each in held if each.id == made):
                    await self._engine.remove_image(made)
        if result is not Result.GOOD:
            self._leftovers.expect()
        ended = await self._builds.end(build, result, image_id=made if result is Result.GOOD else None, error=error)
        seconds = None if ended.seconds is None else round(ended.seconds, 3)
        log.info("build", tool=tool.name, build=build, result=result.value, seconds=seconds, reason=error)
        self._hub.publish("build.finished", tool=tool.name, build=build, result=result.value, error=error)

    async def _promote(self, state: ToolState, image: Image, found: Identity) -> Image:
        """Have the next runs take it, and the tools follow that are built on it; the image that they take, which is
        another one where the tool was pinned meanwhile.
        """
        name = state.tool.name
        promoted = await self._serving.promote(name, image, found.digest, wanted=lambda: not state.over)
        state.failure = None
        if not promoted:
            state.held = not state.over
            return await self._serving.current(name) or image
        for other in self._states.values():
            if other is not state and not set(self._serving.names.bases(name)).isdisjoint(other.bases):
                self.changed(other.tool.name)
        return image


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
