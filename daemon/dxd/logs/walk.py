"""Going through the output of one service from a segment on, as far as it is written: blocking, in a reader's thread.

A reader has no queue. It looks into the same files as long as they are there; one that is so slow that they are not
any more gets a mark of it.
"""

import zlib
from functools import partial

from dxd.logs import record
from dxd.logs.keeper import Keeper
from dxd.logs.model import Instance, Mark, MarkKind, Stamp, ns_of
from dxd.logs.segment import Segment, open_segment, path_of

BATCH_BYTES = 1 << 18
"""What is read at once: a thousandth of a second of a flood."""

Item = tuple[Instance, record.Output] | Mark


class Walk:
    """One reader's way through one service; `close` it at the end."""

    def __init__(self, keeper: Keeper, *, number: int, last: int | None = None, since: Stamp = b"") -> None:
        """`number` is the segment to begin with, `last` the one to end with; those before `since` are passed over."""
        self._keeper = keeper
        self._since = since
        self._number = number
        self._last = last
        self._first = True
        self._file: Segment | None = None
        self._instances: dict[int, Instance] = {}
        self._time: Stamp = since
        """Of what was read last, for marks."""

    def take(self) -> list[Item]:
        """What comes next, some of it; nothing where all was read that is there now."""
        items: list[Item] = []
        size = 0
        while size < BATCH_BYTES:
            # Looked at before the file: what is in it up to here is whole.
            end = self._keeper.end
            if self._file is None and not self._open(items):
                break
            assert self._file is not None
            live = self._number == end.number
            if live and self._file.tell() >= end.offset:
                break
            try:
                read = self._file.read if not live else partial(self._file.read, limit=end.offset)
                each = record.read(read)
            except (record.Torn, zlib.error):
                items.append(self._mark(MarkKind.DAMAGED, f"the rest of {self._file.name} cannot be read"))
                each = None
            if each is None:
                self._leave()
                self._number += 1
                continue
            size += self._add(each, items)
        return items

    def skip(self) -> None:
        """Begin with what comes from now on."""
        self._leave()
        self._number = self._keeper.end.number
        end = self._keeper.end
        if self._open([]):
            assert self._file is not None
            while self._file.tell() < end.offset and self._number == end.number:
                each = record.read(partial(self._file.read, limit=end.offset))
                if each is None:
                    break
                self._add(each, [])

    def close(self) -> None:
        """Close the file."""
        self._leave()

    def _add(self, each: record.Record, items: list[Item]) -> int:
        match each:
            case record.State(instances):
                self._instances = {number: instance for number, instance, *_ in instances}
            case record.Introduced(number, instance):
                self._instances[number] = instance
            case record.Marked(mark):
                items.append(mark)
            case record.Output(number, _, frames):
                self._time = each.last
                if self._time >= self._since and number in self._instances:
                    items.append((self._instances[number], each))
                    return len(frames)
        return 0

    def _open(self, items: list[Item]) -> bool:
        while True:
            left = [each for each in self._keeper.segments() if self._number <= each <= (self._last or each)]
            if not left:
                return False
            if left[0] > self._number and not self._first:
                items.append(self._mark(MarkKind.DROPPED, "older output was removed before it was read"))
            self._first = False
            self._number = left[0]
            if self._number < self._keeper.end.number and self._is_before():
                self._number += 1
                continue
            try:
                self._file = open_segment(self._keeper.directory, self._number)
            except FileNotFoundError:
                continue  # it was dropped just now
            return True

    def _is_before(self) -> bool:
        """Whether all of the segment is from before `since`; a compressed one's time says so."""
        try:
            status = path_of(self._keeper.directory, self._number, packed=True).stat()
        except OSError:
            return False
        return status.st_mtime_ns < ns_of(self._since)

    def _leave(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _mark(self, kind: MarkKind, reason: str) -> Mark:
        return Mark(kind, reason, self._time)
