"""What no run is shown unasked: the image's own directories, homes as a whole, keys, and sockets that rule the machine.

All paths here are physical, as `walk` finds them: a name that leads there through a link is no way around.
"""

import os
from collections.abc import Iterable
from functools import cached_property

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
        self._private = tuple(private)

    @cached_property
    def homes(self) -> tuple[bytes, ...]:
        """The home directory by its name and by where that leads."""
        if not self.home or self.home == b"/":
            return ()
        real = os.path.realpath(self.home)
        return (self.home,) if real == self.home else (self.home, real)

    def is_images(self, path: bytes) -> bool:
        """Whether the image has a directory of its own for it, or may: then that is what the name means in a run."""
        return path == b"/" or is_in(path, SYSTEM) or is_in(path, _RUNTIME)

    def holds_home(self, path: bytes) -> bool:
        """Whether it is a home directory or above one."""
        return any(is_in(each, (path,)) for each in self.homes)

    def reason(self, path: bytes) -> str:
        """Why a path is never granted by inference; empty where it may be."""
        if self.holds_home(path):
            return "is your home directory as a whole, or holds it, and is never granted unasked"
        if any(is_in(path, (each + b"/" + name,)) for each in self.homes for name in _KEYS):
            return "holds your keys and is never granted unasked"
        if (
            is_in(path, _RUNTIME)
            or path.rpartition(b"/")[2] in _ENGINE_SOCKETS
            or any(is_in(each, (path,)) or is_in(path, (each,)) for each in self._private)
        ):
            return "holds sockets or state of the system, the engine or dx, and is never granted unasked"
        return ""


def is_in(path: bytes, directories: Iterable[bytes]) -> bool:
    """Whether the path is one of these or lies in one; by name only."""
    return any(path == each or path.startswith(each + b"/") for each in directories)
