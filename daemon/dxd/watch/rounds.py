"""What is watched, looked through again and again, slowly: for changes that no event tells of.

Those are a write through a mapping, or by another name of the file outside of the tree, and a file system that is
mounted on a directory in it. What is compared are sums over lstat(2) of a directory's files, which are kept at the
directory's `Node`, never contents. A directory of each root in turn, so that a large one does not keep small ones
waiting, and never more of the processor than a share of it: how long a round takes follows from how much there is.

The sums say nothing of what changed between the look at the files, by whoever uses the watcher, and the first sum. So a
round that has made new ones ends with that word, too: something may have changed.

Everything but `look` happens on the loop's thread, and no node is written to but by this module.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final

from dxd.watch.filesystem import reach
from dxd.watch.model import File, Tree
from dxd.watch.tree import GONE, Node, Root

ROUND_S: Final = 20.0
"""From the beginning of a round to that of the next, where there is time for that."""
SHARE: Final = 0.0015
"""Of one core. Some 4 µs for each file, so that a round of 10,000 takes 30 seconds, one of 100,000 five minutes."""
SLICE_S: Final = 0.005
"""Of the processor's time, before a pause."""
BATCH: Final = 256
"""Directories for one slice: more than it takes, mostly."""


@dataclass(frozen=True, slots=True)
class Look:
    """A directory of a tree, or a file, that is to be looked at."""

    root: Root
    node: Node | None
    """None for a file."""
    name: str
    """Of the directory, relative to the root."""
    path: str
    before: int | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What was there, where it was not as it was before."""

    sum_: int
    """Of everything in it."""
    counted: int
    """Of what counts."""
    place: int = 0
    """Which directory it is."""
    directories: frozenset[str] = frozenset()
    """Those in it that count."""


class Rounds:
    """Goes the rounds; the watcher owns it, and is told what it finds."""

    def __init__(
        self,
        threads: Executor,
        *,
        roots: Callable[[], Iterable[Root]],
        changed: Callable[[Root], None],
        anew: Callable[[Root], None],
        round_s: float,
        stopped: threading.Event,
    ) -> None:
        """`roots` are those that are watched; `anew` is for one that has directories which are not."""
        self._threads = threads
        self._roots = roots
        self._changed = changed
        self._anew = anew
        self._round_s = round_s
        self._stopped = stopped
        self._due: dict[Root, float] = {}
        self._ways: deque[tuple[Root, Iterator[Look]]] = deque()
        """The rounds that are under way."""
        self._fresh: set[Root] = set()
        """Roots of which this round has made sums that were not there before."""
        self._left: list[Look] = []

    async def run(self) -> None:
        """Go them; for ever."""
        pause_s = 0.0
        while True:
            await asyncio.sleep(max(self._round_s / 10, pause_s))
            began_s = time.thread_time()
            self._begin(asyncio.get_running_loop().time())
            looks = self._left or list(self._batch())
            work = partial(_look_all, looks, self._stopped)
            used_s, sights = (0.0, []) if not looks else await self._in_thread(work)
            for look, sight in zip(looks, sights, strict=False):
                if sight is not None:
                    self._take(look, sight)
            self._left = looks[len(sights) :]
            pause_s = (used_s + time.thread_time() - began_s) / SHARE

    async def _in_thread(
        self, work: Callable[[], tuple[float, list[Sight | None]]]
    ) -> tuple[float, list[Sight | None]]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _begin(self, now: float) -> None:
        """Begin the round of each root for which it is time."""
        going = {root for root, _ in self._ways}
        self._due = {root: self._due.get(root, now + self._round_s / 2) for root in self._roots()}
        for root, due in self._due.items():
            if due <= now and root not in going:
                self._due[root] = now + self._round_s
                self._ways.append((root, _way(root)))

    def _batch(self) -> Iterator[Look]:
        """What to look at next, a directory of each root in turn."""
        for _ in range(BATCH):
            if not self._ways:
                return
            root, way = self._ways[0]
            look = None if root.dead or root.polled is not None else next(way, None)
            if look is not None:
                self._ways.rotate(-1)
                yield look
                continue
            self._ways.popleft()
            if root in self._fresh:
                self._fresh.discard(root)
                if not root.dead:
                    self._changed(root)

    def _take(self, look: Look, sight: Sight) -> None:
        root, node = look.root, look.node
        if root.dead or (node is not None and node.watch == GONE):
            return
        seen: Node | Root = root if node is None else node
        before, seen.counted, seen.seen = seen.counted, sight.counted, sight.sum_
        if before is None:
            self._fresh.add(root)
        elif before != sight.counted:
            if node is not None and (node.place != sight.place or sight.directories != (node.children or {}).keys()):
                self._anew(root)
            self._changed(root)
        if node is not None:
            node.place = sight.place


def _way(root: Root) -> Iterator[Look]:
    """All of a root, as it is while that goes on."""
    if isinstance(root.spec, File):
        yield Look(root, None, "", root.spec.path, root.seen)
    elif root.node is not None:
        for node in root.node.below():
            if node.watch != GONE:
                name = node.relative()
                path = f"{root.path.rstrip('/')}/{name}" if name else root.path
                yield Look(root, node, name, path, node.seen)


def _look_all(looks: list[Look], stopped: threading.Event) -> tuple[float, list[Sight | None]]:
    """How long the processor took, and what was seen of those that there was time for."""
    began = time.thread_time()
    sights: list[Sight | None] = []
    for look in looks:
        if stopped.is_set() or time.thread_time() - began > SLICE_S:
            break
        try:
            sights.append(_of_file(look) if look.node is None else _of_directory(look))
        except OSError:  # it has gone, or may not be read: the directory above tells of that
            sights.append(None)
    return time.thread_time() - began, sights


def _of_file(look: Look) -> Sight | None:
    try:
        sum_ = hash((_told(os.lstat(look.path)), _told(os.stat(look.path))))  # noqa: PTH116 - paths here are strings
    except FileNotFoundError:
        sum_ = 0
    return None if sum_ == look.before else Sight(sum_, sum_)


def _of_directory(look: Look) -> Sight | None:
    with reach(look.path) as path:
        sum_ = 0
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    sum_ += hash(entry.name)
                else:
                    sum_ += hash((entry.name, _told(entry.stat(follow_symlinks=False))))
        own = os.stat(path)  # noqa: PTH116 - a path from `reach` is a string
        sum_ += hash((own.st_dev, own.st_ino, own.st_mode))
        return None if sum_ == look.before else _counted(look, path, own, sum_)


def _counted(look: Look, path: str, own: os.stat_result, sum_: int) -> Sight:
    """The same once more, with a decision for each name: those cost more than all else."""
    tree = look.root.spec
    assert isinstance(tree, Tree)
    counted, directories = hash((own.st_dev, own.st_ino, own.st_mode)), set()
    with os.scandir(path) as entries:
        for entry in entries:
            name = f"{look.name}/{entry.name}" if look.name else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not tree.prune(name):
                    directories.add(entry.name)
                    counted += hash(entry.name)
            elif not tree.ignores(name):
                counted += hash((entry.name, _told(entry.stat(follow_symlinks=False))))
    # One number instead of two equal ones, where nothing is left out: there are many directories.
    return Sight(sum_, sum_ if counted == sum_ else counted, hash((own.st_dev, own.st_ino)), frozenset(directories))


def _told(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
