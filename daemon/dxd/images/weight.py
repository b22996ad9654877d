"""What makes a build context large: for a warning, where somebody forgot a line in .dockerignore."""

import os
import posixpath
import stat
from dataclasses import dataclass

from dxd.images import context
from dxd.images.context import Recipe

LARGE_BYTES = 1 << 30
"""A context that is larger is worth a warning: it takes seconds to send, and twice its size on the engine's disk."""
MOST_OF = 0.9
"""A directory of which one entry has at least so much is no news; that entry is."""


@dataclass(frozen=True, slots=True)
class Weight:
    """How large a context is."""

    size_bytes: int
    """Of its files."""
    biggest: tuple[tuple[str, int], ...]
    """Entries and their sizes in bytes, the largest first; a directory has a slash after its name."""

    def line(self) -> str:
        """For whoever waits for the build."""
        names = ", ".join(f"{name} ({_mebibytes(size)})" for name, size in self.biggest)
        what = f"the build context has {_mebibytes(self.size_bytes)}: {names}"
        return f"{what}; what the build does not need belongs into .dockerignore"


def biggest(recipe: Recipe, count: int = 5) -> Weight:
    """Find the biggest entries; blocks for one walk of the context, and raises `BuildFailed`."""
    sizes = {"": 0}
    largest: dict[str, tuple[int, str]] = {}
    """The largest entry of each directory."""
    top: dict[str, int] = {}
    for name, status in context.walk(recipe):
        if stat.S_ISDIR(status.st_mode):
            sizes[name] = 0
        elif stat.S_ISREG(status.st_mode):
            _add(name, status, sizes, largest, top)
    for name, size in sizes.items():
        parent = posixpath.dirname(name)
        if name:
            largest[parent] = max(largest.get(parent, (0, "")), (size, name))
        if name and not parent:
            top[name] = size
    found = (_narrowed(name, size, sizes, largest) for name, size in top.items() if size)
    order = sorted(found, key=lambda each: (-each[1], each[0]))
    return Weight(sizes[""], tuple(order[:count]))


def _add(
    name: str, status: os.stat_result, sizes: dict[str, int], largest: dict[str, tuple[int, str]], top: dict[str, int]
) -> None:
    size = status.st_size
    directory = posixpath.dirname(name)
    if not directory:
        top[name] = size
    largest[directory] = max(largest.get(directory, (0, "")), (size, name))
    while directory:
        sizes[directory] += size
        directory = posixpath.dirname(directory)
    sizes[""] += size


def _narrowed(name: str, size: int, sizes: dict[str, int], largest: dict[str, tuple[int, str]]) -> tuple[str, int]:
    """The entry, or what is nearly all of it."""
    while name in sizes:
        inner_size, inner = largest.get(name, (0, ""))
        if not inner or inner_size < MOST_OF * size:
            return f"{name}/", size
        name, size = inner, inner_size
    return name, size


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
