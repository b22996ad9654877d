"""Git repositories that a run may write to: what in them the user's own git would execute.

Hooks are programs, and the configuration names programs. A run that can write them acts, at the user's next
`git status`, as the user and outside of any container. So both are read-only in a run, unless the tool has
`git = "write"`.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress


def protected(directory: bytes) -> list[tuple[bytes, bool, bool]]:
    """What of the repository in a directory is to be mounted by itself, outermost first.

    That is, for each, its path, whether it is read-only, and whether it is a directory. The repository's own directory
    is among them, writable: what is a mount cannot be renamed to make place for another. Hooks that are missing would
    be a run's to make, so an empty directory for them is made. Empty where there is no repository, or where `.git` is
    a link or the file of a linked worktree.
    """
    for place in (directory + b"/.git", directory):
        if _is(place + b"/HEAD", stat.S_ISREG) and _is(place + b"/objects", stat.S_ISDIR) and _is(place, stat.S_ISDIR):
            hooks, config = place + b"/hooks", place + b"/config"
            if not os.path.lexists(hooks):
                with suppress(OSError):
                    os.mkdir(hooks)  # noqa: PTH102 - bytes
            found = [(hooks, True, True)] if _is(hooks, stat.S_ISDIR) else []
            if _is(config, stat.S_ISREG):
                found.append((config, True, False))
            return [(place, False, True), *found] if place != directory else found
    return []


def _is(path: bytes, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(os.lstat(path).st_mode)
    except OSError:
        return False
