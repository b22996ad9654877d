"""What somebody else does is taken as their will, and what the engine does on its way out and back is nobody's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId, EngineEvent
from dxd.errors import EngineDown
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.model import Will
from dxd.services.news import SERVICE, Attribution
from dxd.services.others import RETURN_S, Others
from tests.dxd.services.projects import instance, ledger, service
from tests.waiting import until_turned

DB = ServiceName("db")


class Scene:
    """`db` runs, and the engine answers or not."""

    def __init__(self) -> None:
        self.book = ledger(service("db", restart="always"))
        self.book.look([instance("db")], 10)
        self.answers = True
        self.slow: Callable[[], Awaitable[object]] = self._at_once
        self.now = 100.0
        self.engine_ns = 10**18
        """What time it is by the engine's clock."""
        self.saw: list[ContainerId] = []
        self.tasks = Tasks(self._failed)
        self.others = Others(
            ledger=self.book,
            attribution=Attribution(),
            tasks=self.tasks,
            saw=self.saw.append,
            goes_on=self._goes_on,
            ago=self._ago,
            wake=lambda: None,
            clock=lambda: self.now,
        )

    async def _goes_on(self) -> bool:
        await self.slow()
        return self.answers

    async def _at_once(self) -> None:
        """It takes no time to answer."""

    async def _ago(self, time_ns: int) -> float:
        if not self.answers:
            raise EngineDown("it is away", "start it")
        return (self.engine_ns - time_ns) / 1e9

    def passes(self, seconds: float) -> None:
        """By both clocks."""
        self.now += seconds
        self.engine_ns += int(seconds * 1e9)

    def _failed(self, name: str, error: BaseException) -> None:
        raise AssertionError(name) from error

    async def hears(self, action: str, ago_s: float = 0.0) -> Will:
        """What is wanted after that event, when all that it leads to is done."""
        each = instance("db")
        time_ns = self.engine_ns - int(ago_s * 1e9)
        self.others.on_event(EngineEvent("container", action, each.id, {SERVICE: "db"}, time_ns))
        for _ in range(3):
            await asyncio.sleep(0)
        return self.book.wanted.will(DB)


def ended(book: Ledger) -> Any:
    book.see(instance("db", "exited", exit_code=137), 101)
    return [(each.do, each.service) for each in book.plan(102)]


async def test_who_stops_it_does_not_want_it() -> None:
    scene = Scene()
    assert await scene.hears("stop") is Will.DOWN
    assert scene.saw == [instance("db").id]
    assert ended(scene.book) == []


async def test_nothing_is_done_before_it_is_known_whose_will_a_stop_was() -> None:
    """One that dx has started meanwhile would be taken for one that nobody wants."""
    scene, asked = Scene(), asyncio.Event()
    scene.slow = asked.wait
    assert await scene.hears("stop") is Will.UP
    assert ended(scene.book) == []
    asked.set()
    await until_turned(lambda: scene.book.wanted.will(DB) is Will.DOWN)
    assert ended(scene.book) == []


async def test_who_starts_it_again_at_once_wants_it() -> None:
    """Also while it is being found out whose will the stop was."""
    scene, asked = Scene(), asyncio.Event()
    scene.slow = asked.wait
    await scene.hears("stop")
    assert await scene.hears("start") is Will.UP
    asked.set()
    assert [service for _, service in ended(scene.book)] == ["db"]


async def test_who_starts_it_wants_it() -> None:
    scene = Scene()
    scene.book.taken(DB, Will.DOWN)
    assert await scene.hears("start") is Will.UP


async def test_an_engine_on_its_way_out_wants_nothing() -> None:
    scene = Scene()
    scene.answers = False
    assert await scene.hears("stop") is Will.UP
    scene.others.lost()
    assert [service for _, service in ended(scene.book)] == ["db"]


async def test_what_an_engine_has_stopped_before_it_was_back_is_nobodys_will_however_late_it_is_told() -> None:
    scene = Scene()
    scene.others.back()
    scene.passes(5)
    assert await scene.hears("stop", ago_s=6) is Will.UP
    assert [service for _, service in ended(scene.book)] == ["db"]
    assert await scene.hears("stop", ago_s=4) is Will.DOWN


@pytest.mark.parametrize("jump_s", [3600, -3600, 86400, -86400])
async def test_who_stops_it_after_the_engines_return_does_not_want_it_whatever_was_done_to_the_clock(
    jump_s: int,
) -> None:
    """The engine's clock was set, or was never that of this machine; it goes on from there."""
    scene = Scene()
    scene.others.back()
    scene.passes(5)
    scene.engine_ns += jump_s * 10**9
    assert await scene.hears("stop", ago_s=0.1) is Will.DOWN
    scene.book.taken(DB, Will.UP)
    scene.passes(RETURN_S)
    assert await scene.hears("stop", ago_s=0.1) is Will.DOWN


async def test_an_event_of_before_the_clock_was_set_is_not_the_engines_doing_for_longer_than_a_minute() -> None:
    scene = Scene()
    scene.others.back()
    scene.passes(RETURN_S + 1)
    assert await scene.hears("stop", ago_s=86400) is Will.DOWN


async def test_what_has_ended_where_the_engine_went_away_again_is_nobodys_will() -> None:
    scene = Scene()
    scene.others.back()
    task = asyncio.create_task(scene.hears("stop"))
    scene.answers = False
    assert await task is Will.UP
