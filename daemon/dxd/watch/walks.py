"""What cannot be watched, walked through again and again, one root after the other."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from dxd.telemetry import get_logger
from dxd.watch import poll
from dxd.watch.model import Cause, Problem
from dxd.watch.tree import Root

SLOWEST_S: Final = 25.0
"""How long after a walk the next one begins at the latest, however long it took."""
SHARE: Final = 20
"""A walk is followed by a pause of so many times its duration, up to `SLOWEST_S`."""

log = get_logger("watch")


class Walks:
    """The roots that are polled. It writes `polled`, `detail`, `digest` and `due` of a root, and nobody else does."""

    def __init__(
        self,
        threads: Executor,
        *,
        poll_s: float,
        stopped: threading.Event,
        changed: Callable[[Root], None],
        known: Callable[[Root], None],
    ) -> None:
        """`changed` is told of a root that is not as it was, `known` of each that was walked through."""
        self._threads = threads
        self._poll_s = poll_s
        self._stopped = stopped
        self._changed = changed
        self._known = known
        self._roots: dict[Root, None] = {}
        self._some = asyncio.Event()

    def add(self, root: Root, cause: Cause, detail: str) -> None:
        """Poll a root from now on, or go on with it."""
        if root not in self._roots:
            log.warning("polled", path=root.spec.path, cause=cause, detail=detail)
            root.digest = None
        root.polled, root.detail, root.due = cause, detail, 0.0
        self._roots[root] = None
        self._some.set()

    def remove(self, root: Root) -> bool:
        """Poll a root no longer; whether it was."""
        root.polled = None
        return self._roots.pop(root, self) is None

    def problems(self) -> list[Problem]:
        """What is polled, why, and what helps."""
        told = {(root.spec.path, root.polled, root.detail): None for root in self._roots}
        return [poll.problem(path, cause, detail) for path, cause, detail in told if cause is not None]

    async def run(self) -> None:
        """Walk whenever something is due; for ever."""
        while True:
            await self._some.wait()
            for root in list(self._roots):
                if root in self._roots and root.due <= asyncio.get_running_loop().time():
                    await self._walk(root)
            if not self._roots:
                self._some.clear()
            else:
                await asyncio.sleep(self._poll_s / 4)

    async def _walk(self, root: Root) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        digest = await loop.run_in_executor(self._threads, poll.digest, root.spec, self._stopped)
        now = loop.time()
        root.due = now + max(self._poll_s, min(SLOWEST_S, SHARE * (now - began)))
        if root not in self._roots:
            return
        before, root.digest = root.digest, digest
        if before is not None and before != digest:
            self._changed(root)
        self._known(root)
