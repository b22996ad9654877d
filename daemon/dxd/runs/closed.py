"""What no run is shown unasked: the image's own directories, homes as a whole, keys, and sockets that rule the machine.

All paths here are physical, as `walk` finds them: a name that leads there through a link is no way around.
"""

from collections.abc import Iterable

from dxd.runs.walk import physical

SYSTEM = (
    b"/usr", b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32", b"/etc", b"/dev", b"/proc", b"/sys",
)  # fmt: skip
"""The image's own; no grant hides them, and a current directory there is the image's."""

_RUNTIME = (b"/run", b"/var/run", b"/boot", b"/lost+found")
_KEYS = (b".ssh", b".gnupg")
_ENGINE_SOCKETS = frozenset((b"docker.sock", b"podman.sock", b"containerd.sock", b"buildkitd.sock"))
"""Whoever can talk to one of these is root, or all of a user."""


class Closed:
    """The deny list for one caller."""

    def __init__(self, home: bytes, private: Iterable[bytes]) -> None:
        """`home` is the caller's, absolute or empty; `private` are dx's own directories and the engine's socket."""
        self.home = home
        self.homes: tuple[bytes, ...] = () if home in (b"", b"/") else tuple({home: None, physical(home): None})
        """The home directory by its name and by where that leads."""
        self._keys = tuple(each + b"/" + name for each in self.homes for name in _KEYS)
        self._private = tuple(private)

    def is_images(self, path: bytes) -> bool:
        """Whether the image has a directory of its own for it, or may: then that is what the name means in a run."""
        return path == b"/" or is_in(path, SYSTEM) or is_in(path, _RUNTIME)

    def holds_home(self, path: bytes) -> bool:
        """Whether it is a home directory or above one."""
        return holds(path, self.homes)

    def reason(self, path: bytes) -> str:
        """Why a path is never granted by inference; empty where it may be."""
        if self.holds_home(path):
            return "is your home directory as a whole, or holds it, and is never granted unasked"
        if is_in(path, self._keys):
            return "holds your keys and is never granted unasked"
        if (
            is_in(path, _RUNTIME)
            or path.rpartition(b"/")[2] in _ENGINE_SOCKETS
            or is_in(path, self._private)
            or holds(path, self._private)
        ):
            return "holds sockets or state of the system, the engine or dx, and is never granted unasked"
        return ""


# Loops: any() over a generator takes three times as long, and both are asked some thirty times for each run.
def is_in(path: bytes, directories: Iterable[bytes]) -> bool:
    """Whether the path is one of these or lies in one; by name only."""
    for each in directories:  # noqa: SIM110
        if path.startswith(each) and (path == each or path.startswith(each + b"/")):
            return True
    return False


def holds(path: bytes, places: Iterable[bytes]) -> bool:
    """Whether one of these is the path or lies in it; by name only."""
    for each in places:  # noqa: SIM110
        if each.startswith(path) and (each == path or each.startswith(path + b"/")):
            return True
    return False
