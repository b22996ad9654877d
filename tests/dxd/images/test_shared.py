import asyncio

import pytest

from dxd.images.shared import Shared
from dxd.kit.progress import Progress, Silent
from tests.fakes.real_engine import Listener


class Work:
    """Waits until it is told to go on."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0
        self.go = asyncio.Event()
        self.progress: Progress = Silent()

    async def __call__(self, progress: Progress) -> int:
        self.started += 1
        self.progress = progress
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        return self.started


async def _join(
    shared: Shared[int], work: Work, count: int, progress: Progress | None = None
) -> list[asyncio.Task[int]]:
    started = work.started
    tasks = [asyncio.create_task(shared.join("key", work, progress or Silent())) for _ in range(count)]
    async with asyncio.timeout(5):
        while not started and not work.started:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_share_one_piece_of_work() -> None:
    shared, work = Shared[int](), Work()
    assert not shared.is_going("key")
    tasks = await _join(shared, work, 3)
    assert shared.is_going("key")
    work.go.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    assert not shared.is_going("key")


async def test_it_ends_with_the_last_who_waits_and_not_before() -> None:
    shared, work = Shared[int](), Work()
    one, two = await _join(shared, work, 2)
    one.cancel()
    await asyncio.wait({one})
    assert (one.cancelled(), work.ended) == (True, 0)
    two.cancel()
    await asyncio.wait({two})
    assert (two.cancelled(), work.ended) == (True, 1)


async def test_who_comes_after_a_cancelled_one_starts_anew() -> None:
    shared, work = Shared[int](), Work()
    [one] = await _join(shared, work, 1)
    one.cancel()
    await asyncio.sleep(0)
    two = asyncio.create_task(shared.join("key", work, Silent()))
    await asyncio.wait({one})
    work.go.set()
    assert await two == 2


async def test_who_comes_after_the_end_starts_anew() -> None:
    shared, work = Shared[int](), Work()
    work.go.set()
    assert await shared.join("key", work, Silent()) == 1
    assert await shared.join("key", work, Silent()) == 2


async def test_an_error_is_everybodys_and_is_not_kept() -> None:
    shared = Shared[int]()

    async def fail(_: Progress) -> int:
        await asyncio.sleep(0)
        raise KeyError("x")

    tasks = [asyncio.create_task(shared.join("key", fail, Silent())) for _ in range(2)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [KeyError, KeyError]
    work = Work()
    work.go.set()
    assert await shared.join("key", work, Silent()) == 1


async def test_everybody_hears_of_the_progress_for_as_long_as_he_waits() -> None:
    shared, work, first, second = Shared[int](), Work(), Listener(), Listener()
    [one] = await _join(shared, work, 1, first)
    work.progress.note("a")
    [two] = await _join(shared, work, 1, second)
    work.progress.note("b")
    one.cancel()
    await asyncio.wait({one})
    work.progress.note("c")
    work.go.set()
    await two
    assert (first.notes, second.lines, second.notes) == (["a", "b"], ["a"], ["b", "c"])


async def test_different_keys_are_different_work() -> None:
    shared, work = Shared[int](), Work()
    work.go.set()
    await asyncio.gather(*(shared.join(key, work, Silent()) for key in "ab"))
    assert work.started == 2


async def test_cancelling_waits_until_the_work_has_ended() -> None:
    shared, cleaned = Shared[int](), asyncio.Event()

    async def slow(_: Progress) -> int:
        try:
            await asyncio.Event().wait()
            return 1
        finally:
            for _turn in range(5):
                await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(shared.join("key", slow, Silent()))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
