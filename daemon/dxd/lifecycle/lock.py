"""The lock that makes a daemon the only one of its runtime directory, held from its start to the end of its process.

The lock is flock(2) on `dxd.lock`, so the kernel takes it back from a daemon that dies. The file is never removed: two
daemons would then lock two files. It says who holds it, for people and for starts that lose: the pid on its first line,
and `stopping` on its second once the holder has stopped answering, so that the next start waits for it.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from dxd.errors import Refused

LOCK_NAME = "dxd.lock"
PATIENCE_S = 15.0
"""How long a start waits for a daemon that is stopping: longer than what that gives to requests in flight."""
WRITING_S = 1.0
"""How long a start waits for the winner of a race to write its pid, so as to name it."""
RETRY_S = 0.01


class AlreadyRunning(Exception):
    """Another daemon holds the lock; `pid` is None where it has not said its own."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"dxd is already running, pid {pid or 'not known'}")
        self.pid = pid


class Lock:
    """A lock that is held; its one owner is the daemon's `Listener`. Forked children must not outlive the holder."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: Path, *, patience_s: float = PATIENCE_S) -> Self:
        """Take the lock in `directory`.

        Waits up to `patience_s` for a holder that is stopping. Raises `AlreadyRunning` where a live daemon holds
        the lock, `Refused` where the file cannot be made or written.
        """
        path = directory / LOCK_NAME
        began = time.monotonic()
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise Refused(f"cannot make {path}: {error.strerror}", f"see to {directory}") from error
            lock = cls(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, stopping = lock._holder()
                waited = time.monotonic() - began
                if waited > (patience_s if stopping else WRITING_S if pid is None else -1.0):
                    raise AlreadyRunning(pid) from None
            else:
                # A file that was removed between the two calls locks out nobody.
                if lock.holds():
                    try:
                        lock._write(f"{os.getpid()}\n")
                    except OSError as error:
                        os.close(descriptor)
                        raise Refused(f"cannot write {path}: {error.strerror}", f"see to {directory}") from error
                    return lock
            os.close(descriptor)
            time.sleep(RETRY_S)

    def holds(self) -> bool:
        """Whether the file at the lock's path is still the one that is locked."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def mark_stopping(self) -> None:
        """Tell later starts that it is worth waiting for this lock."""
        with suppress(OSError):  # on a full disk they are told that we run, which is true as well
            self._write(f"{os.getpid()}\nstopping\n")

    def release(self) -> None:
        """Give the lock back; at the very end, when nothing of this daemon acts any more."""
        with suppress(OSError):
            self._write("")
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def _holder(self) -> tuple[int | None, bool]:
        """The pid of the holder, and whether it is stopping; what a dead one left behind says nothing of its heir."""
        text, _, rest = os.pread(self._descriptor, 64, 0).decode(errors="replace").partition("\n")
        if not (text.isascii() and text.isdigit() and Path("/proc", text).exists()):
            return None, False
        return int(text), rest.startswith("stopping")
