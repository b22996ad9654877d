"""The lines of several services in the order of their times: blocking, in a reader's thread.

What a service printed lies in its files almost in order: two streams and several containers are put in beside each
other. So what is read waits until nothing earlier can come any more, by the times of what was read last; of what is
printed now, until it is `HOLD_NS` old.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from dxd.logs.keeper import Keeper
from dxd.logs.lines import Lines
from dxd.logs.model import Level, Line, Mark, MarkKind, Query, ServiceId, Stamp, Told, ns_of, stamp_of
from dxd.logs.walk import Walk

WINDOW_NS = 2 * 10**9
"""How much out of order a service's files may be."""
HOLD_NS = 150 * 10**6
"""What is captured and written takes some 30 ms."""
HELD_BYTES = 8 << 20
"""What waits for its turn, at most; beyond it order gives way."""
TAIL_BYTES = 64 << 20
"""Of the lines that `tail` keeps, at most."""

_CUT_LINES = 16
"""At the beginning of a segment the end of a line may stand that began in the one before."""
_OVERHEAD = 200
"""Of a line in memory."""

Entry = Line | Told


class _Service:
    """One service of a query."""

    def __init__(self, service: ServiceId, keeper: Keeper, query: Query) -> None:
        self.service = service
        self.newest: Stamp = b""
        self.at_end = False
        self._query = query
        self._wanted = wanted(query)
        self._lines = Lines(service, levels=query.level is not None)
        self._walk = Walk(keeper, number=_first(keeper, service, query), since=query.since)
        self._tailing = query.tail is not None
        if query.tail == 0:
            self._walk.skip()
            self._tailing = False

    def pull(self) -> list[Entry]:
        """What comes next."""
        if self._tailing:
            self._tailing = False
            return self._tail()
        return list(self._next())

    def _next(self) -> Iterator[Entry]:
        query, items = self._query, self._walk.take()
        self.at_end = not items
        for item in items:
            if isinstance(item, Mark):
                if item.instance is not None and item.kind is MarkKind.ENDED:
                    yield from filter(self._wanted, self._lines.flush(item.instance.container))
                if _in_time(query, item.time):
                    yield Told(item.time, self.service, item)
                continue
            instance, output = item
            self.newest = max(self.newest, output.last)
            yield from filter(self._wanted, self._lines.feed(instance, output))
        if self.at_end and not query.follow:
            yield from filter(self._wanted, self._lines.flush())

    def _tail(self) -> list[Entry]:
        assert self._query.tail is not None
        kept: deque[Entry] = deque()
        lines = size = 0
        while not self.at_end:
            for each in self._next():
                kept.append(each)
                size += cost(each)
                lines += isinstance(each, Line)
                while kept and (lines > self._query.tail or size > TAIL_BYTES):
                    gone = kept.popleft()
                    size -= cost(gone)
                    lines -= isinstance(gone, Line)
        return list(kept)

    def close(self) -> None:
        self._walk.close()


class Weave:
    """One reader's way through several services; used by one thread at a time, `close` it at the end."""

    def __init__(self, keepers: dict[ServiceId, Keeper], query: Query, *, clock_ns: Callable[[], int]) -> None:
        self._query = query
        self._clock_ns = clock_ns
        self._services = [_Service(service, keeper, query) for service, keeper in keepers.items()]
        self._heap: list[tuple[Stamp, int, Entry, int]] = []
        """With the moment at which it was read."""
        self._held_bytes = 0
        self._numbers = count()

    def pull(self) -> tuple[list[Entry], float | None]:
        """What comes next, and when to ask again.

        That is 0 for at once, a number of seconds where something waits for its turn, None where all was told that is
        there: the end, unless it is followed.
        """
        now_ns = self._clock_ns()
        behind = [each for each in self._services if not each.at_end]
        found = False
        while behind and not found:
            service = min(behind, key=lambda each: each.newest)
            for each in service.pull():
                found = True
                heapq.heappush(self._heap, (each.time, next(self._numbers), each, now_ns))
                self._held_bytes += cost(each)
            behind = [each for each in behind if not each.at_end]
        told = list(self._due(self._horizon(behind, now_ns), now_ns))
        if behind:
            return told, 0.0
        return told, HOLD_NS / 1e9 if self._heap else None

    def _due(self, horizon: Stamp, now_ns: int) -> Iterator[Entry]:
        while self._heap:
            time, _, entry, read_ns = self._heap[0]
            # Where the engine's clock goes before ours, what it says waits no longer than this.
            late = self._query.follow and read_ns <= now_ns - 2 * HOLD_NS
            if time > horizon and self._held_bytes <= HELD_BYTES and not late:
                return
            heapq.heappop(self._heap)
            self._held_bytes -= cost(entry)
            yield entry

    def add(self, service: ServiceId, keeper: Keeper) -> None:
        """Read one more, from its beginning on."""
        self._services.append(_Service(service, keeper, replace(self._query, tail=None)))

    def again(self) -> None:
        """There may be more: what was at its end is looked at again."""
        for each in self._services:
            each.at_end = False

    def close(self) -> None:
        """Close the files."""
        for each in self._services:
            each.close()

    def _horizon(self, behind: list[_Service], now_ns: int) -> Stamp:
        """Up to which time nothing can come any more that is not known."""
        if behind:
            reached = min(each.newest for each in behind)
            return stamp_of(ns_of(reached) - WINDOW_NS)
        return stamp_of(now_ns - HOLD_NS) if self._query.follow else b"\xff"


def cost(entry: Entry) -> int:
    """What an entry takes in memory, about."""
    return _OVERHEAD + (len(entry.data) if isinstance(entry, Line) else 0)


def wanted(query: Query) -> Callable[[Line], bool]:
    """Whether a line is one of those that the query asks for."""

    def is_wanted(line: Line) -> bool:
        if query.stderr is not None and line.stderr is not query.stderr:
            return False
        if query.level is not None and (line.level or Level.INFO) < query.level:
            return False
        return _in_time(query, line.time)

    return is_wanted


def _in_time(query: Query, time: Stamp) -> bool:
    return time >= query.since and (query.until is None or time <= query.until)


def _first(keeper: Keeper, service: ServiceId, query: Query) -> int:
    """The segment to begin with: for a tail the latest that has enough lines from it on."""
    numbers = keeper.segments()
    if not numbers or not query.tail:
        return numbers[0] if numbers else 0
    found = 0
    for number in reversed(numbers):
        found += _count(keeper, service, query, number)
        if found >= query.tail + _CUT_LINES:
            return number
    return numbers[0]


def _count(keeper: Keeper, service: ServiceId, query: Query, number: int) -> int:
    """How many lines of a segment the query wants."""
    lines, is_wanted, found = Lines(service, levels=query.level is not None), wanted(query), 0
    walk = Walk(keeper, number=number, last=number, since=query.since)
    try:
        while items := walk.take():
            for item in items:
                if not isinstance(item, Mark):
                    found += sum(map(is_wanted, lines.feed(*item)))
    finally:
        walk.close()
    return found
