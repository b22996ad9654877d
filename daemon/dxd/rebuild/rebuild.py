"""Which image a tool's runs take, where it is built: the one owner of what is built, tried and promoted.

A run asks `resolve`, which answers from memory unless something changed. What changed is told by the watcher, or found
at the run itself. The engine is the truth: a tag of this daemon's own (`names`) is on the image that runs take,
another one holds it there. A build has no tag before its trial has gone well.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.errors import BuildFailed, DxError, EngineTrouble, ImageTrouble, NotFound
from dxd.images import context
from dxd.images.identity import Identity, Memory, Parts, cause
from dxd.images.images import BUILD_LABEL, TOOL_LABEL, Images
from dxd.images.reading import identified
from dxd.images.shared import Shared
from dxd.images.weight import LARGE_BYTES, biggest
from dxd.kit.hub import Hub
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks
from dxd.rebuild import notice
from dxd.rebuild.bases import Bases
from dxd.rebuild.leftovers import Leftovers
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
from dxd.store.model import BuildId, Result
from dxd.telemetry import get_logger
from dxd.tools.model import OnChange, Tool
from dxd.trust.tools import Tools
from dxd.watch.model import Problem as Unwatched
from dxd.watch.watcher import Watcher

LOOK_S = 2.0
"""How often dx.toml is looked at for tools that are new, and what could not be built is tried again."""
SWEEP_S = 5.0
"""What was left over may stay, where the engine takes longer."""

Trial = Callable[[Tool, Image, Progress], Awaitable[None]]
"""Starts a container of the image, as a run of the tool would, and what the tool wants tried; raises `BuildFailed`."""

log = get_logger("rebuild")


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
        self._memory = Memory()
        self._limit_s = limit_s
        self._states: dict[str, ToolState] = {}
        self._leftovers = Leftovers(
            engine=engine, builds=builds, names=serving.names, replace=replace, building=self._building
        )
        self._work: Shared[Image] = Shared()
        self._begun = asyncio.Event()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def resolve(
        self, source: Tool | str, progress: Progress | None = None, *, rebuild: bool = False, caller: int = 0
    ) -> Image:
        """The image of a tool for a run, or that of a name; see `Images.resolve`.

        With `rebuild` the files are looked at now, whatever the tool says of changes. `caller` is the process that
        wants to run, and is told of a failed build once in its terminal.
        """
        progress = progress or Silent()
        if isinstance(source, str) or source.build is None:
            return await self._pulls.resolve(source, progress, asked_by="run" if caller else "dx add")
        state = self._state(source)
        if self._pins.of(source) != state.locked:
            state.stale = True
        if rebuild:
            return await self._bring(state, "dx add", progress, asked=True)
        current = await self._serving.current(source.name)
        if current is None:
            return await self._bring(state, "run", progress)
        if self._is_stale(state):
            if source.on_change is OnChange.WAIT:
                before = state.failure
                try:
                    current = await self._bring(state, "run", progress)
                except ImageTrouble:
                    pass  # told below
                except EngineTrouble as error:
                    if state.failure is before:  # else told below, too
                        progress.note(f"{error.line()}; until then the build before serves")
            elif source.on_change is OnChange.SERVE:
                self._begin_following(state)
        if state.failure is not None and (terminal := session_of(caller)) not in state.told:
            state.told.add(terminal)
            progress.note(f"{state.failure.line}; the build before it serves")
        return current

    async def follow(self, tool: Tool, progress: Progress) -> Image:
        """Build the tool if what it is built from is not what it was, whatever it says of changes."""
        return await self._bring(self._state(tool), "upgrade", progress, asked=True)

    async def inputs(self, tool: Tool, progress: Progress) -> str:
        """The digest of all that a tool is built from now."""
        state = self._state(tool)
        async with state.turn:
            return (await self._identify(state, progress)).digest

    def changed(self, name: str) -> None:
        """Something that the tool is built from has changed; from the watcher."""
        if (state := self._states.get(name)) is None:
            return
        state.stale = True
        if state.tool.on_change is not OnChange.MANUAL:
            self._begin_following(state)

    async def keep(self) -> None:
        """Look after the tools that are defined, also those that nobody runs; an eternal job."""
        await self._builds.start()
        self._leftovers.expect()
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
            del self._states[name]
            self._watch.drop(name)
        await self._leftovers.sweep()

    def engine_is_back(self) -> None:
        """It was away, or another one answers: what failed for that is tried again, and what was left over removed."""
        self._leftovers.expect()
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
        state = self._states.get(tool.name)
        if state is None or state.tool.build != tool.build:
            state = self._states[tool.name] = ToolState(tool)
        state.tool = tool
        return state

    def _is_stale(self, state: ToolState) -> bool:
        """Whether the files may be others than they were; one who waits believes no tree that is polled."""
        if state.recipe is None or self._watch.dirty(state.tool.name) or state.is_due(time.monotonic()):
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
            await self._bring(state, "change", Silent())
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

    async def _bring(self, state: ToolState, asked_by: str, progress: Progress, *, asked: bool = False) -> Image:
        """Have the tool's image be what its files say; those who ask at the same time share the work."""
        await self._begun.wait()
        work = partial(self._brought, state, asked_by, asked)
        return await self._work.join(f"{state.tool.name} {asked}", work, progress)

    async def _brought(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        async with state.turn:
            begun = time.monotonic()
            try:
                image = await self._brought_in_turn(state, asked_by, asked, progress)
            except DxError as error:
                if isinstance(error, EngineTrouble) or (state.failure is not None and not state.failure.digest):
                    state.rests(begun, time.monotonic())
                else:
                    state.rested()
                raise
            except BaseException:
                state.stale = True
                raise
            state.rested()
            return image

    async def _brought_in_turn(self, state: ToolState, asked_by: str, asked: bool, progress: Progress) -> Image:
        tool = state.tool
        await self._remember_failure(state)
        while True:
            try:
                found = await self._identify(state, progress)
            except ImageTrouble as error:
                state.fails(Failure("", f"{tool.name}: {error.line()}"))
                raise
            current = await self._serving.current(tool.name)
            there = await self._there(tool.name, found.digest)
            picture = Picture(
                wanted=found.digest,
                current=current.labels.get(BUILD_LABEL) if current else None,
                is_there=there is not None,
                failed=state.failure.digest if state.failure else None,
                pinned=await self._serving.is_pinned(tool.name),
                manual=tool.on_change is OnChange.MANUAL,
                asked=asked,
            )
            decision = decide(picture)
            if decision.do is Do.NOTHING:
                if current is None:
                    raise NotFound(f"{tool.name} has no build", f"run: dx upgrade {tool.word}")
                if picture.current == found.digest:
                    state.failure = None
                return current
            if decision.do is Do.PROMOTE:
                assert there is not None
                await self._promote(state, there, found)
                return there
            image = await self._build(state, found, asked_by, progress)
            if image is not None:
                return image
            progress.note(f"what {tool.name} is built from has changed; building it again")

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
        try:
            return await self._identified(state, progress)
        except BaseException:
            state.stale = True
            raise

    async def _identified(self, state: ToolState, progress: Progress) -> Identity:
        tool = state.tool
        assert tool.build is not None
        if state.recipe is not None:
            self._watch.settled(tool.name)
        recipe = await asyncio.to_thread(context.read, tool.build)
        if state.recipe is None or not same_watch(state.recipe, recipe):
            self._watch.set(tool.name, specs_of(tool.build, recipe))
            self._watch.settled(tool.name)
        state.recipe = recipe
        state.locked = self._pins.of(tool)
        needed = await self._bases.of(tool.build, recipe)
        state.bases = tuple(each.name for each in needed)
        bases = {each.key: await self._base(each.name, state, progress) for each in needed}
        platform = await self._images.platform()
        return await identified(
            tool.name, tool.build, platform=platform, bases=bases, memory=self._memory, progress=progress
        )

    async def _base(self, ref: str, state: ToolState, progress: Progress) -> str:
        """What an image counts as that the tool's is built on: its id, but that of another tool, which is brought up to
        date first, the digest of its build, so that it is the same on every machine, and when it had to be built again.
        """
        tool = self._bases.tool_of(ref, state.tool)
        if tool is None or tool.name == state.tool.name:
            return (await self._pins.base(state.tool, ref, progress)).id
        if await self._bases.leads_to(tool, state.tool.name):
            both = f"{state.tool.name} and {tool.name}"
            raise BuildFailed(f"{both} are built on each other", "build one of them without the other")
        image = await self._bring(self._state(tool), f"build of {state.tool.name}", progress)
        await self._serving.lend(tool.name, image)
        return image.labels[BUILD_LABEL]

    async def _build(self, state: ToolState, found: Identity, asked_by: str, progress: Progress) -> Image | None:
        """Build, try and promote; None where it was given up because the files are others by now."""
        tool = state.tool
        assert tool.build is not None
        before = await self._builds.last_good(tool.name)
        why = "the first build"
        if before is not None:
            why = cause(Parts.unpacked(await self._builds.parts(before.id)), found.parts)
        packed = found.parts.packed()
        build = await self._builds.begin(tool.name, found.digest, cause=why, asked_by=asked_by, parts=packed)
        self._hub.publish("build.started", tool=tool.name, build=build, cause=why)
        told = Told(progress, partial(self._builds.tell, build))
        state.building = found.digest
        state.replaced.clear()
        if state.stale:  # something has changed since its files were looked at
            self._begin_following(state)
        image: Image | None = None
        made: ImageId | None = None
        result, error = Result.CANCELLED, ""
        try:
            if found.size_bytes > LARGE_BYTES and state.recipe is not None:
                told.note((await asyncio.to_thread(biggest, state.recipe)).line())
            async with asyncio.timeout(self._limit_s):
                made = await self._made(state, found, attempt_of(await self._builds.get(build)), told)
            if made is not None:
                await self._builds.made(build, made)
                image = await self._images.inspect(made)
                await self._trial(tool, image, told)
                await self._promote(state, image, found)
                result = Result.GOOD
            return image
        except TimeoutError:
            result, error = Result.FAILED, f"building {tool.name} took more than {_span(self._limit_s)}"
            self._builds.tell(build, error)
            hint = f"see: dx builds log {build}; build_limit_s in [daemon] of dx.toml is the limit"
            raise BuildFailed(error, hint) from None
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

    async def _made(self, state: ToolState, found: Identity, attempt: str, progress: Progress) -> ImageId | None:
        """The image, without a tag; None where it was given up because the files are others by now."""
        tool = state.tool
        assert tool.build is not None
        building = asyncio.create_task(
            self._images.build(
                tool.word,
                tool.build,
                found.digest,
                progress,
                builder=self._serving.names.instance,
                attempt=attempt,
                pins=await self._pins.names(tool),
            )
        )
        replaced = asyncio.create_task(state.replaced.wait())
        try:
            await asyncio.wait((building, replaced), return_when=asyncio.FIRST_COMPLETED)
            return building.result() if building.done() else None
        finally:
            for task in (building, replaced):
                task.cancel()
            await asyncio.wait((building, replaced))

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

    async def _promote(self, state: ToolState, image: Image, found: Identity) -> None:
        """Have the next runs take it, and the tools follow that are built on it."""
        name = state.tool.name
        await self._serving.serve(name, image, found.digest)
        state.failure = None
        for other in self._states.values():
            if other is not state and not set(self._serving.names.bases(name)).isdisjoint(other.bases):
                self.changed(other.tool.name)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
