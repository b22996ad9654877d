"""Opening what the daemon leased, with the caller's own rights: a detached mount each (client/launcher/grants.c).

Cloning a mount takes CAP_SYS_ADMIN over the mount namespace. Root has it; everyone else enters a user and mount
namespace first, which is for good, and which a process with threads cannot. So a launcher enters, and a Python program
has it done by this file, run as a program of its own: it imports nothing of dx and sends the mounts over a socket.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - a class

_SYS_OPEN_TREE, _SYS_OPENAT2 = 428, 437
"""The same on every machine, as all numbers since 403."""
_AT_FDCWD, _OPEN_TREE_CLONE, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 1, 0x8000, 0x1000
_RESOLVE_NO_SYMLINKS = 4
_HOW = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
"""struct open_how, openat2(2)."""
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


class NotGranted(OSError):
    """A path that could not be opened; `filename` is the path, as bytes."""


class NoNamespace(OSError):
    """The machine refuses user namespaces; `filename` is the path for which one was needed, as bytes."""


def clone_tree(path: bytes) -> int:
    """A detached mount of what is at a path, close-on-exec; raises `NotGranted`.

    What the daemon leased has no link on its way: one that is there now was not when it decided, and is ELOOP.
    """
    place: int = _libc.syscall(_SYS_OPENAT2, _AT_FDCWD, path, _HOW, len(_HOW))
    if place < 0:
        raise _not_granted(path)
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | _AT_EMPTY_PATH | os.O_CLOEXEC
    fd: int = _libc.syscall(_SYS_OPEN_TREE, place, b"", flags)
    error = _not_granted(path)
    os.close(place)
    if fd < 0:
        raise error
    return fd


def _not_granted(path: bytes) -> NotGranted:
    number = ctypes.get_errno()
    return NotGranted(number, os.strerror(number), path)


def enter_namespace(path: bytes) -> None:
    """Leave the caller's user and mount namespaces, for good; raises `NoNamespace`, which names the path."""
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) < 0:
        number = ctypes.get_errno()
        raise NoNamespace(number, os.strerror(number), path)


def _clone_inside(path: bytes) -> list[int]:
    try:
        return [clone_tree(path)]
    except NotGranted as error:
        if error.errno != errno.EPERM:
            raise
        raise NoNamespace(error.errno, error.strerror, path) from None


def open_here(paths: list[bytes], mounts: list[int]) -> None:
    """Open all paths that `mounts` lacks, and add them; enters a namespace where that is needed.

    Raises `NotGranted` or `NoNamespace`. The mounts are the caller's, those of a failed call too.
    """
    entered = False
    for path in paths[len(mounts) :]:
        try:
            mounts.append(clone_tree(path))
        except NotGranted as error:
            if error.errno != errno.EPERM:
                raise
            if entered:  # some machines refuse a namespace, and some its rights
                raise NoNamespace(error.errno, error.strerror, path) from None
            enter_namespace(path)
            entered = True
            mounts += _clone_inside(path)


def main() -> None:
    """Read paths, each ended by NUL, from stdin; send their mounts, or why there are none, to the socket argv[1].

    Frames: errno, 0 for none; whether it was the namespace; then the path, or the descriptors.
    """
    socket = Socket(AF_UNIX, SOCK_STREAM, 0, int(sys.argv[1]))
    mounts: list[int] = []
    try:
        with open(0, "rb") as stdin:
            open_here(stdin.read().split(b"\0")[:-1], mounts)
        socket.sendmsg([struct.pack("=ii", 0, 0)], [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"={len(mounts)}i", *mounts))])
    except (NotGranted, NoNamespace) as error:
        socket.sendall(struct.pack("=ii", error.errno or 0, isinstance(error, NoNamespace)) + error.filename)


if __name__ == "__main__":
    main()
