"""Reaching the daemon, and starting it where none answers (client/launcher/daemon.c)."""

from __future__ import annotations

import os
import sys

from dx.errors import NotStarted, RunFailed
from dx.launcher import places, unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

START_S = 15.0
"""How long a daemon may take to answer after it was started."""


def connect() -> socket:
    """A connection to the daemon, which is started if need be. Raises `NotStarted` or `RunFailed`."""
    try:
        path = os.fsencode(places.socket(os.environ))
    except places.NoHome as error:
        raise RunFailed(str(error)) from None
    try:
        return unix.connect(path, "daemon")
    except (FileNotFoundError, ConnectionRefusedError):
        if "DX_NO_START" in os.environ:
            raise RunFailed("the daemon is not running and DX_NO_START is set; run: dx daemon start") from None
    except OSError as error:
        raise RunFailed(f"cannot connect to {os.fsdecode(path)}: {error.strerror}") from None
    return _start(path)


def program() -> list[str]:
    """How to start a daemon: the `dxd` beside Python, else the module."""
    path = os.path.join(os.path.dirname(sys.executable), "dxd")
    return [path] if os.access(path, os.X_OK) else [sys.executable, "-P", "-m", "dxd"]


def _start(path: bytes) -> socket:
    """One launcher of the many that may come at once takes the start lock and starts it; the others wait for it."""
    import fcntl
    import subprocess
    import time

    state = _private(places.state_dir(os.environ))
    log = f"{state}/dxd.log"
    lock = os.open(f"{_private(places.runtime_dir(os.environ))}/start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    child = None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            if sock := _answering(path):  # it may have come up before the lock was ours
                return sock
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                child = subprocess.Popen(
                    program(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True
                )
            finally:
                os.close(out)
        deadline = time.monotonic() + START_S
        while not (sock := _answering(path)):
            if child and child.poll():
                raise NotStarted(f"the daemon did not start: {_last_words(log)}")
            if time.monotonic() > deadline:
                raise NotStarted(f"the daemon did not answer within {START_S:.0f} s: {_last_words(log)}", f"see {log}")
            time.sleep(0.02)  # that somebody listens now is no event that one could wait for
        return sock
    finally:
        os.close(lock)
        if child:
            child.returncode = 0  # it is not waited for: it is the daemon


def _answering(path: bytes) -> socket | None:
    try:
        return unix.connect(path, "daemon")
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise RunFailed(f"cannot connect to {os.fsdecode(path)}: {error.strerror}") from None


def _private(path: str) -> str:
    """See that a directory is there, and ours alone; raises `RunFailed`."""
    from contextlib import suppress

    try:
        with suppress(FileExistsError):
            os.makedirs(path, 0o700)
        status = os.lstat(path)
    except OSError as error:
        raise RunFailed(f"cannot make {path}: {error.strerror}") from None
    if status.st_mode & 0o170077 != 0o040000 or status.st_uid != os.geteuid():
        raise RunFailed(f"{path} is not a private directory of yours; run: chmod 700 {path} (or remove it)")
    return path


def _last_words(log: str) -> str:
    """The last line of the daemon's log, where it says why it did not start."""
    try:
        with open(log, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return "it left no log"
    words = [line for line in lines if line.strip()]
    return words[-1].decode(errors="backslashreplace") if words else "its log is empty"
