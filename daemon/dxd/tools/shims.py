"""The shims: a directory with one symlink per command, each to the launcher.

The directory is the state. Only symlinks to a program called `dx` are ours; whatever else lies in it is left alone
and reported when it stands in a command's way. Two daemons may do this at once.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import Refused
from dxd.tools.names import check_name


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to the directory: names of commands, sorted."""

    directory: Path
    added: tuple[str, ...] = ()
    """Made, or pointed at another launcher."""
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    """Commands that got no shim because a file that is not ours has the name."""


def reconcile(directory: Path, commands: Iterable[str], launcher: Path) -> Changes:
    """Make the directory hold a shim for each of the commands, and no other shim.

    Raises `BadName` for a command that cannot be a name, before anything is changed, and `Refused` if the directory is
    not safe or cannot be written.
    """
    if launcher.name != "dx" or not launcher.is_absolute():
        raise ValueError(f"not the absolute path of a launcher: {launcher}")
    wanted = {str(check_name(command)) for command in commands}
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_safe(directory, os.fstat(fd))
            return _reconcile(fd, directory, wanted, str(launcher))
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused(f"the shims in {directory} cannot be written: {error.strerror}") from error


def _check_safe(directory: Path, status: os.stat_result) -> None:
    """Who else may write here chooses what the user runs."""
    if status.st_uid not in {os.geteuid(), 0}:
        raise Refused(f"{directory} belongs to uid {status.st_uid}", "set DX_DATA_DIR to a place of yours")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise Refused(f"{directory} can be written by others", f"chmod go-w {directory}")


def _reconcile(fd: int, directory: Path, wanted: set[str], launcher: str) -> Changes:
    ours: dict[str, str] = {}
    foreign: set[str] = set()
    for name in os.listdir(fd):
        target = _link_target(fd, name)
        if target is not None and target.rsplit("/", 1)[-1] == "dx":
            ours[name] = target
        elif name in wanted:
            foreign.add(name)
    removed = [name for name in ours if name not in wanted]
    for name in removed:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)
    added = []
    for name in wanted - foreign:
        if name not in ours:
            if _add(fd, name, launcher):
                added.append(name)
            else:
                foreign.add(name)
        elif ours[name] != launcher:
            _point(fd, name, launcher)
            added.append(name)
    return Changes(
        directory=directory,
        added=tuple(sorted(added)),
        removed=tuple(sorted(name for name in removed if not name.startswith("."))),
        kept=tuple(sorted(wanted - foreign - set(added))),
        foreign=tuple(sorted(foreign)),
    )


def _link_target(fd: int, name: str) -> str | None:
    """Where the symlink points; None if it is none, or gone."""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise


def _add(fd: int, name: str, launcher: str) -> bool:
    """Make the shim where nothing was; false if a foreign file came in between."""
    try:
        os.symlink(launcher, name, dir_fd=fd)
    except FileExistsError:
        return _link_target(fd, name) == launcher
    return True


def _point(fd: int, name: str, launcher: str) -> None:
    """Point the shim elsewhere; the command is never missing in between. What a crash leaves behind, the next
    `reconcile` removes: it is a symlink of ours that nobody wants.
    """
    while True:
        temporary = f".{name[:100]}.{secrets.token_hex(6)}"
        os.symlink(launcher, temporary, dir_fd=fd)
        try:
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except FileNotFoundError:  # another `reconcile` has just taken it for such a left-over
            continue
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
            raise
        return
