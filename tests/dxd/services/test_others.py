"""What somebody else does is taken as their will, and what the engine does on its way out and back is nobody's."""

import asyncio
from typing import Any

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId, EngineEvent
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.model import Will
from dxd.services.news import SERVICE, Attribution
from dxd.services.others import Others
from tests.dxd.services.projects import instance, ledger, service

DB = ServiceName("db")


class Scene:
    """`db` runs, and the engine answers or not."""

    def __init__(self) -> None:
        self.book = ledger(service("db", restart="always"))
        self.book.look([instance("db")], 10)
        self.answers = True
        self.saw: list[ContainerId] = []
        self.tasks = Tasks(self._failed)
        self.others = Others(
            ledger=self.book,
            attribution=Attribution(),
            tasks=self.tasks,
            saw=self.saw.append,
            goes_on=self._goes_on,
            wake=lambda: None,
            clock=lambda: 100.0,
        )

    async def _goes_on(self) -> bool:
        return self.answers

    def _failed(self, name: str, error: BaseException) -> None:
        raise AssertionError(name) from error

    async def hears(self, action: str, time_ns: int = 2**62) -> Will:
        """What is wanted after that event, when all that it leads to is done."""
        each = instance("db")
        self.others.on_event(EngineEvent("container", action, each.id, {SERVICE: "db"}, time_ns))
        await asyncio.sleep(0)
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
    assert await scene.hears("stop", time_ns=1) is Will.UP
    assert [service for _, service in ended(scene.book)] == ["db"]
    assert await scene.hears("stop") is Will.DOWN
