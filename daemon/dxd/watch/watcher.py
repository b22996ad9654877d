"""The watcher: the one owner of the inotify instance, of what is watched, and of who was told what.

Everything but scans and walks happens on the loop's thread. There is at most one scan at a time; what the kernel tells
while it lasts is also kept, and applied to what the scan found when that is taken over. Watches are ended only between
scans, because a scan may just have been given the same one.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from dxd.kit.quiet import Quiet
from dxd.kit.tasks import Tasks
from dxd.telemetry import get_logger
from dxd.watch import inotify, poll, scan
from dxd.watch.filesystem import remote as is_remote
from dxd.watch.inotify import Event, Inotify
from dxd.watch.model import Cause, Problem, Spec
from dxd.watch.rounds import ROUND_S, Rounds
from dxd.watch.tree import GONE, Meaning, Node, Root, Use, meaning
from dxd.watch.walks import Walks

T = TypeVar("T")

QUIET_S: Final = 0.1
"""Longer than an editor or a checkout pauses between two files, and not noticed by a person."""
CAP_S: Final = 1.0
POLL_S: Final = 2.0
"""How often something small that is polled is walked through."""
LOOK_S: Final = 30.0
"""How often roots are compared with what is there by their names, for a mount tells nobody; and limits looked at."""
MAX_KEPT: Final = 100_000
"""Events kept during a scan, some 20 MB; if there are more the root is scanned again."""

log = get_logger("watch")


@dataclass(eq=False, slots=True)
class _Key:
    """What is known of a key."""

    specs: tuple[Spec, ...]
    roots: list[Root]
    quiet: Quiet
    dirty: bool = True
    told: bool = False
    unsure: set[Root] = field(default_factory=set)
    """Roots that are not, or not entirely, watched at the moment."""
    settled_unsure: bool = False
    """It was settled at such a moment: what happened just after may have gone unseen."""


class Watcher:
    """Tells of each key when something that belongs to it changed. Made and used on one running loop; `close` it.

    A key is dirty from `set` on, and `on_change` is called for it when all of it is watched: what happened before is
    not known. It is called again only after `settled`, which therefore comes *before* the files are read. It must not
    block.
    """

    def __init__(
        self,
        on_change: Callable[[str], None],
        *,
        quiet_s: float = QUIET_S,
        cap_s: float = CAP_S,
        poll_s: float = POLL_S,
        look_s: float = LOOK_S,
        round_s: float = ROUND_S,
        remote: scan.Remote = is_remote,
    ) -> None:
        self._on_change = on_change
        self._quiet_s = quiet_s
        self._cap_s = cap_s
        self._look_s = look_s
        self._remote = remote
        self._loop = asyncio.get_running_loop()
        self._keys: dict[str, _Key] = {}
        self._uses: dict[int, tuple[Use, ...]] = {}
        self._idle: set[int] = set()
        """Watches that were without use; some may have one again."""
        self._waiting: dict[Root, None] = {}
        """Roots to be scanned."""
        self._wake = asyncio.Event()
        self._kept: list[Event] | None = None
        """What was read during the scan that goes on."""
        self._limits = (0, 0)
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="watch")
        self._walks = Walks(
            self._threads,
            poll_s=poll_s,
            stopped=self._stopped,
            changed=lambda root: self._changed(root.key),
            known=self._certain,
        )
        self._rounds = Rounds(
            self._threads,
            roots=self._watched,
            changed=lambda root: self._changed(root.key),
            anew=self._again,
            round_s=round_s,
            stopped=self._stopped,
        )
        self._step: asyncio.Future[Any] | None = None
        """What a thread does with the inotify instance."""
        self._kernel: Inotify | None = None
        self._open()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._tasks.spawn(self._scan_all(), name="watch: scans")
        self._tasks.spawn(self._walks.run(), name="watch: polled trees")
        self._tasks.spawn(self._look_all(), name="watch: roots")
        self._tasks.spawn(self._rounds.run(), name="watch: rounds")

    async def close(self) -> None:
        """Watch nothing any more; waits for a scan that goes on, which ends soon."""
        self._stopped.set()
        for state in self._keys.values():
            state.quiet.cancel()
        await self._tasks.close()
        if self._step is not None and not self._step.done():
            await asyncio.wait({self._step})
        # Not waited for: a walk on a file system that hangs.
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel.fd)
            self._kernel.close()
            self._kernel = None
        self._keys.clear()

    def set(self, key: str, specs: Iterable[Spec]) -> None:
        """Let a key have these trees and files, absolute paths, in place of those it had; equal ones change nothing."""
        wanted = tuple(specs)
        had = self._keys.get(key)
        if had is not None:
            if had.specs == wanted:
                return
            self.drop(key)
        state = _Key(wanted, [Root(key, spec) for spec in wanted], self._quiet(key))
        self._keys[key] = state
        for root in state.roots:
            self._again(root)
        state.quiet.note()

    def drop(self, key: str) -> None:
        """Forget a key; it may be unknown."""
        state = self._keys.pop(key, None)
        if state is None:
            return
        state.quiet.cancel()
        for root in state.roots:
            root.dead = True
            self._waiting.pop(root, None)
            self._walks.remove(root)
            self._forget(root.uses())
            root.node = None
            root.anchors.clear()
        self._wake.set()

    def dirty(self, key: str) -> bool:
        """Whether something changed since `settled`, up to this moment; True also where that is not certain.

        Reads what the kernel has to tell, without waiting. Of what is polled only the last walk is known: see `sure`.
        Raises `KeyError` for an unknown key.
        """
        state = self._keys[key]
        for _ in range(self._reads()):
            if state.dirty or state.unsure:
                break
            self._read()
        return state.dirty or bool(state.unsure)

    def sure(self, key: str) -> bool:
        """Whether nothing of it is polled, so that `dirty` can be relied on; raises `KeyError`."""
        return all(root.polled is None for root in self._keys[key].roots)

    def settled(self, key: str) -> None:
        """Take what happened up to this moment as seen: its files are about to be read. Raises `KeyError`."""
        state = self._keys[key]
        for _ in range(self._reads()):
            self._read()
        state.dirty = state.told = False
        state.quiet.cancel()
        state.settled_unsure = bool(state.unsure)

    def problems(self) -> list[Problem]:
        """What is polled, why, and what helps."""
        return self._walks.problems()

    @property
    def watches(self) -> int:
        """How many directories the kernel watches for it."""
        return len(self._uses)

    @property
    def busy(self) -> bool:
        """Whether something is still to be scanned, walked through for the first time, or no longer watched."""
        unsure = any(state.unsure for state in self._keys.values())
        return unsure or self._kept is not None or bool(self._idle)

    # What changed

    def _quiet(self, key: str) -> Quiet:
        return Quiet(
            partial(self._tell, key),
            quiet_s=self._quiet_s,
            cap_s=self._cap_s,
            held=lambda: bool(self._keys[key].unsure),
        )

    def _tell(self, key: str) -> None:
        self._keys[key].told = True
        self._on_change(key)

    def _changed(self, key: str) -> None:
        state = self._keys[key]
        state.dirty = True
        if not state.told:
            state.quiet.note()

    def _reads(self) -> int:
        """How many reads it takes to know of all that happened so far: a bound, for a storm may go on for ever."""
        return self._kernel.reads() if self._kernel is not None else 0

    def _read(self) -> None:
        """Act on some of what the kernel has to tell."""
        if self._kernel is None:
            return
        events = self._kernel.read()
        if self._kept is not None and len(self._kept) <= MAX_KEPT:
            self._kept += events
        for watch, mask, name in events:
            if mask & inotify.OVERFLOW:
                self._lost()
                continue
            for use in self._uses.get(watch, ()):
                self._act(use, mask, name)
            if mask & inotify.IGNORED:
                for use in self._uses.pop(watch, ()):
                    use.watch = GONE

    def _lost(self) -> None:
        """Look at everything again: events were lost."""
        log.warning("events were lost, all is looked through again", watches=self.watches)
        for key, state in self._keys.items():
            for root in state.roots:
                if root.polled is None:
                    self._again(root)
            self._changed(key)

    def _act(self, use: Use, mask: int, name: str) -> None:
        root = use.root
        if root.dead or use.watch == GONE:
            return
        what = meaning(use, mask, name)
        if not what:
            return
        if Meaning.ANEW in what:
            self._again(root)
        if isinstance(use, Node):
            if Meaning.DROP in what and use.children and (child := use.children.pop(name, None)) is not None:
                self._forget(child.below())
            if Meaning.SCAN in what and not root.anew:
                root.scans[use, name] = None
                self._queue(root)
        self._changed(root.key)

    def _again(self, root: Root) -> None:
        root.anew = True
        root.scans.clear()
        self._queue(root)

    def _queue(self, root: Root) -> None:
        self._waiting[root] = None
        self._keys[root.key].unsure.add(root)
        self._wake.set()

    def _certain(self, root: Root) -> None:
        """The root is watched, or walked through, as far as is known."""
        if root.dead or root in self._waiting:
            return
        state = self._keys[root.key]
        state.unsure.discard(root)
        if not state.unsure and state.settled_unsure:
            state.settled_unsure = False
            self._changed(root.key)

    def _forget(self, uses: Iterable[Use]) -> None:
        for use in uses:
            if use.watch == GONE:
                continue
            rest = tuple(other for other in self._uses[use.watch] if other is not use)
            if rest:
                self._uses[use.watch] = rest
            else:
                del self._uses[use.watch]
                self._idle.add(use.watch)
            use.watch = GONE
        self._wake.set()

    # Scans

    def _open(self) -> None:
        """Have an inotify instance, if there is one to be had."""
        try:
            self._kernel = Inotify()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOSYS, errno.ENOMEM):
                raise
            log.warning("no inotify instance, all is polled", error=str(error))
            return
        self._loop.add_reader(self._kernel.fd, self._read)

    async def _thread(self, work: Callable[[], T]) -> T:
        """Do something with the inotify instance in a thread; `close` waits for it."""
        step = self._loop.run_in_executor(self._threads, work)
        self._step = step
        return await asyncio.shield(step)

    async def _scan_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                root = next(iter(self._waiting))
                del self._waiting[root]
                await self._scan(root)
            self._idle = {watch for watch in self._idle if watch not in self._uses}
            idle = list(self._idle)
            if idle and self._kernel is not None:
                await self._thread(partial(_remove, self._kernel, idle))
            self._idle.difference_update(idle)

    async def _scan(self, root: Root) -> None:
        """Look at what is waiting of a root, and take it over."""
        anew, root.anew = root.anew, False
        scans, root.scans = root.scans, {}
        kernel = self._kernel
        if kernel is None:
            self._poll(root, Cause.INSTANCES, "")
            return
        scanner = scan.Scanner(kernel, self._remote, self._stopped)
        places = [(node, name, node.relative(name)) for node, name in scans if node.watch != GONE]
        self._kept = []
        try:
            found = await self._thread(partial(scanner.look, root) if anew else partial(scanner.enter, root, places))
        except Exception as error:  # one root's trouble must not be the others'
            log.error("scan failed", path=root.spec.path, exc_info=error)
            found = scan.Found(unwatchable=scan.Unwatchable(Cause.FAILED, repr(error)))
        finally:
            kept, self._kept = self._kept, None
        if anew and not root.dead:
            self._forget(root.uses())
            root.anchors, root.node, root.path, root.identity = found.anchors, found.node, found.path, found.identity
        if root.dead or found.unwatchable is not None:
            self._idle.update(found.fresh)
            for uses in found.fresh.values():
                for use in uses:
                    use.watch = GONE
            if not root.dead and found.unwatchable is not None:
                self._poll(root, found.unwatchable.cause, found.unwatchable.detail)
            return
        if self._walks.remove(root):
            self._changed(root.key)  # since the last walk, perhaps
        self._take(root, found, kept)
        self._certain(root)

    def _take(self, root: Root, found: scan.Found, kept: list[Event]) -> None:
        """Take over what a scan found, and apply to it what happened meanwhile."""
        for watch, uses in found.fresh.items():
            self._uses[watch] = (*self._uses.get(watch, ()), *uses)
        for parent, name, node in found.inner:
            if parent.watch == GONE:
                self._forget(node.below())
                continue
            parent.children = parent.children or {}
            if (old := parent.children.get(name)) is not None:
                self._forget(old.below())
            parent.children[name] = node
        if len(kept) > MAX_KEPT:
            self._again(root)
            self._changed(root.key)
            return
        for watch, mask, name in kept:
            for use in found.fresh.get(watch, ()):
                self._act(use, mask, name)
                if mask & inotify.IGNORED and use.watch != GONE:
                    self._forget([use])

    # What cannot be watched

    def _poll(self, root: Root, cause: Cause, detail: str) -> None:
        self._forget(root.uses())
        root.node = None
        root.anchors.clear()
        self._limits = poll.limit("max_user_watches"), self.watches
        self._walks.add(root, cause, detail)

    def _watched(self) -> Iterator[Root]:
        return (root for state in self._keys.values() for root in state.roots if root.polled is None)

    async def _look_all(self) -> None:
        """Now and then see whether roots are still what is watched, and whether what is polled can be watched again."""
        while True:
            await asyncio.sleep(self._look_s)
            if self._kernel is None:
                self._open()
            roots = [root for state in self._keys.values() for root in state.roots]
            freed = poll.limit("max_user_watches") > self._limits[0] or self.watches < self._limits[1]
            retry = {
                Cause.INSTANCES: self._kernel is not None,
                Cause.WATCHES: freed,
                Cause.REMOTE: False,
                Cause.FAILED: True,
            }
            for root in roots:
                if root.polled is not None and retry[root.polled]:
                    self._again(root)
            watched = list(self._watched())
            moved = await self._loop.run_in_executor(self._threads, _moved, watched)
            for root in moved:
                if not root.dead and root not in self._waiting:
                    self._again(root)
                    self._changed(root.key)


def _remove(kernel: Inotify, watches: list[int]) -> None:
    for watch in watches:
        kernel.remove(watch)


def _moved(roots: list[Root]) -> list[Root]:
    """Those that are not where they were when they were looked for."""
    return [root for root in roots if scan.found_at(root.spec) != root.identity]
