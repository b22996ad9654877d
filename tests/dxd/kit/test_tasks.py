"""Background tasks: named, never failing unseen, ended together."""

import asyncio

import pytest

from dxd.kit.tasks import Tasks, guard, unless


class Seen(list[tuple[str, str | None]]):
    """What was told of tasks that ended."""

    def __call__(self, name: str, error: BaseException | None) -> None:
        self.append((name, None if error is None else str(error)))


async def test_guard_tells_of_a_job_that_fails_and_of_one_that_returns() -> None:
    seen = Seen()

    async def fails() -> None:
        raise RuntimeError("broken")

    async def returns() -> None:
        pass

    await guard("a", fails, seen)
    await guard("b", returns, seen)
    assert seen == [("a", "broken"), ("b", None)]


async def test_guard_passes_cancellation_on() -> None:
    """A job that is cancelled has not failed."""
    seen = Seen()
    started = asyncio.Event()

    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(guard("a", waits, seen))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == []


async def test_a_task_that_fails_is_told_by_name() -> None:
    seen = Seen()
    tasks = Tasks(seen)

    async def fails() -> None:
        raise RuntimeError("broken")

    task = tasks.start(fails(), name="build of jq")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert seen == [("build of jq", "broken")]
    assert len(tasks) == 0


async def test_a_result_can_be_awaited() -> None:
    tasks = Tasks(Seen())

    async def answers() -> int:
        return 42

    assert await tasks.start(answers(), name="a") == 42


async def test_close_waits_for_every_task_and_for_those_they_start() -> None:
    """Even for one that takes a moment to end, or starts another on its way out."""
    seen = Seen()
    tasks = Tasks(seen)
    ended = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)
            if name == "a":
                tasks.spawn(waits("c"), name="c")

    tasks.spawn(waits("a"), name="a")
    tasks.spawn(waits("b"), name="b")
    await asyncio.sleep(0)
    await tasks.close()
    assert len(tasks) == 0
    assert {"a", "b"} <= set(ended) <= {"a", "b", "c"}
    assert seen == []


async def test_work_goes_on_unless_something_happens() -> None:
    """Its result and its error come through; given up, it has ended before anybody goes on."""
    event, ended = asyncio.Event(), asyncio.Event()

    async def answers() -> int:
        return 7

    async def fails() -> int:
        raise RuntimeError("broken")

    async def lasts() -> int:
        try:
            event.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    assert await unless(event, answers()) == 7
    with pytest.raises(RuntimeError, match="broken"):
        await unless(event, fails())
    assert await unless(event, lasts()) is None
    assert ended.is_set()


async def test_work_is_cancelled_with_whoever_waits_for_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def lasts() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless(asyncio.Event(), lasts()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
