"""What a run shares of its caller's session: sockets and a cookie, named by the caller's own variables.

What the caller does not have, the run does not get: a variable that is unset or leads nowhere is for the tool to
complain about, as it would natively. This reads the file system and decides; opening is the launcher's.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dxd.runs.grants import PlacedGrant
from dxd.tools.model import Share

_VARIABLES = {
    Share.SSH_AGENT: ("SSH_AUTH_SOCK",),
    Share.X11: ("DISPLAY", "XAUTHORITY"),
    Share.WAYLAND: ("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"),
}
_X11_SOCKETS = b"/tmp/.X11-unix/X"


def variables(share: Sequence[Share]) -> tuple[str, ...]:
    """The names of the caller's variables that have to pass."""
    return tuple(name for each in share for name in _VARIABLES[each])


def with_session(
    grants: Sequence[PlacedGrant], share: Sequence[Share], env: Iterable[bytes], *, home: bytes
) -> list[PlacedGrant]:
    """The grants and those of the session, parents before what lies in them; what is seen anyway is not added."""
    if not share:
        return list(grants)
    values = dict(entry.partition(b"=")[::2] for entry in env)
    whole = list(grants)
    for path, readonly in _paths(share, values, home):
        if not any(_shows(each, path) for each in whole):
            whole.append(PlacedGrant(os.path.realpath(path), path, readonly, directory=False, why="share"))
    return sorted(whole, key=lambda each: len(each.target))


def _paths(share: Sequence[Share], env: Mapping[bytes, bytes], home: bytes) -> list[tuple[bytes, bool]]:
    """Path, and whether it is only to be read, of all that is there."""
    found: list[tuple[bytes, bool]] = []
    if Share.SSH_AGENT in share:
        found += _socket(env.get(b"SSH_AUTH_SOCK", b""))
    if Share.X11 in share:
        if number := _display(env.get(b"DISPLAY", b"")):
            found += _socket(_X11_SOCKETS + number)
        cookie = env.get(b"XAUTHORITY") or (home + b"/.Xauthority" if home else b"")
        if _is(cookie, stat.S_ISREG):
            found.append((os.path.normpath(cookie), True))
    if Share.WAYLAND in share:
        display = env.get(b"WAYLAND_DISPLAY") or b"wayland-0"
        directory = env.get(b"XDG_RUNTIME_DIR", b"")
        found += _socket(display if display.startswith(b"/") else directory + b"/" + display)
    return found


def _display(display: bytes) -> bytes:
    """The number of a display of this machine's own, as in `:0` and `unix:0.1`; empty for any other."""
    host, _, rest = display.rpartition(b":")
    number = rest.partition(b".")[0]
    return number if host in (b"", b"unix") and number.isdigit() else b""


def _socket(path: bytes) -> list[tuple[bytes, bool]]:
    return [(os.path.normpath(path), False)] if _is(path, stat.S_ISSOCK) else []


def _is(path: bytes, kind: Callable[[int], bool]) -> bool:
    if not path.startswith(b"/"):
        return False
    try:
        return kind(Path(os.fsdecode(path)).stat().st_mode)
    except (OSError, ValueError):
        return False


def _shows(grant: PlacedGrant, path: bytes) -> bool:
    """Whether the path is in the run already, being the grant itself or below it."""
    if path == grant.target:
        return True
    return grant.directory and grant.source == grant.target and path.startswith(grant.target.rstrip(b"/") + b"/")
