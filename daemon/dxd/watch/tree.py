"""What is known of the watched directories, and what an event in one of them means; pure.

A `Node` is a directory of a tree. An `Anchor` is a directory on the way to a root: it tells that the root, or a symlink
on the way to it, is another one now. Several of them may share one kernel watch; the watcher owns and changes them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Flag, auto

from dxd.watch import inotify
from dxd.watch.model import Cause, File, Spec, Tree

GONE = -1
"""The watch descriptor of a use that is over."""
_SELF_GONE = inotify.MOVE_SELF | inotify.DELETE_SELF | inotify.UNMOUNT | inotify.IGNORED
_ANOTHER = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO


class Node:
    """A directory of a tree that is watched, and its watched directories by name."""

    __slots__ = ("children", "counted", "name", "parent", "place", "root", "seen", "watch")

    def __init__(self, root: "Root", parent: "Node | None", name: str, watch: int) -> None:
        self.root = root
        self.parent = parent
        self.name = name
        self.watch = watch
        self.children: dict[str, Node] | None = None
        # See `rounds`.
        self.seen: int | None = None
        self.counted: int | None = None
        self.place: int | None = None

    def relative(self, name: str = "") -> str:
        """Its name, or that of something in it, relative to the tree's root."""
        parts = [name] if name else []
        node = self
        while node.parent is not None:
            parts.append(node.name)
            node = node.parent
        return "/".join(reversed(parts))

    def below(self) -> "Iterator[Node]":
        """Itself and all nodes below it."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            if node.children:
                stack.extend(node.children.values())


class Anchor:
    """A directory on the way to a root, and the name in it by which the way goes on; empty if only itself matters."""

    __slots__ = ("name", "root", "watch")

    def __init__(self, root: "Root", name: str, watch: int) -> None:
        self.root = root
        self.name = name
        self.watch = watch


Use = Node | Anchor


@dataclass(eq=False, slots=True)
class Root:
    """One of a key's roots."""

    key: str
    spec: Spec
    anchors: list[Anchor] = field(default_factory=list)
    node: Node | None = None
    """The tree, where the spec is one, is there and is watched."""
    path: str = ""
    """The tree's, without symlinks, when it was last looked for."""
    identity: tuple[int, int] | None = None
    """Device and inode of the tree, or of a file's directory, when it was last looked for."""
    dead: bool = False
    """The key has been dropped or replaced."""
    anew: bool = False
    """It has to be looked for from the beginning."""
    scans: dict[tuple[Node, str], None] = field(default_factory=dict)
    """Directories that are new and have to be looked into: where, and by what name."""
    seen: int | None = None
    counted: int | None = None
    """A single file's, see `rounds`."""
    polled: Cause | None = None
    detail: str = ""
    digest: bytes | None = None
    """Of what the last walk found, if it is polled."""
    due: float = 0.0
    """When the next walk is, on the loop's clock."""

    def uses(self) -> Iterator[Use]:
        """All that is watched for it."""
        yield from self.anchors
        if self.node is not None:
            yield from self.node.below()


class Meaning(Flag):
    """What follows from an event, for one use of the watch."""

    NOTHING = 0
    CHANGED = auto()
    """Something that counts may have changed."""
    DROP = auto()
    """The directory of that name is not what it was."""
    SCAN = auto()
    """There is a directory of that name which has to be looked into."""
    ANEW = auto()
    """The root has to be looked for again."""


def meaning(use: Use, mask: int, name: str) -> Meaning:
    """What an event means for a directory, or for the way to one."""
    if isinstance(use, Anchor):
        return _of_anchor(use, mask, name)
    if name:
        return _of_entry(use, mask, name)
    if use.parent is None and mask & _SELF_GONE:
        return Meaning.CHANGED | Meaning.ANEW
    return Meaning.NOTHING


def _of_anchor(anchor: Anchor, mask: int, name: str) -> Meaning:
    if not name:
        return Meaning.CHANGED | Meaning.ANEW if mask & _SELF_GONE else Meaning.NOTHING
    if name != anchor.name:
        return Meaning.NOTHING
    # A tree that could not be read may now be.
    if mask & _ANOTHER or (isinstance(anchor.root.spec, Tree) and anchor.root.node is None):
        return Meaning.CHANGED | Meaning.ANEW
    of_file = isinstance(anchor.root.spec, File) and not mask & inotify.ISDIR
    return Meaning.CHANGED if of_file else Meaning.NOTHING


def _of_entry(node: Node, mask: int, name: str) -> Meaning:
    tree = node.root.spec
    assert isinstance(tree, Tree)
    relative = node.relative(name)
    if not mask & inotify.ISDIR:
        return Meaning.NOTHING if tree.ignores(relative) else Meaning.CHANGED
    if tree.prune(relative):
        return Meaning.NOTHING
    # Of a directory that comes or goes nobody knows what is in it, so it counts even if it is ignored itself.
    if mask & (inotify.DELETE | inotify.MOVED_FROM):
        return Meaning.CHANGED | Meaning.DROP
    if mask & inotify.MOVED_TO:
        return Meaning.CHANGED | Meaning.DROP | Meaning.SCAN
    known = node.children is not None and name in node.children and node.children[name].watch != GONE
    scan = Meaning.NOTHING if known else Meaning.SCAN
    if scan or mask & inotify.CREATE or not tree.ignores(relative):
        return Meaning.CHANGED | scan
    return Meaning.NOTHING
