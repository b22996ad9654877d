"""The output of one service on the disk: segments, of which the last is written.

A `Keeper` is used in one thread, the writer's. Readers, in threads of their own, use `end` and `segments` alone, and
open files by themselves; they never see a record that is not whole. Every method that writes may raise `OSError`, and
leaves what is kept as it was before.
"""

import os
import re
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dxd.engine.model import ContainerId
from dxd.logs import record
from dxd.logs.model import Instance, Mark, MarkKind, Progress, Stamp, ns_of, stamp_of
from dxd.logs.policy import Compress, Drop, Segment, plan, segment_bytes

MAX_INSTANCES = 200
"""Whose progress is remembered; containers that are gone are forgotten at once, so this is a bound and no measure."""

_SUFFIX, _PACKED, _UNFINISHED = ".log", ".log.gz", ".tmp"
_FILE = re.compile(r"(\d{8,})\.log(\.gz)?")
_CHUNK = 1 << 18
_GZIP = 16 + zlib.MAX_WBITS


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
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in self.directory.glob(f"*{_UNFINISHED}"):
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
        known.progress = progress
        self._last = max(self._last, output.last)
        if introduction:
            self._next_number += 1
            self._known[instance.container] = known

    def mark(self, mark: Mark) -> None:
        """Keep a mark."""
        self._write(record.encode(record.Marked(mark)))

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
        rows = [(new, each.instance, each.progress) for new, each in enumerate(kept)]
        state = record.encode(record.State(tuple(rows)))
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
            each.instance.container: _Known(new, each.instance, each.progress) for new, each in enumerate(kept)
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
                        known = {key: _Known(key, instance, progress) for key, instance, progress in instances}
                        found = True
                    case record.Introduced(key, instance):
                        known[key] = _Known(key, instance, Progress())
                    case record.Output(instance=key, progress=progress) if key in known:
                        known[key].progress = progress
                        last = max(last, each.last)
                    case _:
                        pass
        if found:
            self._known = {each.instance.container: each for each in known.values()}
            self._next_number = max(known, default=-1) + 1
            self._last = last
        return found, whole

    def _now(self) -> Stamp:
        return stamp_of(int(self._clock() * 1e9))


def numbers_in(directory: Path) -> list[int]:
    """The numbers of a directory's segments, the oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted({int(match[1]) for match in map(_FILE.fullmatch, names) if match})


def path_of(directory: Path, number: int, *, packed: bool = False) -> Path:
    """Where a segment is."""
    return directory / f"{number:08}{_PACKED if packed else _SUFFIX}"


def open_segment(directory: Path, number: int) -> "Segmented":
    """A segment for reading, as it was before it was compressed; `FileNotFoundError` where it was dropped."""
    with suppress(FileNotFoundError):
        return Segmented(path_of(directory, number), packed=False)
    try:
        return Segmented(path_of(directory, number, packed=True), packed=True)
    except FileNotFoundError:
        return Segmented(path_of(directory, number), packed=False)  # a crash may have left it so, and it was mended


class Segmented:
    """A segment that is being read. Not `gzip`'s file, which knows no end before the end."""

    def __init__(self, path: Path, *, packed: bool) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._unpack = zlib.decompressobj(_GZIP) if packed else None
        self.name = path.name
        self._taken_bytes = 0
        self._buffer = b""
        self._at = 0
        self._offset = 0

    def read(self, size: int, limit: int | None = None) -> bytes:
        """So many bytes, fewer at the end; raises `zlib.error` where it is damaged.

        `limit` is up to where the file may be looked at: what is beyond is being written. It is for those that are not
        compressed.
        """
        while len(self._buffer) - self._at < size:
            wanted = max(_CHUNK, size) if limit is None else min(max(_CHUNK, size), limit - self._taken_bytes)
            data = os.read(self._fd, max(0, wanted))
            if not data:
                break
            self._taken_bytes += len(data)
            self._buffer = self._buffer[self._at :] + (self._unpack.decompress(data) if self._unpack else data)
            self._at = 0
        taken = self._buffer[self._at : self._at + size]
        self._at += len(taken)
        self._offset += len(taken)
        return taken

    def tell(self) -> int:
        """How many bytes were read."""
        return self._offset

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pack(directory: Path, number: int) -> None:
    """Compress a segment; a crash leaves the one or the other, a full disk what there was."""
    path, target = path_of(directory, number), path_of(directory, number, packed=True)
    unfinished = target.with_name(target.name + _UNFINISHED)
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    last_ns = ns_of(_last_in(directory, number))
    try:
        with path.open("rb") as source, unfinished.open("wb") as file:
            unfinished.chmod(0o600)
            while data := source.read(_CHUNK):
                file.write(packer.compress(data))
            file.write(packer.flush())
            file.flush()
            os.fsync(file.fileno())
        os.utime(unfinished, ns=(last_ns, last_ns))  # what readers go by who want what is later
        unfinished.rename(target)
        path.unlink()
    except OSError:
        unfinished.unlink(missing_ok=True)


def _last_in(directory: Path, number: int) -> Stamp:
    """The latest timestamp in a segment."""
    last = b""
    with suppress(record.Torn), open_segment(directory, number) as file:
        while each := record.read(file.read):
            if isinstance(each, record.Output):
                last = max(last, each.last)
    return last


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
