"""Whose turn it is to change the containers of a project: verbs, exchanges and what rests, one at a time.

Owned by a project's supervisor. An exchange that is on trial asks it whether somebody else wants something, and makes
room. Nothing here fails.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from dxd.kit.progress import Progress


class Turn:
    """A lock that says when somebody waits for it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._asked = asyncio.Event()
        self._waiting = 0
        self._holder = ""

    @asynccontextmanager
    async def of(self, who: str, progress: Progress) -> AsyncIterator[None]:
        """Have it until the block ends, by that name; whoever waits for one that has a name is told so."""
        if self._holder:
            progress.progress(f"waits for {self._holder}")
        async with self:
            self._holder = who
            try:
                yield
            finally:
                self._holder = ""

    async def __aenter__(self) -> None:
        self._waiting += 1
        self._asked.set()
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._asked.clear()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()

    async def asked_within(self, seconds: float) -> bool:
        """Whether somebody waits for it, or does so before that time has passed; returns at once then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()
                return True
        return False
