"""Output as an engine has it, and files with it."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dxd.engine.model import ContainerId
from dxd.engine.output import frame
from dxd.logs.cursor import Sieve
from dxd.logs.keeper import Keeper
from dxd.logs.model import Instance, Line, Progress, Query, ServiceId, Stamp, Told, stamp_of
from dxd.logs.weave import Entry, Weave

WEB = ServiceId("shop", "web")
DB = ServiceId("shop", "db")
ONE = Instance(ContainerId("1" * 64), "shop-web-1")
TWO = Instance(ContainerId("2" * 64), "shop-web-2")
T0_S = 1_800_000_000
ALL = 1 << 30


def at(seconds: float) -> Stamp:
    """So many seconds after the tests' beginning of time."""
    return stamp_of(T0_S * 10**9 + round(seconds * 10**9))


def entry(seconds: float, data: bytes, *, stderr: bool = False) -> bytes:
    """A frame with that data."""
    return frame(2 if stderr else 1, at(seconds) + b" " + data)


def keep(keeper: Keeper, frames: list[bytes], instance: Instance = ONE) -> None:
    """Append what is new of these, as a follower does."""
    sieve = Sieve(keeper.progress(instance.container) or Progress(), 0)
    if new := sieve.pass_new(frames):
        keeper.append(instance, new, sieve.progress())


def opened(directory: Path, max_bytes: int = ALL, clock: Callable[[], float] = time.time) -> Keeper:
    """A keeper that is open."""
    keeper = Keeper(directory, max_bytes=max_bytes, clock=clock)
    keeper.open()
    return keeper


def read(keepers: dict[ServiceId, Keeper], query: Query | None = None) -> list[Entry]:
    """All that a query gets which follows nothing."""
    weave = Weave(keepers, query or Query(tuple(keepers)), clock_ns=lambda: T0_S * 10**9)
    told: list[Entry] = []
    try:
        while True:
            entries, wait_s = weave.pull()
            told += entries
            if wait_s is None:
                return told
    finally:
        weave.close()


def lines(entries: Iterable[Entry]) -> list[bytes]:
    """The lines among them."""
    return [each.data for each in entries if isinstance(each, Line)]


def marks(entries: Iterable[Entry]) -> list[str]:
    """The kinds of the marks among them."""
    return [each.mark.kind.value for each in entries if isinstance(each, Told)]
