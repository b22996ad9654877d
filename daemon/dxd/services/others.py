"""What somebody else does to the containers of a project, by `docker` or Compose: taken as their will.

Owned by the project's supervisor, which tells it the engine's events, and when the engine goes and comes back: what an
engine does on its way out, and on its return, is nobody's will. Nothing here fails.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId, EngineEvent
from dxd.errors import EngineTrouble
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.model import Will
from dxd.services.news import Attribution, News, What
from dxd.telemetry import get_logger

DYING_S = 20.0
"""An engine that stops ends its containers first, one after the other, before it is lost."""
TOLD_S = 5.0
"""That somebody has stopped a container is told after its end."""
RETURN_S = 60.0
"""For so long after the engine came back what it did on its return may still be told: whoever else has to see to it
goes first.
"""

log = get_logger("services")


class Others:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        attribution: Attribution,
        tasks: Tasks,
        saw: Callable[[ContainerId], None],
        goes_on: Callable[[], Awaitable[bool]],
        ago: Callable[[int], Awaitable[float]],
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`saw` is told which container to look at; `goes_on` says whether the engine takes connections still, and
        `ago` how many seconds ago a time of its clock was.
        """
        self._ledger = ledger
        self._attribution = attribution
        self._saw = saw
        self._goes_on = goes_on
        self._tasks = tasks
        self._wake = wake
        self._clock = clock
        self._ago = ago
        self._back_at: float | None = None
        """When the engine came in sight again."""
        self._stops: dict[ServiceName, asyncio.Task[None]] = {}

    def back(self) -> None:
        """The engine is in sight again."""
        self._back_at = self._clock()

    def lost(self) -> None:
        """The engine is out of sight: what ended just now may have been its doing, and what ends now is."""
        self._ledger.forgive(self._clock() - DYING_S, "the engine was restarted")
        # Who stopped something just now was the engine; one that is back at once would say that it goes on.
        for task in self._stops.values():
            task.cancel()
        self._stops.clear()

    def on_event(self, event: EngineEvent) -> None:
        """Something happened to a container of the project."""
        if (news := self._attribution.read(event)) is not None:
            self._hear(news, event.time_ns)

    def _hear(self, news: News, time_ns: int) -> None:
        """One event."""
        name = ServiceName(news.service)
        self._saw(news.container)
        self._wake()
        if name not in self._ledger.project.services:
            return
        if news.what is What.STOPPED and self._ledger.was_foretold(news.container):
            return
        if news.what is What.STARTED:
            if task := self._stops.pop(name, None):
                task.cancel()
            self._ledger.taken(name, Will.UP)
        elif news.what is What.STOPPED or (news.what is What.REMOVED and not self._others(name, news.container)):
            seen = self._ledger.get(news.container)
            run = seen.run if seen else ""
            returned = news.what is What.STOPPED and self._since_return() is not None
            self._ledger.excuse(run, "the engine was restarted" if returned else "stopped by somebody")
            taking = self._take_stop(name, news.container, run, time_ns if returned else None)
            self._stops[name] = task = self._tasks.start(taking, name=f"will of {name}")
            if seen is not None and not seen.busy:
                # Whose will it was is not known yet; one that dx starts meanwhile would look as if nobody wanted it.
                self._ledger.take(news.container)
                task.add_done_callback(partial(self._known, news.container))

    def _known(self, container: ContainerId, _: "asyncio.Task[None]") -> None:
        self._ledger.finish(container)
        self._wake()

    def _others(self, name: ServiceName, container: ContainerId) -> bool:
        return any(each.id != container for each in self._ledger.seen.of(name))

    def _since_return(self) -> float | None:
        """For how long the engine has been back; None where that is too long ago to matter."""
        if self._back_at is None or self._clock() - self._back_at > RETURN_S:
            return None
        return self._clock() - self._back_at

    async def _was_engines(self, time_ns: int) -> bool:
        """Whether that happened before the engine was back. One that was killed stops what it finds running when it
        starts again, and tells of that as if somebody had done it.

        Only spans are compared, its own of its own clock: neither that clock nor this machine's has to be right.
        """
        back_s = self._since_return()
        try:
            return back_s is not None and await self._ago(time_ns) >= back_s
        except EngineTrouble:
            return True  # it is away again, and whatever has ended is its doing

    async def _take_stop(self, name: ServiceName, container: ContainerId, run: str, time_ns: int | None) -> None:
        """Somebody has stopped it, unless it was the engine on its way out, which takes no connections any more, or on
        its return: `time_ns` is by its clock, where that may be.
        """
        if not await self._goes_on() or (time_ns is not None and await self._was_engines(time_ns)):
            return
        log.info("service was stopped by somebody else", project=self._ledger.project.name, service=name)
        now = self._ledger.get(container)
        if now is not None and now.runs and now.run != run:
            self._ledger.ask_stop([name])  # it had been started again before the news came
        else:
            self._ledger.taken(name, Will.DOWN)
            self._ledger.forgive(self._clock() - TOLD_S, "stopped by somebody", only=name)
        self._wake()
