"""Where the kernel tells nothing: whether a tree is as it was, by the stat of everything in it, and the cure for that.

Blocks as long as the file system does, and so runs in a thread.
"""

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dxd.watch.filesystem import reach
from dxd.watch.model import Cause, File, Problem, Spec, Tree

LEAST_WATCHES = 524_288
"""What others recommend for machines where code is written, and what newer kernels choose with enough memory."""
LEAST_INSTANCES = 512


def digest(spec: Spec, stopped: threading.Event) -> bytes:
    """What differs if anything that counts has other times, another size, mode or inode. Takes no note of errors."""
    sum_ = hashlib.blake2b(digest_size=16)
    if isinstance(spec, File):
        with suppress(OSError):
            sum_.update(_told("", os.lstat(spec.path)))
            sum_.update(_told("", os.stat(spec.path)))  # noqa: PTH116 - paths here are strings
        return sum_.digest()
    stack = [""]
    while stack and not stopped.is_set():
        directory = stack.pop()
        try:
            with reach(f"{spec.path.rstrip('/')}/{directory}".rstrip("/") or "/") as reachable:
                stack += _take(spec, directory, reachable, sum_.update)
        except OSError as error:
            sum_.update(f"{directory}\0{error.errno}\0".encode(errors="surrogateescape"))
    return sum_.digest()


def _take(tree: Tree, directory: str, reachable: str, add: Callable[[bytes], None]) -> list[str]:
    """Add what is in a directory; the names of the directories in it that count."""
    inner: list[str] = []
    with os.scandir(reachable) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{directory}/{entry.name}" if directory else entry.name
        if entry.is_dir(follow_symlinks=False):
            if tree.prune(name):
                continue
            inner.append(name)
        if not tree.ignores(name):
            with suppress(FileNotFoundError):
                add(_told(name, entry.stat(follow_symlinks=False)))
    return inner


def _told(name: str, status: os.stat_result) -> bytes:
    # A directory's own times and size change with what is ignored in it.
    content = () if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return repr((name, status.st_dev, status.st_ino, status.st_mode, *content)).encode(errors="surrogateescape")


def limit(name: str) -> int:
    """The number in a file of /proc/sys/fs/inotify, or 0."""
    try:
        return int(Path("/proc/sys/fs/inotify", name).read_text())
    except (OSError, ValueError):
        return 0


def problem(path: str, cause: Cause, detail: str) -> Problem:
    """What to tell of something that is polled."""
    said = f"changes of {path} are found late, by looking through it again and again, because"
    if cause is Cause.WATCHES:
        enough = max(LEAST_WATCHES, 2 * limit("max_user_watches"))
        return Problem(
            f"{said} you have no inotify watches left",
            f"raise the limit: sudo sysctl fs.inotify.max_user_watches={enough}",
        )
    if cause is Cause.INSTANCES:
        enough = max(LEAST_INSTANCES, 2 * limit("max_user_instances"))
        return Problem(
            f"{said} you have no inotify instances left",
            f"raise the limit: sudo sysctl fs.inotify.max_user_instances={enough}",
        )
    if cause is Cause.REMOTE:
        return Problem(
            f"{said} a file system of type {detail} does not tell what others change on it",
            "keep it on a local disk if that is too slow",
        )
    return Problem(f"{said} it cannot be watched: {detail}", "mend that")
