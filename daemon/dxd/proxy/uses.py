"""Which services have connections, in the proxy process, and since when; the daemon is told, not too often."""

import time

from dxd.proxy.loop import Loop, Timer
from dxd.proxy.wire import Tell

TELL_S = 1.0
"""How often the daemon is told whether one service is in use, at most."""


class Use:
    """Of one service, whichever door leads to it."""

    __slots__ = ("open", "since", "timer", "told", "told_at")

    def __init__(self) -> None:
        self.open = 0
        self.since = time.monotonic()
        """When it last changed between used and unused."""
        self.told = False
        """What the daemon believes: in use or not."""
        self.told_at = 0.0
        self.timer: Timer | None = None


class Uses:
    """Counts the connections of every service."""

    def __init__(self, loop: Loop, tell: Tell) -> None:
        self.changed = time.monotonic()
        """When the last connection came or went."""
        self._loop = loop
        self._tell = tell
        self._uses: dict[str, Use] = {}

    def know(self, service: str) -> None:
        """Have a service, unused until it is counted."""
        self._uses.setdefault(service, Use())

    def forget(self, service: str) -> None:
        """Have it no longer, if it is unused."""
        if (use := self._uses.get(service)) and not use.open:
            del self._uses[service]

    def open(self, service: str) -> int:
        """How many connections it has."""
        use = self._uses.get(service)
        return use.open if use else 0

    def count(self, service: str, by: int) -> None:
        """One connection more, or less."""
        use = self._uses.setdefault(service, Use())
        use.open += by
        self.changed = now = time.monotonic()
        if use.open == max(by, 0):
            use.since = now
            if bool(use.open) != use.told and use.timer is None:
                use.timer = self._loop.at(max(now, use.told_at + TELL_S), lambda: self._tell_use(service, use))

    def report(self) -> list[dict[str, object]]:
        """All that there is to know, to a daemon that has just come."""
        for use in self._uses.values():
            use.told = bool(use.open)
        return [{"service": service, "open": use.open, "since": use.since} for service, use in self._uses.items()]

    def _tell_use(self, service: str, use: Use) -> None:
        use.timer = None
        if bool(use.open) != use.told:
            use.told, use.told_at = bool(use.open), time.monotonic()
            self._tell("use", service=service, open=use.open, since=use.since)
