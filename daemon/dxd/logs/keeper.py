"""The output of one service on the disk: segments, of which the last is written.

A `Keeper` is used in one thread, the writer's. Readers, in threads of their own, use `end` and `segments` alone, and
open files by themselves; they never see a record that is not whole. Every method that writes may raise `OSError`, and
leaves what is kept as it was before.
"""

import os
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dxd.engine.model import ContainerId
from dxd.logs import record
from dxd.logs.model import Instance, Mark, MarkKind, Progress, Stamp, stamp_of
from dxd.logs.policy import Compress, Drop, Segment, plan, segment_bytes
from dxd.logs.segment import UNFINISHED, numbers_in, open_segment, pack, path_of

MAX_INSTANCES = 200
"""Whose progress is remembered; containers that are gone are forgotten at once, so this is a bound and no measure."""


@dataclass(frozen=True, slots=True)
class End:
    """Up to where there is something to read."""

    number: int
    offset: int


@dataclass(slots=True)
class _Known:
    number: int
    instance: Instance
    progress: Progress
    told: bool = False
    """Whether a mark stands behind its last output."""


class Keeper:
    """One service's output; `open` it first and `close` it last."""

    def __init__(self, directory: Path, *, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.end = End(0, 0)
        """Replaced as a whole, so that any thread may look."""
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes(max_bytes)
        self._clock = clock
        self._known: dict[ContainerId, _Known] = {}
        self._next_number = 0
        self._fd = -1
        self._last: Stamp = b""

    def open(self) -> None:
        """Find what is there, cut what a crash left half written, and begin a segment."""
        for each in self.directory.glob(f"*{UNFINISHED}"):
            each.unlink()
        for number in self.segments():
            path = path_of(self.directory, number)
            if path.is_symlink() or path_of(self.directory, number, packed=True).exists():
                path.unlink(missing_ok=True)  # not ours, or it was compressed and then came the crash
        numbers = self.segments()
        cut_bytes, begun = 0, False
        for number in reversed(numbers):
            found, whole_bytes = self._scan(number)
            fd = -1
            with suppress(FileNotFoundError):
                fd = os.open(path_of(self.directory, number), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                if torn_bytes := os.fstat(fd).st_size - whole_bytes:
                    cut_bytes += torn_bytes
                    os.ftruncate(fd, whole_bytes)
            begun = found and fd >= 0 and number == numbers[-1] and whole_bytes < self._segment_bytes
            if begun:
                self._fd, self.end = fd, End(number, whole_bytes)
            elif fd >= 0:
                os.close(fd)
            if found:
                break
        if not begun:
            self._begin(numbers[-1] + 1 if numbers else 1)
        if cut_bytes:
            self.mark(Mark(MarkKind.TORN, f"{cut_bytes} bytes were half written when dx was ended", self._now()))
        self.tidy()

    def close(self) -> None:
        """Write nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def segments(self) -> list[int]:
        """The numbers of those that there are, the oldest first; in any thread."""
        return numbers_in(self.directory)

    def progress(self, container: ContainerId) -> Progress | None:
        """How far a container's output is kept; None where nothing is known of it."""
        known = self._known.get(container)
        return known.progress if known else None

    def append(self, instance: Instance, frames: list[bytes], progress: Progress) -> None:
        """Keep these entries, at least one; they, and how far it is kept with them, are written as one."""
        if self._last and self.end.offset + sum(map(len, frames)) > self._segment_bytes:
            self._rotate()
        known = self._known.get(instance.container)
        introduction = b""
        if known is None:
            known = _Known(self._next_number, instance, Progress())
            introduction = record.encode(record.Introduced(known.number, instance))
        output = record.Output(known.number, progress, b"".join(frames))
        self._write(introduction + record.encode(output))
        known.progress, known.told = progress, False
        self._last = max(self._last, output.last)
        if introduction:
            self._next_number += 1
            self._known[instance.container] = known

    def mark(self, mark: Mark) -> None:
        """Keep a mark."""
        self._write(record.encode(record.Marked(mark)))
        self._note(mark, self._known.values())

    def untold(self) -> list[Instance]:
        """Containers of whose end nothing is said."""
        return [each.instance for each in self._known.values() if not each.told]

    def forget(self, container: ContainerId) -> None:
        """The container is gone: how far it is kept does not matter any more."""
        self._known.pop(container, None)

    def tidy(self) -> float | None:
        """Drop and compress what is due; in how many seconds to look again, None where there is nothing to wait for."""
        found = [each for each in map(self._segment, self.segments()) if each]
        actions, holds = plan(found, max_bytes=self._max_bytes, now=self._clock())
        for action in actions:
            match action:
                case Drop(number):
                    for packed in (False, True):
                        path_of(self.directory, number, packed=packed).unlink(missing_ok=True)
                case Compress(number):
                    pack(self.directory, number)
        return min((each.for_s for each in holds), default=None)

    def _segment(self, number: int) -> Segment | None:
        for packed in (True, False):
            with suppress(FileNotFoundError):
                status = path_of(self.directory, number, packed=packed).stat()
                return Segment(number, status.st_size, packed, status.st_mtime)
        return None

    def _rotate(self) -> None:
        number, offset, fd = self.end.number, self.end.offset, self._fd
        self._begin(number + 1)
        with suppress(OSError):
            os.ftruncate(fd, offset)  # what a full disk left of a record, if it could not be cut then
        os.close(fd)
        self.tidy()

    def _begin(self, number: int) -> None:
        """Write to this segment from now on."""
        kept = sorted(self._known.values(), key=lambda each: each.progress.stdout.stamp or each.progress.stderr.stamp)
        kept = kept[-MAX_INSTANCES:]
        rows = [(new, each.instance, each.progress, each.told) for new, each in enumerate(kept)]
        state = record.encode(record.State(tuple(rows)))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have removed it
        path = path_of(self.directory, number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            _write_all(fd, state, 0)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._fd, self._last = fd, b""
        self.end = End(number, len(state))
        self._known = {
            each.instance.container: _Known(new, each.instance, each.progress, each.told)
            for new, each in enumerate(kept)
        }
        self._next_number = len(kept)

    def _write(self, data: bytes) -> None:
        _write_all(self._fd, data, self.end.offset)
        self.end = End(self.end.number, self.end.offset + len(data))

    def _scan(self, number: int) -> tuple[bool, int]:
        """Learn from a segment how far things are kept: whether it says so, and how much of it is whole."""
        known: dict[int, _Known] = {}
        found, whole, last = False, 0, b""
        with suppress(record.Torn, OSError, zlib.error), open_segment(self.directory, number) as file:
            while each := record.read(file.read):
                whole = file.tell()
                match each:
                    case record.State(instances):
                        known = {key: _Known(key, of, progress, told) for key, of, progress, told in instances}
                        found = True
                    case record.Introduced(key, instance):
                        known[key] = _Known(key, instance, Progress())
                    case record.Output(instance=key, progress=progress) if key in known:
                        known[key].progress, known[key].told = progress, False
                        last = max(last, each.last)
                    case record.Marked(mark):
                        self._note(mark, known.values())
                    case _:
                        pass
        if found:
            self._known = {each.instance.container: each for each in known.values()}
            self._next_number = max(known, default=-1) + 1
            self._last = last
        return found, whole

    @staticmethod
    def _note(mark: Mark, known: Iterable[_Known]) -> None:
        for each in known:
            each.told = each.told or each.instance == mark.instance

    def _now(self) -> Stamp:
        return stamp_of(int(self._clock() * 1e9))


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """Write it at that place, or leave the file as long as it was."""
    at = offset
    try:
        while data:
            written = os.pwrite(fd, data, at)
            at, data = at + written, data[written:]
    except OSError:
        with suppress(OSError):
            os.ftruncate(fd, offset)
        raise
