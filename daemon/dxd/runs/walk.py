"""From a name to what it names, one component after the other, as the kernel goes; and what it went through.

A run finds a path under its own name only if every link on the way is there, and every directory that a `..` leaves.
"""

import os
import stat
from dataclasses import dataclass, field

MAX_LINKS = 40
"""As the kernel's MAXSYMLINKS."""


@dataclass(slots=True)
class Walk:
    """Where a name leads."""

    end: bytes = b"/"
    """The physical path; of something new, that of the directory that it would be made in."""
    mode: int | None = None
    """Its st_mode; None where it does not exist."""
    owner: int = -1
    """Its st_uid."""
    new: bytes = b""
    """The last component, where only that is missing."""
    links: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Physical path of each link on the way, and what is written in it."""
    left: list[bytes] = field(default_factory=list)
    """Physical directories that a `..` left."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory that exists."""
        return self.mode is not None and stat.S_ISDIR(self.mode)


def walk(path: bytes, cwd: bytes) -> Walk | None:
    """Follow a name from the physical directory `cwd`; None where it leads nowhere, or the caller may not look."""
    result = Walk()
    at = b"" if path.startswith(b"/") or cwd == b"/" else cwd
    todo = path.split(b"/")[::-1]
    try:
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if at:
                    result.left.append(at)
                at = at.rpartition(b"/")[0]
                continue
            here = at + b"/" + part
            try:
                status = os.lstat(here)
            except FileNotFoundError:
                if any(each not in (b"", b".") for each in todo):
                    return None
                result.end, result.new = at or b"/", part
                return result
            except NotADirectoryError:
                break  # it names a file as if it were a directory; the tool shall hear so
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(here)  # noqa: PTH115 - bytes
                result.links.append((here, target))
                if len(result.links) > MAX_LINKS:
                    return None
                if target.startswith(b"/"):
                    at = b""
                todo += target.split(b"/")[::-1]
            else:
                at = here
        status = os.lstat(at or b"/")
    except (OSError, ValueError):
        return None
    result.end, result.mode, result.owner = at or b"/", status.st_mode, status.st_uid
    return result


def physical(path: bytes | str) -> bytes:
    """As realpath(3) has it; of what does not exist, as far as it does.

    The kernel says it where it can: that is an open and a readlink, in place of an lstat for each component.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return os.fsencode(os.path.realpath(path))
    try:
        return os.fsencode(os.readlink(f"/proc/self/fd/{place}"))  # noqa: PTH115 - bytes
    except OSError:
        return os.fsencode(os.path.realpath(path))
    finally:
        os.close(place)
