"""What an engine tells twice on one connection: pure.

Engine 20.10 follows a file by its name. Where that is rotated twice before the engine has come to it, it opens the same
file twice, and tells it again from its beginning, often only the first entries (moby, `followLogs`). The times of such
entries jump back, as where the clock was set back; but an entry that was told before has its very time, in nanoseconds,
and the same content.
"""

from array import array
from contextlib import suppress

from dxd.engine.output import HEAD, STAMP, STDERR

ENTRY_BYTES = 80
"""The least that an entry takes in the engine's file, with its time and all that is around it."""
MOST = 1 << 18
"""Entries that are remembered at most, in 2 MiB: a file is opened twice soon after it was begun."""
NEAR = 1024
"""Of these the latest are looked through first."""
_STAMP = slice(HEAD.size, HEAD.size + STAMP)
_NEWLINE = 10


class Repeats:
    """Of one connection."""

    def __init__(self, kept_bytes: int) -> None:
        """`kept_bytes` is how much the engine keeps of the container's output."""
        self._most = min(MOST, max(2, 2 * kept_bytes // ENTRY_BYTES))
        self._told = array("q")
        """What was told, in that order: a digest of each entry. No more than an engine has in its files."""
        self._last = [b"", b""]
        """By stream, the time of the latest entry that was no repetition, and what it was."""
        self._mark = [0, 0]
        self._next = 0
        """What comes next if it goes on as it was told before; 0 where nothing is told again."""

    def has(self, frames: list[bytes], at: int) -> bool:
        """Whether that entry was told before. What follows it helps to see that: asked of each one, in their order."""
        frame = frames[at]
        mark = hash(frame)
        if 0 < self._next < len(self._told) and self._told[self._next] == mark:
            self._next += 1
            return True
        self._next = 0
        which = frame[0] == STDERR
        stamp = frame[_STAMP]
        if stamp == self._last[which] and mark == self._mark[which] and frame[-1] == _NEWLINE:
            return True  # no two lines are read within a nanosecond; pieces of a line have one time
        found = self._find(mark) if stamp < self._last[which] else None
        if found is not None and (at + 1 == len(frames) or self._goes_on(frames[at + 1], found + 1)):
            self._next = found + 1
            return True
        self._last[which], self._mark[which] = stamp, mark
        self._told.append(mark)
        if len(self._told) > self._most:
            del self._told[: self._most // 2]
        return False

    def _goes_on(self, frame: bytes, at: int) -> bool:
        """Whether that may come after an entry that was told before: it was, too, or is later than all.

        Where a clock was set back, and an entry has the time of an earlier one by chance, the next has not.
        """
        mark = hash(frame)
        if frame[_STAMP] >= self._last[frame[0] == STDERR] or (at < len(self._told) and self._told[at] == mark):
            return True
        return self._find(mark) is not None

    def _find(self, mark: int) -> int | None:
        end, size = len(self._told), NEAR
        while end:
            begin = max(0, end - size)
            with suppress(ValueError):
                return self._told.index(mark, begin, end)
            end, size = begin, 4 * size
        return None
