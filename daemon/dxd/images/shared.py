"""Long work that several may wait for at once, and that ends with the last of them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from dxd.kit.progress import Fanout, Progress

T = TypeVar("T")


class _Job(Generic[T]):
    def __init__(self, task: asyncio.Task[T], progress: Fanout) -> None:
        self.task = task
        self.progress = progress
        self.waiting = 0


class Shared(Generic[T]):
    """Work in progress, by key. Who joins owns a share in it: there is none without somebody who waits."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job[T]] = {}

    def is_going(self, key: str) -> bool:
        """Whether somebody has begun the work, so that who joins now gets what it had seen before."""
        return key in self._jobs

    async def join(self, key: str, start: Callable[[Progress], Coroutine[Any, Any, T]], progress: Progress) -> T:
        """Wait for the work of that key, starting it if nobody has yet; its result or error is everybody's.

        When the last who waits is cancelled, so is the work; this returns when it has ended.
        """
        job = self._jobs.get(key) or self._start(key, start)
        job.progress.add(progress)
        job.waiting += 1
        try:
            await asyncio.wait({job.task})
        finally:
            job.progress.remove(progress)
            job.waiting -= 1
            if not job.waiting:
                if self._jobs.get(key) is job:
                    del self._jobs[key]
                if not job.task.done():
                    job.task.cancel()
                    await asyncio.wait({job.task})
        return job.task.result()

    def _start(self, key: str, start: Callable[[Progress], Coroutine[Any, Any, T]]) -> _Job[T]:
        progress = Fanout()
        job = _Job(asyncio.create_task(start(progress), name=key), progress)
        self._jobs[key] = job
        # Not when the last has taken the result: who comes in between is to start anew.
        job.task.add_done_callback(lambda _: self._jobs.pop(key) if self._jobs.get(key) is job else None)
        return job
