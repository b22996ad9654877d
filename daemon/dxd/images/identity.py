"""What a build is called: a hash of everything that goes into it, the same in every clone of a project.

That is all that `context.Archive` would send, except for times, and what the engine is told besides. Neither absolute
paths nor owners are in it. `identify` blocks and is called in a thread; it keeps no state but that of the `Memory` that
it is given, which several threads may use.
"""

import hashlib
import os
import stat
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from dxd.images import context
from dxd.images.context import Recipe
from dxd.images.entry import DOCKERFILE, entry, name_of, value_of
from dxd.tools.model import Build

RACY_NS = 20_000_000
"""A file that changed so recently is not remembered: the kernel's clock for files ticks at 100 Hz or faster, so that a
later change may bear the same time.
"""
RACY_COARSE_NS = 2_000_000_000
"""The same for a file system that has whole seconds, or every second one (vfat)."""
READS = 3
"""How often a file is read that changes meanwhile, before that is an error."""
PRINT_BYTES = 8
"""Of a fingerprint: what changed is told by it, never whether anything did."""
MEMORY_BYTES = 32 << 20
"""Some 450,000 files."""

_FORMAT = b"dx build 1\n"
_STATUS = struct.Struct("=QQqqq")
_DIGEST_BYTES = hashlib.sha256().digest_size
_RECORD = _STATUS.size + _DIGEST_BYTES


class Memory:
    """The digests of files that were read, by device, inode, size and times; what was used longest ago goes first.

    A tree's are one block of bytes in the order of the walk, 72 for each file.
    """

    def __init__(self, limit_bytes: int = MEMORY_BYTES, *, now: Callable[[], int] = time.time_ns) -> None:
        """`now` is the clock of the files' times."""
        self._limit_bytes = limit_bytes
        self.now = now
        self.reads = 0
        """How many files had to be read so far."""
        self._trees: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Of what is remembered."""
        return self._size_bytes

    def recall(self, tree: tuple[str, str]) -> "_Recollection":
        """What is remembered of a tree."""
        with self._lock:
            records = self._trees.get(tree, b"")
            if records:
                self._trees.move_to_end(tree)
        return _Recollection(records)

    def keep(self, tree: tuple[str, str], records: bytes) -> None:
        """Remember that of a tree, in place of what there was."""
        with self._lock:
            self._size_bytes += len(records) - len(self._trees.pop(tree, b""))
            self._trees[tree] = records
            while self._size_bytes > self._limit_bytes:
                self._size_bytes -= len(self._trees.popitem(last=False)[1])


class _Recollection:
    """Looks up records. Asked in the order in which they are, it needs no index."""

    def __init__(self, records: bytes) -> None:
        self._records = records
        self._at = 0
        self._index: dict[bytes, int] | None = None

    def record(self, status: bytes) -> bytes | None:
        """The record that begins so."""
        at = self._at
        if not self._records.startswith(status, at):
            if self._index is None:
                starts = range(0, len(self._records), _RECORD)
                self._index = {self._records[start : start + _STATUS.size]: start for start in starts}
            found = self._index.get(status)
            if found is None:
                return None
            at = found
        self._at = at + _RECORD
        return self._records[at : self._at]


@dataclass(frozen=True, slots=True)
class Parts:
    """A fingerprint of each thing that a build is made of, in two blocks of bytes.

    A name is that of a file of the context after a slash, or one of `Dockerfile`, `arg NAME`, `base NAME`, `target` and
    `platform`.
    """

    names: bytes
    """Each with a NUL after it."""
    prints: bytes
    """`PRINT_BYTES` for each name."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        names = self.names.split(b"\0")
        del names[-1]
        for at, name in enumerate(names):
            yield name, self.prints[at * PRINT_BYTES : (at + 1) * PRINT_BYTES]

    def __len__(self) -> int:
        return len(self.prints) // PRINT_BYTES

    def packed(self) -> bytes:
        """As bytes, to be kept."""
        return len(self.names).to_bytes(8, "big") + self.names + self.prints

    @classmethod
    def unpacked(cls, packed: bytes) -> "Parts":
        """The inverse."""
        end = 8 + int.from_bytes(packed[:8], "big")
        return cls(packed[8:end], packed[end:])


@dataclass(frozen=True, slots=True)
class Identity:
    """What a build is called, and why."""

    digest: str
    """SHA-256 in hexadecimal digits; equal if and only if the same would be built."""
    sent: str = field(repr=False, compare=False)
    """The same of the Dockerfile and the context alone: of that which an archive of them says of itself."""
    parts: Parts = field(repr=False)
    size_bytes: int = field(default=0, compare=False)
    """Of the files of the context together."""


class Change(StrEnum):
    """What became of a part of a build."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


def changes(old: Parts, new: Parts) -> dict[str, Change]:
    """What is not as it was, by names fit for a message: first what is no file, then what changed, came and went."""
    before, after = dict(old), dict(new)
    found = {name: Change.REMOVED for name in before if name not in after}
    for name, fingerprint in after.items():
        if name not in before:
            found[name] = Change.ADDED
        elif before[name] != fingerprint:
            found[name] = Change.CHANGED
    order = list(Change)
    names = sorted(found, key=lambda name: (name.startswith(b"/"), order.index(found[name]), name))
    return {_shown(name): found[name] for name in names}


def cause(old: Parts, new: Parts) -> str:
    """What is not as it was, in a few words: `src/main.c and 3 more`; empty if nothing is."""
    names = list(changes(old, new))
    return " and ".join(filter(None, (*names[:1], f"{len(names) - 1} more" if len(names) > 1 else "")))


def _shown(name: bytes) -> str:
    text = name.removeprefix(b"/").decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Stopped(Exception):
    """Nobody wants to know any more."""


@dataclass(slots=True)
class Reading:
    """How far a context is read, for those who wait; one who does not any more says so here."""

    read_bytes: int = 0
    stop: bool = False

    def went_on(self, size_bytes: int) -> None:
        """So much more was read; raises `Stopped`."""
        self.read_bytes += size_bytes
        if self.stop:
            raise Stopped


def identify(
    build: Build, *, platform: str, bases: Mapping[str, str], memory: Memory, reading: Reading | None = None
) -> Identity:
    """What this build is called now; raises `BuildFailed` where its archive could not be made either, and `Stopped`.

    `bases` are the digests of the images it builds on, by name. Values of arguments are kept as fingerprints only. Of
    secrets and of a login by SSH it counts that there are such: whose, and what is in them, is another's in each clone.
    """
    recipe = context.read(build)
    facts = {b"platform": platform.encode()}
    facts |= {b"base " + name.encode(): digest.encode() for name, digest in bases.items()}
    # A NUL is what ends a name among the parts.
    facts |= {b"arg " + os.fsencode(name).replace(b"\0", b"\\0"): os.fsencode(value) for name, value in build.args}
    facts |= {b"secret " + name.encode(): b"" for name, _ in build.secrets}
    if build.ssh:
        facts[b"ssh"] = b""
    if build.target is not None:
        facts[b"target"] = build.target.encode()
    facts[DOCKERFILE] = recipe.said

    whole, sent, names, prints = hashlib.sha256(_FORMAT), hashlib.sha256(), bytearray(), bytearray()
    files = _Files(recipe, memory, (recipe.context, str(build.file or "")), reading or Reading())
    for name, value in chain(sorted(facts.items()), files):
        said = entry(name, value)
        whole.update(said)
        if name == DOCKERFILE or name.startswith(b"/"):
            sent.update(said)
        names += name + b"\0"
        prints += hashlib.blake2b(said, digest_size=PRINT_BYTES).digest()
    return Identity(whole.hexdigest(), sent.hexdigest(), Parts(bytes(names), bytes(prints)), files.size_bytes)


class _Files:
    """The files of a context, each as a name after a slash and as all that the archive has of it."""

    def __init__(self, recipe: Recipe, memory: Memory, tree: tuple[str, str], reading: Reading) -> None:
        self._recipe = recipe
        self._memory = memory
        self._tree = tree
        self._reading = reading
        self.size_bytes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        recollection, records = self._memory.recall(self._tree), bytearray()
        try:
            for name, status in context.walk(self._recipe):
                self._reading.went_on(0)
                value = self._value(f"{self._recipe.context}/{name}", status, recollection, records)
                if value is not None:
                    yield name_of(name), value
        finally:  # of a tree that cannot be read to its end, too, which is tried again
            self._memory.keep(self._tree, bytes(records))

    def _value(self, path: str, status: os.stat_result, known: "_Recollection", records: bytearray) -> bytes | None:
        """All but the name; None where it has gone by now."""
        kind = stat.S_IFMT(status.st_mode)
        content = b""
        try:
            if kind == stat.S_IFLNK:
                content = os.fsencode(os.readlink(path))  # noqa: PTH115 - Path changes it
            elif kind == stat.S_IFREG:
                record = known.record(_key(status)) or _read(path, self._memory, self._reading)
                if not record:
                    return None
                if len(record) == _RECORD:
                    records += record
                content = record[-_DIGEST_BYTES:]
                self.size_bytes += status.st_size
        except OSError as error:
            context.let_go(path, error)
            return None
        return value_of(status, content)


def _key(status: os.stat_result) -> bytes:
    return _STATUS.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(path: str, memory: Memory, reading: Reading) -> bytes:
    """The record of a file; its digest alone where that may not be remembered; nothing where it is no file by now."""
    for _ in range(READS):
        now = memory.now()
        memory.reads += 1
        fd = context.open_file(path)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return b""
            digest = hashlib.sha256()
            left = status.st_size
            while left >= 0 and (data := os.read(fd, min(left + 1, context.BLOCK_BYTES))):
                digest.update(data)
                left -= len(data)
                reading.went_on(len(data))
            key = _key(status)
            if left == 0 and _key(os.fstat(fd)) == key:
                return digest.digest() if _is_racy(status, now) else key + digest.digest()
        finally:
            os.close(fd)
    raise context.changed(path)


def _is_racy(status: os.stat_result, now: int) -> bool:
    """Whether a change from now on might leave the status as it is."""
    mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
    window = RACY_NS if ctime % 1_000_000_000 else RACY_COARSE_NS
    # A time to come can be given to a file, but only as its mtime: else the clock was set back.
    return now - ctime < window or 0 <= now - mtime < window
