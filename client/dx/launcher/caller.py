"""What a run inherits from whoever called, besides argv and environment (client/launcher/caller.c).

Python itself changes some of it before it runs a line: it ignores SIGPIPE and SIGXFSZ, and where the locale is C it
sets LC_CTYPE. So what can still be had from the kernel comes from there, and the two signals count as not
ignored, like for those who start a process with `subprocess`, unless a launcher in C was there first and says so.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import sys

from dx.errors import RunFailed
from dx.protocol import RLIMITS

_IGNORED_BY_PYTHON = 1 << 13 - 1 | 1 << 25 - 1
"""SIGPIPE and SIGXFSZ."""
_DEPTH = b"DX_DEPTH"
MAX_DEPTH = 20


class State:
    """What `START` tells of the caller."""

    __slots__ = ("ignored", "limits", "nice", "umask")

    def __init__(self, ignored: int = 0) -> None:
        """As it is now; bits of `ignored` are signals of which it is known otherwise. Reading it changes nothing, so
        that threads do not matter.
        """
        with open("/proc/self/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file.read().splitlines())
        self.umask = int(lines[b"Umask"], 8)
        self.ignored = int(lines[b"SigIgn"], 16) & ~_IGNORED_BY_PYTHON | ignored
        self.nice = os.getpriority(os.PRIO_PROCESS, 0)
        numbers = [value & (1 << 64) - 1 for each in range(RLIMITS) for value in resource.getrlimit(each)]
        self.limits = tuple(numbers)


def secure_stdio() -> frozenset[int]:
    """Fill those of 0-2 that are closed, so that nothing else lands there; which they were. Call it first."""
    closed = frozenset(fd for fd in (0, 1, 2) if not is_open(fd))
    for fd in sorted(closed):
        if os.open("/dev/null", os.O_RDWR) != fd:
            raise RunFailed("cannot open /dev/null")
    return closed


def is_open(fd: int) -> bool:
    """Whether there is such a descriptor."""
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def passes(fd: int) -> bool:
    """Whether a descriptor above 2 was left open for a child on purpose and is no door: a pipe, a socket, a file."""
    try:
        if fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            return False
        mode = os.fstat(fd).st_mode
    except OSError:  # that of the listing itself
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def descriptors(closed: frozenset[int], terminal: int, room: int) -> list[int]:
    """Those to hand on, which have the same numbers in the run; raises `RunFailed` where there are more than `room`.

    Not among them are those of 0-2 that were closed, and those that `terminal` says, as bits, get a terminal.
    """
    found = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    found = [fd for fd in found if (fd not in closed and not terminal >> fd & 1 if fd < 3 else passes(fd))]
    if len(found) > room:
        raise RunFailed(f"more than {room} descriptors are open; close some before the run")
    return found


def arguments() -> list[bytes]:
    """`sys.argv` without its first, byte for byte as the kernel has it, whatever the locale says that it means."""
    with open("/proc/self/cmdline", "rb") as file:
        words = file.read().split(b"\0")[:-1]
    count = len(sys.argv) - 1
    return words[len(words) - count :]


def environment() -> list[bytes]:
    """The variables, "NAME=VALUE", as they were before Python added any."""
    with open("/proc/self/environ", "rb") as file:
        return file.read().split(b"\0")[:-1]


def directory() -> bytes:
    """The current directory; raises `RunFailed` if it is gone."""
    try:
        path = os.getcwdb()
    except OSError:
        path = b""
    if not path.startswith(b"/"):
        raise RunFailed("the current directory is gone; change into one that exists")
    return path


def deeper(environment: list[bytes]) -> list[bytes]:
    """With one more run counted; a tool that finds dx again in its place would multiply without end."""
    depth = 0
    rest = []
    for each in environment:
        name, _, value = each.partition(b"=")
        if name == _DEPTH:
            depth = int(value) if value.isdigit() else 0
        else:
            rest.append(each)
    if depth >= MAX_DEPTH:
        raise RunFailed(
            f"{depth} runs of dx inside each other: a shim seems to call itself; check PATH, or unset {_DEPTH.decode()}"
        )
    return [*rest, b"%s=%d" % (_DEPTH, depth + 1)]
