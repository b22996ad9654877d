"""Finding and watching the directories of one root; blocks, and so runs in a thread.

Each directory is watched before it is listed, so that what changes meanwhile is an event, if not yet an entry. The
nodes made here are nobody's until the watcher takes them over, together with the events that came before it could.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dxd.watch import inotify
from dxd.watch.filesystem import reach
from dxd.watch.inotify import Inotify
from dxd.watch.model import Cause, File, Judge, Spec, Tree
from dxd.watch.tree import GONE, Anchor, Node, Root, Use

Remote = Callable[[str], str | None]
"""See `filesystem.remote`."""

_SELF = inotify.MOVE_SELF | inotify.DELETE_SELF
_NAMES = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ATTRIB
# CLOSE_WRITE is for what was written through a mapping, of which MODIFY knows nothing.
_ALL = _NAMES | inotify.MODIFY | inotify.CLOSE_WRITE
_HOPS = 40
"""As many symlinks as the kernel follows."""


class Unwatchable(Exception):
    """The root has to be polled."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(slots=True)
class Found:
    """What is watched now; each use in `fresh` has its watch, and whatever comes of it is the watcher's to end."""

    fresh: dict[int, list[Use]] = field(default_factory=dict)
    """All new uses by watch descriptor."""
    anchors: list[Anchor] = field(default_factory=list)
    node: Node | None = None
    path: str = ""
    identity: tuple[int, int] | None = None
    inner: list[tuple[Node, str, Node]] = field(default_factory=list)
    """Directories that were looked into by themselves: parent, name, what they are."""
    unwatchable: Unwatchable | None = None


class Scanner:
    """Looks at one root at a time."""

    def __init__(self, kernel: Inotify, remote: Remote, stopped: threading.Event) -> None:
        self._kernel = kernel
        self._remote = remote
        self._stopped = stopped

    def look(self, root: Root) -> Found:
        """All of a root: the way to it, and the tree."""
        found = Found()
        try:
            here = self._follow(root, found, loud=False)
            if here is None:
                # So that whatever of the way is missing is noticed at whatever level it comes.
                found.anchors.clear()
                here = self._follow(root, found, loud=True)
            if here is not None:
                self._refuse_remote(here)
                with suppress(OSError):
                    found.identity = identity(here)
                if isinstance(root.spec, Tree):
                    found.path = here
                    found.node = self._tree(root, None, "", here, found)
        except Unwatchable as error:
            found.unwatchable = error
        except OSError as error:
            found.unwatchable = _unwatchable(error)
        return found

    def enter(self, root: Root, places: list[tuple[Node, str, str]]) -> Found:
        """New directories of a tree: parent, name, and name relative to the root."""
        found = Found()
        try:
            for parent, name, relative in places:
                path = f"{root.path.rstrip('/')}/{relative}"
                if (node := self._tree(root, parent, name, path, found)) is not None:
                    found.inner.append((parent, name, node))
        except Unwatchable as error:
            found.unwatchable = error
        except OSError as error:
            found.unwatchable = _unwatchable(error)
        return found

    def _follow(self, root: Root, found: Found, *, loud: bool) -> str | None:
        """Watch the way to a root. The path, without symlinks, of the tree or the file's directory, if it is there."""
        here, hops = "/", 0
        todo = _parts(root.spec.path)
        while todo:
            part = todo.pop()
            if part == "..":
                here = here.rpartition("/")[0] or "/"
                continue
            mask = _NAMES if loud else 0
            if not todo:
                mask = _ALL if isinstance(root.spec, File) else _NAMES
            self._anchor(root, here, part, mask, found)
            path = f"{here.rstrip('/')}/{part}"
            try:
                status = _status(path)
                if stat.S_ISLNK(status.st_mode):
                    if not mask:
                        self._anchor(root, here, part, _NAMES, found)
                    with reach(path) as reachable:
                        target = os.readlink(reachable)  # noqa: PTH115 - Path changes it
                    hops += 1
                    if hops > _HOPS:
                        return None
                    todo += _parts(target)
                    here = "/" if target.startswith("/") else here
                    continue
            except OSError:
                return None
            if not todo and isinstance(root.spec, File):
                return here
            if not stat.S_ISDIR(status.st_mode):
                return None
            here = path
        return here if isinstance(root.spec, Tree) else None

    def _anchor(self, root: Root, directory: str, name: str, mask: int, found: Found) -> None:
        if directory == "/" and not mask:
            return  # it neither moves nor goes
        with suppress(PermissionError, FileNotFoundError, NotADirectoryError), reach(directory) as reachable:
            anchor = Anchor(root, name, self._add(reachable, _SELF | mask))
            found.fresh.setdefault(anchor.watch, []).append(anchor)
            found.anchors.append(anchor)

    def _tree(self, root: Root, parent: Node | None, name: str, path: str, found: Found) -> Node | None:
        """Watch a directory and all below it that counts."""
        assert isinstance(root.spec, Tree)
        prune = root.spec.prune
        relative = parent.relative(name) if parent is not None else ""
        top = Node(root, parent, name, GONE)
        stack = [(top, path, relative)]
        device: int | None = None
        while stack and not self._stopped.is_set():
            node, path, relative = stack.pop()
            try:
                with reach(path) as reachable:
                    node.watch = self._add(reachable, _ALL if node.parent is not None else _ALL | _SELF)
                    found.fresh.setdefault(node.watch, []).append(node)
                    if node is not top and node.parent is not None:
                        node.parent.children = node.parent.children or {}
                        node.parent.children[node.name] = node
                    status = os.lstat(reachable)
                    if status.st_dev != device:
                        self._refuse_remote(reachable)
                        device = status.st_dev
                    stack.extend(_directories(node, path, relative, reachable, prune))
            except OSError as error:
                # It has gone, or may not be read. If that changes, the directory above tells.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM):
                    raise
        return top if top.watch != GONE else None

    def _add(self, directory: str, mask: int) -> int:
        try:
            return self._kernel.add(directory, mask)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Unwatchable(Cause.WATCHES, "") from None
            raise

    def _refuse_remote(self, path: str) -> None:
        if (name := self._remote(path)) is not None:
            raise Unwatchable(Cause.REMOTE, name)


def identity(directory: str) -> tuple[int, int]:
    """What tells a directory from another one of its name; raises `OSError`."""
    with reach(directory) as reachable:
        status = os.stat(reachable)  # noqa: PTH116 - a path from `reach` is a string
    return status.st_dev, status.st_ino


def found_at(spec: Spec) -> tuple[int, int] | None:
    """The identity of what `Scanner.look` would find now, or None where there is nothing."""
    path = os.path.realpath(spec.path)
    try:
        if isinstance(spec, Tree):
            return identity(path) if stat.S_ISDIR(_status(path).st_mode) else None
        _status(path)
        return identity(path.rpartition("/")[0] or "/")
    except OSError:
        return None


def _unwatchable(error: OSError) -> Unwatchable:
    return Unwatchable(Cause.FAILED, error.strerror or str(error))


def _parts(path: str) -> list[str]:
    """The names of a path, last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _status(path: str) -> os.stat_result:
    with reach(path) as reachable:
        return os.lstat(reachable)


def _directories(node: Node, path: str, relative: str, reachable: str, prune: Judge) -> Iterator[tuple[Node, str, str]]:
    """The directories in one that may count, not yet watched."""
    with os.scandir(reachable) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                name = f"{relative}/{entry.name}" if relative else entry.name
                if not prune(name):
                    yield Node(node.root, node, entry.name, GONE), f"{path.rstrip('/')}/{entry.name}", name
