"""Who needs services, besides connections and what depends on them: runs, and other projects. The owner of that count.

Told by `neighbours` and `sharing`, asked by each project's `sleeper`. It is a copy of what runs and uses there are, and
is filled again from them after a restart of the daemon. Nothing here fails.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from dxd.services.idleness import Use

End = Callable[[], None]
"""Ends a use; to call it again is fine."""

_Key = tuple[str, ...]
"""Project and service, or a network alone."""


class Uses:
    """Of all projects."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: Counter[_Key] = Counter()
        self._last: dict[_Key, float] = {}

    def begin(self, project: str, services: Iterable[str]) -> End:
        """These are needed from now on."""
        return self._begin([(project, each) for each in services])

    def begin_on(self, network: str) -> End:
        """Somebody is on a network, and nobody knows what of it they need: all services on it count as needed."""
        return self._begin([(network,)])

    def of(self, project: str, service: str, networks: Iterable[str]) -> Use:
        """Whether a service that is on these networks is needed, or when it last was."""
        keys: list[_Key] = [(project, service), *((each,) for each in networks)]
        return Use(any(self._open[each] for each in keys), max(self._last.get(each, 0.0) for each in keys))

    def _begin(self, keys: list[_Key]) -> End:
        self._open.update(keys)
        ended = False

        def end() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            for each in keys:
                self._last[each] = self._clock()
                self._open[each] -= 1
                if not self._open[each]:
                    del self._open[each]

        return end
