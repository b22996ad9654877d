"""What a run's refusal may lead to instead (client/launcher/native.c, trust_ask in main.c)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_asked = False


def become(command: bytes, args: Sequence[bytes], env: Sequence[bytes]) -> None:
    """Become the next program of that name on PATH that is no shim; returns where there is none."""
    variables = dict(entry.partition(b"=")[::2] for entry in env)
    for directory in variables.get(b"PATH", b"").split(b":"):
        path = directory + b"/" + command
        if not directory or _is_shim(path):
            continue
        try:
            os.execve(path, [command, *args], variables)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue


def trusts(project: bytes, env: Sequence[bytes]) -> bool:
    """Ask on the terminal, once, whether the project may do what it asks for; false where there is none to ask on."""
    global _asked  # noqa: PLW0603 - of the whole process, as the terminal is
    if _asked or not (os.isatty(0) and os.isatty(2)):
        return False
    _asked = True
    import sys

    variables = dict(entry.partition(b"=")[::2] for entry in env)
    child = os.fork()
    if child == 0:
        try:
            os.dup2(2, 1)
            os.execve(sys.executable, [sys.executable, "-m", "dx.cli", "trust", os.fsdecode(project)], variables)  # noqa: S606
        finally:
            os._exit(127)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _is_shim(path: bytes) -> bool:
    try:
        return os.readlink(path).rpartition(b"/")[2] == b"dx"
    except OSError:
        return False
