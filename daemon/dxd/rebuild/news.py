"""News of images: that a name may mean another one by now.

The engine's events say when to look. What they are called differs from engine to engine, so all of them count but those
that leave every name alone; and after the engine was away anything may have happened. `Rebuilds` owns it and tells it;
`Inputs` compares its count with that of a tool's last look.
"""

import asyncio
from collections.abc import Awaitable, Callable

from dxd.engine.model import EngineEvent
from dxd.kit.tasks import Tasks

NEWS_S = 0.1
"""After news of images their names are looked at: a pull or a build is several."""

_STILL = frozenset({"push", "save"})


def may_move(event: EngineEvent) -> bool:
    """Whether a name may mean another image after that."""
    return event.kind == "image" and event.action not in _STILL


class News:
    """Counts them, and has names looked at a moment later, once for several."""

    def __init__(self, *, tasks: Tasks, look: Callable[[], Awaitable[None]]) -> None:
        """`look` runs in one of these tasks."""
        self._tasks = tasks
        self._look = look
        self._waits = False
        self.count = 0
        """How many there were."""

    def take(self) -> None:
        """There is one."""
        self.count += 1
        if not self._waits:
            self._waits = True
            self._tasks.spawn(self._tell(), name="look at bases")

    async def _tell(self) -> None:
        try:
            await asyncio.sleep(NEWS_S)
        finally:
            self._waits = False
        await self._look()
