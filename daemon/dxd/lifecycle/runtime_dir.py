"""The runtime directory: sockets and the lock live in it, so it is 0700 and ours, or the daemon refuses to start.

Whoever can write there could put a socket of his own in our place; so nothing is repaired silently, and there is no
other place to fall back to. `dx.places` says which directory it is.
"""

import os
import stat
from pathlib import Path

from dxd.errors import Refused

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket: `sun_path` of unix(7) has 108 bytes, and one of them ends it."""


def claim(directory: Path) -> None:
    """Make `directory` if it is not there, and check that it is safe; raises `Refused` with the reason and the cure."""
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_parent(directory.parent)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            directory.chmod(0o700)  # where the umask took bits away from us
        _check(directory)
    except OSError as error:
        raise Refused(
            f"cannot make the runtime directory {directory}: {error.strerror}",
            "set XDG_RUNTIME_DIR or DX_RUNTIME_DIR to a directory that is yours",
        ) from error


def socket_path(directory: Path, name: str) -> Path:
    """Where a socket called `name` goes; raises `Refused` where the kernel could not take so long a path."""
    path = directory / name
    if (length := len(os.fsencode(path))) > SOCKET_PATH_BYTES:
        raise Refused(
            f"the path of the socket {path} has {length} bytes, and a socket's path can have {SOCKET_PATH_BYTES}",
            "set DX_RUNTIME_DIR to a directory with a shorter path",
        )
    return path


def _check_parent(parent: Path) -> None:
    """Refuse a parent in which somebody else could put another directory in place of ours."""
    status = parent.stat()
    if status.st_uid not in (0, os.getuid()):
        raise Refused(
            f"{parent} belongs to uid {status.st_uid}, who could replace the runtime directory in it",
            "set XDG_RUNTIME_DIR or DX_RUNTIME_DIR to a directory that is yours",
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise Refused(
            f"{parent} is writable by everybody, who could replace the runtime directory in it",
            f"chmod o-w {parent}",
        )


def _check(directory: Path) -> None:
    status = directory.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise Refused(f"the runtime directory {directory} is a symbolic link", f"rm {directory}")
    if not stat.S_ISDIR(status.st_mode):
        raise Refused(f"the runtime directory {directory} is not a directory", f"rm {directory}")
    if status.st_uid != os.getuid():
        raise Refused(
            f"the runtime directory {directory} belongs to uid {status.st_uid}, and you are uid {os.getuid()}",
            "set DX_RUNTIME_DIR to a directory that is yours",
        )
    if (mode := stat.S_IMODE(status.st_mode)) != 0o700:
        raise Refused(f"the runtime directory {directory} has mode {mode:04o}, not 0700", f"chmod 700 {directory}")
