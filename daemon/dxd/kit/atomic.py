"""Small files that are read and replaced whole, so that no reader ever sees half of one.

Used for files that people edit too: a symlink is followed, the mode and the owner stay. Fails with `OSError`.
"""

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Stamp = tuple[int, int, int, int, int]
"""Identity and times of a file's content: device, inode, size, mtime and ctime in ns. Unequal means changed."""


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def stamp(path: str | Path) -> Stamp | None:
    """The stamp of the file now; None if there is none. Costs one stat(2)."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116 - takes the string as it is; this is called for every run
    except FileNotFoundError:
        return None


def read(path: Path, *, limit_bytes: int) -> tuple[bytes, Stamp]:
    """The content and the stamp that it had at most; raises `OSError` for what is no file (a FIFO does not block)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        content = file.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise OSError(errno.EFBIG, f"Larger than {limit_bytes} bytes", str(path))
    return content, _stamp(status)


@contextmanager
def turn(path: Path, *, deadline_s: float = 2.0) -> Iterator[None]:
    """Among all who ask, be the only one that changes the file; raises `TimeoutError` if another keeps it too long.

    The lock is on the directory, because the file itself is replaced. Editors do not ask: look with `write`'s `check`.
    """
    directory = _real(path).parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + deadline_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(errno.ETIMEDOUT, "Somebody else keeps changing it", str(path)) from None
                time.sleep(0.002)
        yield
    finally:
        os.close(fd)


def write(path: Path, data: bytes, *, mode: int = 0o600, check: Callable[[], None] | None = None) -> None:
    """Put `data` in place of the file's content, durably: after a power cut it is the old content or the new.

    `mode` is for a file that did not exist. `check` runs when all but the rename is done; what it raises calls the
    write off. Missing parent directories are made, 0700.
    """
    path = _real(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            _take_after(path, fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        if check:
            check()
        temporary.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _real(path: Path) -> Path:
    """What the symlinks lead to."""
    try:
        return path.resolve()
    except RuntimeError:  # what Python before 3.13 says about a loop of symlinks
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None


def _take_after(path: Path, fd: int, mode: int) -> None:
    """Give the new file the mode and, where we may, the owner of the old."""
    try:
        old = path.stat()
    except FileNotFoundError:
        os.fchmod(fd, mode)
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _sync_directory(directory: Path) -> None:
    """Make the rename durable; some file systems cannot, and say EINVAL."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)
