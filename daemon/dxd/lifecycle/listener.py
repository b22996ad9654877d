"""The socket that the daemon answers on: systemd's, or one of our own; and the watch over its file.

Only the holder of the lock binds, so replacing what lies at the path never takes a socket from a live daemon. A socket
is bound under another name and renamed into place, so that a client finds either nothing or a socket that listens.
"""

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from dxd.errors import Refused
from dxd.lifecycle import runtime_dir
from dxd.lifecycle.lock import AlreadyRunning, Lock

SOCKET_NAME = "dxd.sock"
BACKLOG = 4096
"""Connections that wait for us while we start or are busy; the kernel's own bound is net.core.somaxconn."""
LISTEN_FDS_START = 3
"""The first descriptor that systemd passes, sd_listen_fds(3)."""


class Superseded(Exception):
    """Somebody removed our lock and another daemon has taken its place; this one has to end."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"another dxd, pid {pid or 'not known'}, has taken over the runtime directory")
        self.pid = pid


class Listener:
    """A listening socket, the lock that goes with it, and the file by which clients find it.

    Owned by the daemon's main function, which closes it last. `socket` changes when `check` had to bind anew.
    """

    def __init__(self, *, directory: Path, lock: Lock, sock: socket.socket, inherited: bool) -> None:
        self.directory = directory
        self.lock = lock
        self.socket = sock
        self.inherited = inherited
        self.path = _path_of(sock) if inherited else directory / SOCKET_NAME
        self._file = _identity(self.path)

    @classmethod
    def open(cls, directory: Path, environ: Mapping[str, str], *, patience_s: float | None = None) -> Self:
        """Become the daemon of `directory`: take the lock, then systemd's socket or one of our own.

        Raises `AlreadyRunning` where there is a live daemon, `Refused` where the directory or what systemd passed
        is not as it has to be.
        """
        runtime_dir.claim(directory)
        path = runtime_dir.socket_path(directory, SOCKET_NAME)
        passed = inherited(environ)  # before anything else could get its number
        lock = Lock.take(directory) if patience_s is None else Lock.take(directory, patience_s=patience_s)
        try:
            return cls(directory=directory, lock=lock, sock=passed or bind(path), inherited=passed is not None)
        except BaseException:
            lock.release()
            raise

    def check(self) -> bool:
        """See whether clients still find us, and bind a new socket of our own where they do not.

        True when `socket` is a new one, to be served instead of the old, which is closed. Raises `Superseded` where
        another daemon rules now, `Refused` or OSError where binding anew failed: worth another try later.
        """
        if self.path is None:  # an abstract socket has no file to lose
            return False
        if not self.lock.holds():
            runtime_dir.claim(self.directory)
            try:
                lock = Lock.take(self.directory, patience_s=0.0)
            except AlreadyRunning as other:
                raise Superseded(other.pid) from other
            self.lock.release()
            self.lock = lock
        if _identity(self.path) == self._file:
            return False
        path = self.directory / SOCKET_NAME
        fresh = bind(path)
        self.socket.close()
        self.socket, self.path, self.inherited = fresh, path, False
        self._file = _identity(path)
        return True

    def withdraw(self) -> None:
        """Let no new client find us: remove the socket's file if it is ours. Systemd's stays, for the next daemon."""
        if not self.inherited and self.path is not None and _identity(self.path) == self._file:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Withdraw, close the socket, give the lock back."""
        with suppress(OSError):
            self.withdraw()
        self.socket.close()
        self.lock.release()


def bind(path: Path) -> socket.socket:
    """A new socket, 0600, that listens at `path` in place of whatever was there; the caller holds the lock."""
    # No longer than the name itself, so that its length is allowed too: a pid has seven digits at most.
    temporary = path.with_name(f".{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        temporary.unlink(missing_ok=True)
        sock.bind(os.fsencode(temporary))
        temporary.chmod(0o600)
        sock.listen(BACKLOG)
        sock.settimeout(0)
        temporary.rename(path)
    except OSError as error:
        sock.close()
        with suppress(OSError):
            temporary.unlink()
        raise Refused(f"cannot make the socket {path}: {error.strerror}", f"see to {path.parent}") from error
    return sock


def inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The socket that systemd passed, or None; raises `Refused` where it is not what the daemon can serve.

    The protocol of sd_listen_fds(3). Names of descriptors do not matter: there is only one.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = environ.get("LISTEN_FDS", "")
    if count != "1":
        raise Refused(
            f"LISTEN_FDS is {count!r}, and dxd serves one socket",
            "leave one ListenStream= in the socket unit",
        )
    hint = "the socket unit needs ListenStream= with a path, and Accept=no"
    try:
        status = os.fstat(LISTEN_FDS_START)
    except OSError as error:
        raise Refused(f"LISTEN_FDS is 1, but descriptor {LISTEN_FDS_START} is closed", hint) from error
    if not stat.S_ISSOCK(status.st_mode):
        raise Refused(f"descriptor {LISTEN_FDS_START} from LISTEN_FDS is not a socket", hint)
    sock = socket.socket(fileno=LISTEN_FDS_START)
    if (
        sock.family != socket.AF_UNIX
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.detach()
        raise Refused(f"descriptor {LISTEN_FDS_START} from LISTEN_FDS is not a listening Unix stream socket", hint)
    sock.set_inheritable(False)
    sock.settimeout(0)
    return sock


def _path_of(sock: socket.socket) -> Path | None:
    """Where a passed socket was bound; None for an abstract one."""
    name = sock.getsockname()
    return Path(name) if isinstance(name, str) and name.startswith("/") else None


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells one file from another that came to its path later; None where there is none."""
    if path is None:
        return None
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
