"""One call for a burst of events: after a quiet period, and after a while even if there is none."""

import asyncio
from collections.abc import Callable

LONGER = 30
"""By so much the cap grows where a burst outlasts it: one that lasts no longer than that ends with the second call, and
an endless one costs little.
"""
MAX_CAP_S = 30.0


class Quiet:
    """Calls `then` once, `quiet_s` after the last `note`, or `cap_s` after the first one of a burst that does not end.

    While `held` says so the quiet period does not count as over. Belongs to the loop's thread; `cancel` when done.
    """

    def __init__(
        self, then: Callable[[], None], *, quiet_s: float, cap_s: float, held: Callable[[], bool] = lambda: False
    ) -> None:
        self._then = then
        self._quiet_s = quiet_s
        self._least_cap_s = self._cap_s = cap_s
        self._held = held
        self._timer: asyncio.TimerHandle | None = None
        self._first = self._last = 0.0

    def note(self) -> None:
        """Something happened."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if self._timer is None:
            self._first = self._last
            self._timer = loop.call_at(self._last + self._quiet_s, self._look)

    def cancel(self) -> None:
        """Forget what was noted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, cap = loop.time(), self._first + self._cap_s
        calm = now - self._last >= self._quiet_s and not self._held()
        if not calm and now < cap:
            again = max(self._last + self._quiet_s, now + self._quiet_s / 4)
            self._timer = loop.call_at(min(again, cap), self._look)
            return
        self._timer = None
        self._cap_s = self._least_cap_s if calm else max(self._least_cap_s, min(self._cap_s * LONGER, MAX_CAP_S))
        self._then()
