"""Named background tasks, none of which can fail or end unseen.

A job that lasts as long as the daemon goes through `guard`; what an owner starts now and then goes into its `Tasks`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

Job = Callable[[], Awaitable[None]]
"""Something that runs until it is cancelled."""


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of the work, or its error; None where the event is set first, which cancels it. Either way the work
    has ended when this returns.
    """
    working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


async def guard(name: str, job: Job, ended: Callable[[str, Exception | None], None]) -> None:
    """Run an eternal job; tell `ended` its name and its error where it fails, or None where it just returns."""
    try:
        await job()
    except Exception as error:  # noqa: BLE001 - whatever it is, `ended` is told and decides
        ended(name, error)
    else:
        ended(name, None)


class Tasks:
    """The background tasks of one owner, who closes them.

    `failed` is told the name and the error of each task that fails; a task that is cancelled is no failure.
    """

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task whose result somebody may await."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Start a task for whose result nobody waits."""
        _ = self.start(coroutine, name=name)

    async def close(self) -> None:
        """Cancel every task and wait until the last has ended."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # the done callbacks run

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(task.get_name(), error)
