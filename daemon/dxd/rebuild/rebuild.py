"""Which image a tool's runs take, where it is built: the one owner of what is built, tried and promoted.

A run asks `resolve`, which answers from memory unless something changed. What changed is told by the watcher, or found
at the run itself; `Updater` then brings the tool up to date. The engine is the truth: a tag of this daemon's own
(`names`) is on the image that runs take, another one holds it there.

`Rebuilds` owns the states of tools, the tasks that follow changes, and the parts that only it uses; whoever makes it
closes it. What is raised is said where it is: errors of files are `ImageTrouble`, those of the engine `EngineTrouble`,
and what failed in the background is in `failures` and the log.
"""

import asyncio
import time
from contextlib import suppress
from functools import partial

from dxd.engine.model import EngineEvent, Image
from dxd.errors import Conflict, DxError, EngineTrouble, ImageTrouble
from dxd.images.images import Images
from dxd.kit.progress import Progress, Silent
from dxd.kit.tasks import Tasks
from dxd.rebuild.bases import Bases
from dxd.rebuild.builder import Builder
from dxd.rebuild.gone import Gone
from dxd.rebuild.inputs import Inputs
from dxd.rebuild.leftovers import Leftovers
from dxd.rebuild.moved import Moved
from dxd.rebuild.news import News, may_move
from dxd.rebuild.pins import Pins
from dxd.rebuild.pulls import Pulls
from dxd.rebuild.serving import Serving
from dxd.rebuild.state import ToolState
from dxd.rebuild.states import States
from dxd.rebuild.terminal import session_of
from dxd.rebuild.updater import Over, Updater
from dxd.store.builds import Builds
from dxd.telemetry import get_logger
from dxd.tools.model import OnChange, Tool
from dxd.trust.tools import Tools
from dxd.watch.model import Problem as Unwatched

LOOK_S = 2.0
"""How often dx.toml is looked at for tools that are new, and what could not be built is tried again."""
SWEEP_S = 5.0
"""What was left over may stay, where the engine takes longer."""

log = get_logger("rebuild")


class Rebuilds:
    """The images of tools that are built, and of all others by way of `Images`."""

    def __init__(
        self, *, images: Images, tools: Tools, builds: Builds, serving: Serving, bases: Bases, pins: Pins,
        moved: Moved, pulls: Pulls, states: States, builder: Builder, leftovers: Leftovers,
    ) -> None:  # fmt: skip
        self._tools = tools
        self._builds = builds
        self._serving = serving
        self._pulls = pulls
        self._states = states
        self._leftovers = leftovers
        self._begun = asyncio.Event()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._news = News(tasks=self._tasks, look=self._look_at_bases)
        self._gone = Gone(tools=tools, serving=serving)
        self._inputs = Inputs(
            images=images,
            bases=bases,
            pins=pins,
            serving=serving,
            moved=moved,
            news=self._news,
            bring=self._bring,
            changed=self.changed,
        )
        self._updater = Updater(
            images=images,
            builds=builds,
            serving=serving,
            inputs=self._inputs,
            builder=builder,
            gone=self._gone,
            promoted=self._promoted,
            restless=self._begin_following,
        )

    async def resolve(
        self, source: Tool | str, progress: Progress | None = None, *, rebuild: bool = False, caller: int = 0
    ) -> Image:
        """The image of a tool for a run, or that of a name; see `Images.resolve`.

        With `rebuild` the files are looked at now, whatever the tool says of changes; raises `Conflict` where it is
        pinned. `caller` is the process that wants to run, and is told of a failed build once in its terminal.
        """
        progress = progress or Silent()
        if isinstance(source, str) or source.build is None:
            return await self._pulls.resolve(source, progress, asked_by="run" if caller else "dx add")
        if rebuild:
            return await self._asked(source, "dx add", progress)
        current = await self._serving.current(source.name)
        if current is None:
            return await self._bring(source, "run", progress)
        state = self._states.of(source)
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
                state = self._states.find(source.name) or state
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
        return await self._inputs.digest(tool, progress)

    async def removed(self, name: str) -> None:
        """The tool is defined no more: what goes on for it is given up, and its pin ends. Its builds stay."""
        self._drop(name)
        self._gone.add(name)
        with suppress(EngineTrouble):  # tried again
            await self._gone.end_pins()

    def changed(self, name: str) -> None:
        """Something that the tool is built from has changed; from the watcher."""
        if (state := self._states.find(name)) is None:
            return
        state.stale = True
        state.changes.set()
        if state.tool.on_change is not OnChange.MANUAL:
            self._begin_following(state)

    def on_event(self, event: EngineEvent) -> None:
        """Take note of what happened in the engine, after `Images` has."""
        if may_move(event):
            self._news.take()

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
            state = self._states.of(tool)
            if tool.on_change is OnChange.MANUAL or not state.is_due(time.monotonic()):
                continue
            if await self._serving.current(tool.name):
                self._begin_following(state)
        for state in self._states.all():
            if state.tool.name not in tools:
                self._drop(state.tool.name)
                self._gone.add_unless_built(state.tool.name)
        await self._gone.end_pins()
        await self._leftovers.sweep()

    def _drop(self, name: str) -> None:
        if self._states.drop(name):
            self._inputs.drop(name)

    def engine_is_back(self) -> None:
        """It was away, or another one answers: what failed for that is tried again, and what was left over removed."""
        self._leftovers.expect()
        self._news.take()
        for state in self._states.all():
            state.hurry()

    def failures(self) -> dict[str, str]:
        """By tool, why its newest build does not serve."""
        return self._states.failures()

    def unwatched(self) -> list[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""
        return self._inputs.unwatched()

    async def close(self) -> None:
        """Watch nothing any more, and cancel what goes on."""
        await self._inputs.close()
        await self._tasks.close()

    async def _may_be_stale(self, state: ToolState) -> bool:
        """Whether the tool's build may be another one. One who waits does so for what others have begun, and after news
        of images has the bases looked at first.
        """
        waits = state.tool.on_change is OnChange.WAIT
        if waits and self._inputs.has_news(state):
            with suppress(EngineTrouble):
                await self._look_at_bases_of(state)
        return self._inputs.may_differ(state) or (waits and (state.following or state.turn.locked()))

    async def _look_at_bases(self) -> None:
        """Have the tools follow whose bases are other images by now."""
        for state in self._states.all():
            try:
                await self._look_at_bases_of(state)
            except DxError as error:
                self._log_once(state, error)

    async def _look_at_bases_of(self, state: ToolState) -> None:
        """Have it follow where they are not what they were; raises `DxError`."""
        if await self._inputs.bases_moved(state):
            self.changed(state.tool.name)

    def _promoted(self, state: ToolState) -> None:
        """Have the tools follow that are built on this one."""
        names = self._serving.names.bases(state.tool.name)
        for other in self._states.all():
            if other is not state and not set(names).isdisjoint(other.seen.bases):
                self.changed(other.tool.name)

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
            found = await self._updater.look(state, Silent())
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
        if self._states.of(tool).held:
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
            state = self._states.of(tool)
            joins = not alone and state.work.is_going(key)
            try:
                image = await state.work.join(key, partial(self._updater.bring, state, asked_by, asked), progress)
            except Over:
                tool = self._tools.get(tool.name)
                continue
            except DxError:
                if not joins or not self._inputs.may_differ(state):
                    raise
            else:
                if not joins or not (asked or self._inputs.may_differ(state)):
                    return image
            alone = True  # what is joined from here on was begun after this was called
