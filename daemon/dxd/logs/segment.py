"""One segment of a service's output: where it is, how it is read, how it is compressed. Blocking; raises `OSError`."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Self

from dxd.logs import record
from dxd.logs.model import Stamp, ns_of

UNFINISHED = ".tmp"
"""After the name of a compressed one that is being written."""

_SUFFIX, _PACKED = ".log", ".log.gz"
_FILE = re.compile(r"(\d{8,})\.log(\.gz)?")
_CHUNK = 1 << 18
_GZIP = 16 + zlib.MAX_WBITS


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


def open_segment(directory: Path, number: int) -> "Segment":
    """A segment for reading, as it was before it was compressed; `FileNotFoundError` where it was dropped."""
    with suppress(FileNotFoundError):
        return Segment(path_of(directory, number), packed=False)
    try:
        return Segment(path_of(directory, number, packed=True), packed=True)
    except FileNotFoundError:
        return Segment(path_of(directory, number), packed=False)  # a crash may have left it so, and it was mended


class Segment:
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
    unfinished = target.with_name(target.name + UNFINISHED)
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
