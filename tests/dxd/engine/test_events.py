import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from dxd.engine import events
from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent
from dxd.errors import EngineDown, EngineError, EngineTimeout, EngineTrouble
from tests.fakes.proxy import Proxy
from tests.fakes.real_engine import EngineMaker, Workshop
from tests.waiting import until_turned

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


class Diary:
    """What `follow` told."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.gaps = 0
        self.losses: list[EngineTrouble] = []
        self._news = asyncio.Condition()

    def told(self, event: EngineEvent) -> None:
        self.events.append(event)

    async def gap(self) -> None:
        self.gaps += 1

    def lost(self, error: EngineTrouble) -> None:
        self.losses.append(error)

    def tags(self, name: str) -> int:
        return sum(event.action == "tag" and event.attributes.get("name") == name for event in self.events)


@asynccontextmanager
async def _following(
    engine: Engine, *, life_s: float = 60, gap: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Diary]:
    diary = Diary()
    task = asyncio.create_task(events.follow(engine, diary.told, gap or diary.gap, diary.lost, life_s=life_s))
    yield diary
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_happens_to_images_and_containers_is_told(workshop: Workshop) -> None:
    async with _following(workshop.engine) as diary:
        await until_turned(lambda: diary.gaps)
        image = await workshop.image()
        container = await workshop.engine.create(workshop.spec(image))
        await workshop.engine.start(container)
        await workshop.engine.remove(container)
        await until_turned(lambda: any(each.action == "destroy" and each.id == container for each in diary.events))
    tag = next(event for event in diary.events if event.action == "tag" and event.id == image)
    assert (tag.kind, tag.attributes["name"]) == ("image", workshop.name())
    assert tag.time_ns > 1_700_000_000 * 10**9
    actions = [event.action for event in diary.events if event.id == container]
    assert [each for each in actions if each in ("create", "start", "die", "destroy")] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip
    assert diary.losses == []


async def test_a_cut_stream_comes_back_with_a_gap_and_loses_no_event(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    image = await workshop.image()
    async with _following(make_engine(proxy.address)) as diary:
        await until_turned(lambda: diary.gaps == 1)
        await proxy.stop()
        await until_turned(lambda: diary.losses)
        await workshop.docker.images.tag(image, workshop.name("-while").removesuffix(":1"), tag="1")
        await proxy.start()
        await until_turned(lambda: diary.gaps == 2)
        await until_turned(lambda: diary.tags(workshop.name("-while")))
    assert [type(error) for error in diary.losses] == [EngineDown]


async def test_a_loss_is_told_once_however_long_it_lasts(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(proxy.address)
    async with _following(engine) as diary:
        await until_turned(lambda: diary.gaps)
        for _ in range(2):
            await proxy.stop()
            await until_turned(lambda: len(diary.losses) >= diary.gaps)
            for _ in range(3):
                with pytest.raises(EngineDown):
                    await engine.info()
            await proxy.start()
            await until_turned(lambda: diary.gaps > len(diary.losses))
    assert len(diary.losses) == 2


async def test_a_stream_is_opened_anew_now_and_then_and_tells_nothing_twice(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    async with _following(make_engine(proxy.address), life_s=0.1) as diary:
        await until_turned(lambda: diary.gaps)
        await workshop.image()
        await until_turned(lambda: diary.tags(workshop.name()))
        gaps = diary.gaps
        await until_turned(lambda: diary.gaps > gaps + 2)
    assert diary.tags(workshop.name()) == 1
    assert diary.losses == []


async def test_events_that_the_stream_swallowed_are_made_up_for(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    async with _following(make_engine(proxy.address), life_s=0.3) as diary:
        await until_turned(lambda: diary.gaps)
        proxy.spoil = lambda data: data.replace(workshop.word.encode(), b"?" * len(workshop.word))
        await workshop.image()
        await until_turned(lambda: any("?" in event.attributes.get("name", "") for event in diary.events))
        proxy.spoil = lambda data: data
        other = workshop.name("-other")
        await workshop.image(suffix="-other")
        await until_turned(lambda: diary.tags(other))


async def test_an_engine_that_hangs_is_noticed_though_the_stream_looks_alive(
    proxy: Proxy, make_engine: EngineMaker
) -> None:
    async with _following(make_engine(proxy.address, deadline_s=0.2)) as diary:
        await until_turned(lambda: diary.gaps == 1)
        proxy.hang()
        await until_turned(lambda: diary.losses)
        assert isinstance(diary.losses[0], EngineTimeout)
        proxy.resume()
        await until_turned(lambda: diary.gaps == 2)


@pytest.mark.parametrize(
    "line", [b"garbage\n", b'{"Type": "image"}\n', b'{"Type": "image", "Actor": 1, "Action": 1}\n']
)
async def test_garbage_in_the_stream_is_a_gap_not_the_end(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, line: bytes
) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    proxy.answer(b"/events", HEAD + line)
    async with _following(engine) as diary:
        await until_turned(lambda: diary.gaps == 2)
        await workshop.image()
        await until_turned(lambda: diary.tags(workshop.name()))
    assert [type(error) for error in diary.losses] == [EngineError]


async def test_events_split_at_every_byte_are_whole(workshop: Workshop, proxy: Proxy, make_engine: EngineMaker) -> None:
    proxy.piece_bytes = 1
    async with _following(make_engine(proxy.address)) as diary:
        await until_turned(lambda: diary.gaps)
        await workshop.image()
        await until_turned(lambda: diary.tags(workshop.name()))


async def test_reconciling_that_finds_the_engine_gone_is_tried_again(workshop: Workshop) -> None:
    calls = 0

    async def gap() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise EngineDown("gone again")

    async with _following(workshop.engine, gap=gap) as diary:
        await until_turned(lambda: calls == 3)
        await workshop.image()
        await until_turned(lambda: diary.tags(workshop.name()))
    assert len(diary.losses) == 1


async def test_a_bug_in_who_listens_is_not_swallowed(engine: Engine) -> None:
    async def gap() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await events.follow(engine, lambda _: None, gap)


def test_what_an_engine_tells_after_its_clock_was_set_back_is_asked_for_again_from_then_on() -> None:
    """And what it tells once more is known."""
    replay = events._Replay()
    late, early = (EngineEvent("container", "stop", "id", {}, seconds * 10**9) for seconds in (7200, 3600))
    assert [replay.is_news(each) for each in (late, early, late, early)] == [True, True, False, False]
    assert replay.params()["since"] == "3600.000000000"
