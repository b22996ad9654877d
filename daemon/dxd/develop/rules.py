"""`develop.watch` of a service: what changed below its rules, and what that means for a container. Pure but for `look`.

What a container has is a listing for each rule, and what it should have is another; the difference is one batch. So
what happened while nobody looked, or to a container that is new, is nothing special.
"""

import hashlib
import os
import posixpath
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dxd.compose.model import Service, Watch
from dxd.errors import BuildFailed
from dxd.images.ignore import BadPattern, Ignore
from dxd.watch.model import File, Spec, Tree

Listing = Mapping[str, bytes]
"""Files and links below a rule's path by name relative to it, empty for the path itself, with a digest of each."""

IGNORED = (
    *(".git", "**/.git", "**/*~", "**/.*.sw?", "**/4913", "**/.#*", "**/#*#", "**/.*.kate-swp"),
    *("**/*___jb_tmp___", "**/*___jb_old___", "**/.idea", "**/.DS_Store", "**/*.goutputstream-*"),
)
"""What editors and version control leave beside files, as Compose leaves it out."""
MAX_PRINTS = 200_000
RACY_NS = 2_000_000_000
"""A file that changed so recently may change again with the same times."""
SYNCS = ("sync", "sync+restart", "sync+exec")


class Prints:
    """Digests of files' contents and modes; those that have not changed since they were read are not read again."""

    def __init__(self, *, now: Callable[[], int] = time.time_ns) -> None:
        """`now` is the clock of the files' times."""
        self._now = now
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def of(self, path: str, status: os.stat_result) -> bytes:
        """That of one file; raises `OSError`."""
        key = (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(path)
        if known is not None and known[0] == key:
            return known[1]
        found = _read(path, status)
        if len(self._known) >= MAX_PRINTS:
            self._known.clear()
        if self._now() - status.st_ctime_ns > RACY_NS:
            self._known[path] = key, found
        return found


@dataclass(frozen=True, slots=True)
class Command:
    """What `sync+exec` runs."""

    argv: tuple[str, ...]
    user: str = ""
    working_dir: str = ""
    environment: tuple[str, ...] = ()
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What to do with one container."""

    copies: tuple[tuple[str, str], ...] = ()
    """From a path of the host to one in the container."""
    removals: tuple[str, ...] = ()
    """Paths in the container."""
    commands: tuple[Command, ...] = ()
    restart: bool = False

    def __bool__(self) -> bool:
        return bool(self.copies or self.removals or self.commands or self.restart)


def plan(
    watch: Sequence[Watch], has: Sequence[Listing], wanted: Sequence[Listing], *, began: Sequence[Listing] | None = None
) -> Batch:
    """What makes a container that has these files one that has those. `began` is what there was when one was made that
    is new, whose files are its image's: only for what has changed since then is it restarted, or is anything run in it.

    Of several rules for one path in the container the last counts. What is built anew is decided elsewhere.
    """
    copies: dict[str, str] = {}
    removals: dict[str, None] = {}
    commands: dict[Command, None] = {}
    restart = False
    for rule, before, after, first in zip(watch, has, wanted, has if began is None else began, strict=True):
        changed = [name for name, print_ in after.items() if before.get(name) != print_]
        gone = [name for name in before if name not in after]
        if rule.action in SYNCS and rule.target:
            for name in sorted(gone):
                removals[_join(rule.target, name)] = None
                copies.pop(_join(rule.target, name), None)
            for name in sorted(changed):
                copies[_join(rule.target, name)] = _join(rule.path, name)
                removals.pop(_join(rule.target, name), None)
        if first == after:
            continue
        restart = restart or rule.action in ("restart", "sync+restart")
        if rule.action == "sync+exec" and rule.command:
            commands[Command(rule.command, rule.user, rule.working_dir, rule.environment, rule.privileged)] = None
    return Batch(tuple((host, inside) for inside, host in copies.items()), tuple(removals), tuple(commands), restart)


def _join(directory: str, name: str) -> str:
    return posixpath.join(directory, name) if name else directory


def base(watch: Sequence[Watch], found: Sequence[Listing]) -> tuple[Listing, ...]:
    """What a new container has, where its image was built from what was found: nothing for rules that say so."""
    return tuple({} if rule.initial_sync else listing for rule, listing in zip(watch, found, strict=True))


def specs(service: Service) -> tuple[Spec, ...]:
    """What to watch for a service's rules."""
    found: list[Spec] = []
    for rule, directory in zip(service.watch, directories(service), strict=True):
        judged = _Judged(rule, _ignore_file(service))
        tree = Tree(rule.path, prune=judged.leaves_out, ignores=partial(judged.leaves_out, is_file=True))
        found.append(tree if directory else File(rule.path))
    return tuple(found)


def directories(service: Service) -> tuple[bool, ...]:
    """Which rules' paths are directories now. Blocks."""
    return tuple(os.path.isdir(rule.path) for rule in service.watch)  # noqa: PTH112 - beside os.walk


def look(service: Service, prints: Prints) -> tuple[Listing, ...]:
    """What is below each rule of a service now. Blocks; raises `BuildFailed` for a pattern that is none."""
    more = _ignore_file(service)
    return tuple(listing(rule.path, _Judged(rule, more), prints) for rule in service.watch)


class _Judged:
    """What a rule leaves out, by name relative to its path."""

    def __init__(self, rule: Watch, ignore_file: tuple[str, tuple[str, ...]]) -> None:
        directory, lines = ignore_file
        try:
            self._own = Ignore((*IGNORED, *rule.ignore))
            self._context = Ignore(lines)
            self._include = Ignore(rule.include) if rule.include else None
        except BadPattern as error:
            raise BuildFailed(f"develop.watch of {rule.path}: {error}", "mend that pattern") from None
        inside = posixpath.relpath(rule.path, directory) if directory else ""
        self._prefix = None if not directory or inside.startswith("..") else inside

    def leaves_out(self, name: str, *, is_file: bool = False) -> bool:
        """Whether that entry is left out; a directory with all that is below it."""
        if _verdict(self._own, name):
            return True
        if self._prefix is not None and _verdict(self._context, posixpath.normpath(f"{self._prefix}/{name}")):
            return True
        return is_file and self._include is not None and not _verdict(self._include, name)


def _verdict(ignore: Ignore, name: str) -> bool:
    verdict = ignore.root
    parts = name.split("/")
    for at in range(1, len(parts) + 1):
        verdict = ignore.judge("/".join(parts[:at]), verdict)
    return verdict[0]


def _ignore_file(service: Service) -> tuple[str, tuple[str, ...]]:
    """The directory of the build's context, and the lines of its .dockerignore."""
    directory = str((service.build or {}).get("context") or "")
    if not directory.startswith("/"):
        return "", ()
    try:
        with Path(directory, ".dockerignore").open(encoding="utf-8", errors="surrogateescape") as file:
            return directory, tuple(file.read().split("\n"))
    except OSError:
        return directory, ()


def listing(path: str, judged: "_Judged | tuple[()]", prints: Prints) -> dict[str, bytes]:
    """What is below a path, or the path itself where it is a file; what cannot be read is not there. Blocks."""
    found: dict[str, bytes] = {}
    try:
        top = os.stat(path)  # noqa: PTH116 - beside os.walk
    except OSError:
        return found
    if not stat.S_ISDIR(top.st_mode):
        found[""] = prints.of(path, top)
        return found
    for directory, directories, names in os.walk(path):
        inside = os.path.relpath(directory, path)
        prefix = "" if inside == "." else f"{inside}/"
        if judged:
            directories[:] = [each for each in directories if not judged.leaves_out(prefix + each)]
        links = [each for each in directories if os.path.islink(f"{directory}/{each}")]  # noqa: PTH114 - of each directory, as os.walk names it
        for name in (*names, *links):
            if judged and judged.leaves_out(prefix + name, is_file=True):
                continue
            try:
                found[prefix + name] = prints.of(f"{directory}/{name}", os.lstat(f"{directory}/{name}"))
            except OSError:
                continue
    return found


def _read(path: str, status: os.stat_result) -> bytes:
    digest = hashlib.sha256(b"%o " % stat.S_IMODE(status.st_mode))
    if stat.S_ISLNK(status.st_mode):
        digest.update(b"link " + os.fsencode(os.readlink(path)))  # noqa: PTH115 - Path changes it
    elif stat.S_ISREG(status.st_mode):
        with Path(path).open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    return digest.digest()
