"""News of images, and looking at names after them."""

import asyncio
from typing import Literal

import pytest

from dxd.engine.model import EngineEvent
from dxd.kit.tasks import Tasks
from dxd.rebuild.news import News, may_move
from tests.waiting import until_turned


@pytest.mark.parametrize(
    ("kind", "action", "moves"),
    [
        ("image", "tag", True),
        ("image", "pull", True),
        ("image", "whatever else an engine calls it", True),
        ("image", "push", False),
        ("image", "save", False),
        ("container", "start", False),
    ],
)
def test_what_may_have_a_name_mean_another_image(kind: Literal["image", "container"], action: str, moves: bool) -> None:
    event = EngineEvent(kind=kind, action=action, id="1", attributes={}, time_ns=0)
    assert may_move(event) is moves


async def test_names_are_looked_at_once_for_several_news_and_again_for_later_ones() -> None:
    """Also for one that comes while they are looked at."""
    looks: list[int] = []
    goes_on = asyncio.Event()

    async def look() -> None:
        looks.append(news.count)
        await goes_on.wait()

    failed: list[str] = []
    tasks = Tasks(lambda name, _: failed.append(name))
    news = News(tasks=tasks, look=look)
    for _ in range(3):
        news.take()
    await until_turned(lambda: looks)
    news.take()
    await until_turned(lambda: len(looks) > 1)
    assert looks == [3, 4]
    goes_on.set()
    await until_turned(lambda: not len(tasks))
    assert not failed
