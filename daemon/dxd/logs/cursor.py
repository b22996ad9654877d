"""How far a container's output is kept, and what of a replay is new: pure.

The engine has no numbers for entries, only times. It is asked for everything since a moment before the last that is
kept, and what is kept already is known by its time, and by how many entries had the same.
"""

from dxd.engine.output import DATA, HEAD, STAMP, STDERR
from dxd.logs.model import Position, Progress, Stamp, ns_of, stamp_of
from dxd.logs.repeats import Repeats

MARGIN_NS = 2 * 10**9
"""The two streams are put in the engine's file one beside the other: how much later than the newest entry of the one
an older one of the other can come."""

_NEVER_NS = 1 << 62
_NEWLINE = 10
_STAMP = slice(HEAD.size, HEAD.size + STAMP)


def since_ns(progress: Progress, now_ns: int) -> int:
    """From when on the engine has to tell again; 0 is everything.

    That is also where the clock was set back meanwhile: what was printed since would be taken for older.
    """
    stamps = [each.stamp for each in (progress.stdout, progress.stderr)]
    newest = max(stamps)
    if not newest or ns_of(newest) > now_ns + MARGIN_NS:
        return 0
    since = ns_of(newest) - MARGIN_NS
    # All pieces of a line have the time of its beginning, however long ago that was.
    for each in (progress.stdout, progress.stderr):
        if each.open:
            since = min(since, ns_of(each.stamp))
    return max(0, since)


class Sieve:
    """Lets the entries of one connection pass that are not kept yet, and counts them.

    `lost` says that what should have come again did not: the engine has thrown it away, and maybe more.
    """

    def __init__(self, progress: Progress, since_ns: int, *, kept_bytes: int | None = None) -> None:
        """`kept_bytes` is how much the engine keeps, where it rotates its files; such a one may tell things twice."""
        since = stamp_of(since_ns)
        self._repeats = None if kept_bytes is None else Repeats(kept_bytes)
        self._streams = [_Stream(progress.stdout, since), _Stream(progress.stderr, since)]

    @property
    def lost(self) -> bool:
        """Whether entries are missing before the first that passed."""
        return any(each.lost for each in self._streams)

    @classmethod
    def after(cls, progress: Progress) -> "Sieve":
        """For entries that are new, all of them."""
        return cls(progress, _NEVER_NS)

    def found(self) -> None:
        """That is known now."""
        for each in self._streams:
            each.lost = False

    def pass_new(self, frames: list[bytes]) -> list[bytes]:
        """Those that are new."""
        if (repeats := self._repeats) is not None:
            frames = [each for at, each in enumerate(frames) if not repeats.has(frames, at)]
        stdout, stderr = self._streams
        return [each for each in frames if (stderr if each[0] == STDERR else stdout).take(each)]

    def progress(self) -> Progress:
        """How far it has come."""
        stdout, stderr = self._streams
        return Progress(stdout.position(), stderr.position())


def new_in_tail(frames: list[bytes], progress: Progress, *, whole: bool) -> list[bytes] | None:
    """Of the last entries that the engine has, those that are not kept; None where they are too few to say.

    `whole` says that these are all. What is kept has to be a beginning of what the engine has, in its order, as it is
    when it was followed; so where the last that is kept is among these, all before these are kept.
    """
    found = whole
    new: list[bytes] = []
    left: dict[bool, int] = {}
    for is_stderr, kept in ((False, progress.stdout), (True, progress.stderr)):
        stamps = [each[_STAMP] for each in frames if (each[0] == STDERR) is is_stderr]
        same = stamps.count(kept.stamp)
        # Of entries with the same time, some may lie before these.
        cut = not whole and not any(each < kept.stamp for each in stamps)
        if kept.ceiling or (same and (cut or same < kept.count)):
            return None
        found = found or same > 0
        left[is_stderr] = kept.count if same else 0
    if not found:
        return None
    for frame in frames:
        is_stderr = frame[0] == STDERR
        stamp, kept = frame[_STAMP], progress.stderr if is_stderr else progress.stdout
        if stamp == kept.stamp and left[is_stderr]:
            left[is_stderr] -= 1
        elif stamp >= kept.stamp:
            new.append(frame)
    return new


class _Stream:
    """One of the two."""

    __slots__ = ("_ceiling", "_count", "_open", "_replay", "_stamp", "lost")

    def __init__(self, kept: Position, since: Stamp) -> None:
        self._stamp, self._count = kept.stamp, kept.count
        self._ceiling, self._open = kept.ceiling, kept.open
        self._replay = kept.count if kept.stamp and kept.stamp >= since else 0
        """How many entries of the last kept time have to come again before there is anything new."""
        self.lost = False

    def take(self, frame: bytes) -> bool:
        stamp = frame[_STAMP]
        if self._replay:
            if stamp == self._stamp:
                self._replay -= 1
                return False
            if stamp < self._stamp or stamp <= self._ceiling:
                return False
            self._replay = 0
            self.lost = True
        if stamp == self._stamp:
            self._count += 1
        else:
            if stamp < self._stamp:
                self._ceiling = max(self._ceiling, self._stamp)
            elif self._ceiling and stamp > self._ceiling:
                self._ceiling = b""
            self._stamp, self._count = stamp, 1
        self._open = len(frame) == DATA or frame[-1] != _NEWLINE
        return True

    def position(self) -> Position:
        return Position(self._stamp, self._count, self._ceiling, self._open)
