"""Where runs look for a container: one takes all of a key, or, where it may take one only, some wait for one each."""

from collections import defaultdict
from contextlib import suppress

from dx import protocol
from dxd.warm.container import Warm
from dxd.warm.model import Key, State

SPARES = 2
"""Of a key, where a container takes one run only: so many are kept waiting for one."""


class Offers:
    """The containers that take runs, by key. Whether one takes more than one is its agent's to say."""

    def __init__(self) -> None:
        self._shared: dict[Key, Warm] = {}
        self._spares: defaultdict[Key, list[Warm]] = defaultdict(list)
        self.last: tuple[int, int] | None = None
        """What the last agent has said: `once` and `refused` of its link."""

    @property
    def once(self) -> bool:
        """Whether the next container takes one run only, as far as is known."""
        return self.last is not None and self.last[0] != protocol.ONCE_NOT

    def find(self, key: Key) -> Warm | None:
        """One for a run of the key, perhaps still starting. If it takes one only, it is the caller's from now on."""
        shared = self._shared.get(key)
        if shared is not None or not (spares := self._spares.get(key)):
            return shared
        warm = next((each for each in spares if each.state is State.READY), spares[0])
        spares.remove(warm)
        warm.claimed = True
        return warm

    def has(self, key: Key) -> bool:
        """Whether there is one for a run of the key, perhaps still starting."""
        return key in self._shared or bool(self._spares.get(key))

    def takes(self, warm: Warm) -> bool:
        """Whether the run that waited for this one gets it."""
        return self._shared.get(warm.key) is warm or (warm.claimed and warm.state is State.READY)

    def missing(self, key: Key) -> int:
        """How many should wait for a run and do not; none where two containers of the key cannot be."""
        return 0 if key.ports else SPARES - len(self._spares[key])

    def add(self, warm: Warm) -> None:
        """One that starts, as what the last one was."""
        if not self.once:
            self._shared[warm.key] = warm
        elif not warm.claimed:
            self._spares[warm.key].append(warm)

    def settle(self, warm: Warm) -> None:
        """Its agent has said how many runs it takes."""
        assert warm.link is not None
        self.last = warm.link.once, warm.link.refused
        self.withdraw(warm)
        if warm.link.once == protocol.ONCE_USED:
            warm.claimed, warm.state = True, State.DRAINING
        elif warm.link.once == protocol.ONCE_FRESH:
            if not warm.claimed:
                self._spares[warm.key].append(warm)
        else:
            warm.claimed = False
            if self._shared.setdefault(warm.key, warm) is not warm:
                warm.state = State.DRAINING

    def give_back(self, warm: Warm) -> None:
        """Who claimed it does not wait for it any more."""
        if warm.claimed and warm.state in (State.STARTING, State.READY):
            warm.claimed = False
            self._spares[warm.key].append(warm)

    def withdraw(self, warm: Warm) -> None:
        """It takes no run."""
        if self._shared.get(warm.key) is warm:
            del self._shared[warm.key]
        if warm.key in self._spares:
            with suppress(ValueError):
                self._spares[warm.key].remove(warm)
            if not self._spares[warm.key]:
                del self._spares[warm.key]
