"""Which paths of the host a run sees. Inferred is only the project around the current directory; the rest is said.

This reads the file system and decides; opening what was decided is the launcher's, with the caller's own rights.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import CannotGrant
from dxd.tools.model import Mount

MARKERS = (b".git", b"dx.toml", b"compose.yaml", b"compose.yml", b"docker-compose.yaml", b"docker-compose.yml")
"""What makes a directory the root of a project."""

SYSTEM = (
    b"/usr", b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32", b"/etc", b"/dev", b"/proc", b"/sys",
)  # fmt: skip
"""The image's own; no grant hides them, and a current directory there is the image's."""

_CLOSED = (b"/run", b"/var/run", b"/boot", b"/lost+found")
_CLOSED_IN_HOME = (b".ssh", b".gnupg")


@dataclass(frozen=True, slots=True)
class PlacedGrant:
    """A path of the host and where it is in the run's root."""

    source: bytes
    target: bytes
    readonly: bool
    directory: bool


def plan(cwd: bytes, *, home: bytes, mounts: Sequence[Mount], private: Iterable[bytes]) -> list[PlacedGrant]:
    """The grants of a run, parents before what lies in them.

    `private` are dx's own directories and the engine's socket. Raises `CannotGrant` where the current
    directory cannot be shown, or a mount of the tool is not there.
    """
    grants = [_explicit(mount) for mount in mounts]
    if cwd != b"/" and not _is_in(cwd, SYSTEM) and not any(_is_in(cwd, (each.target,)) for each in grants):
        root = _project_root(cwd, home, tuple(private))
        grants.append(PlacedGrant(root, root, readonly=False, directory=True))
    grants.sort(key=lambda each: len(each.target))
    return grants


def check_caches(caches: Iterable[str], grants: Sequence[PlacedGrant]) -> None:
    """See that each cache which lies in a grant has a directory there to be mounted on; raises `CannotGrant`.

    The agent would make it with more rights than the caller may have.
    """
    for cache in map(os.fsencode, caches):
        for grant in grants:
            if _is_in(cache, (grant.target,)):
                place = grant.source + cache[len(grant.target) :]
                if not Path(os.fsdecode(place)).is_dir():
                    name = os.fsdecode(place)
                    raise CannotGrant(
                        f"the cache {os.fsdecode(cache)} lies in your files, and {name} is no directory",
                        f"make it: mkdir -p {name}",
                    )


def _explicit(mount: Mount) -> PlacedGrant:
    source, target = os.fsencode(mount.source), os.fsencode(mount.target)
    try:
        mode = Path(mount.source).stat().st_mode
    except OSError as error:
        raise CannotGrant(f"{mount.source} cannot be granted: {error.strerror}", "the tool's mounts name it") from None
    return PlacedGrant(source, target, mount.readonly, stat.S_ISDIR(mode))


def _project_root(cwd: bytes, home: bytes, private: tuple[bytes, ...]) -> bytes:
    """The nearest directory above with a marker, else the current directory itself."""
    if reason := _closed(cwd, home, private):
        raise CannotGrant(
            f"the current directory {os.fsdecode(cwd)} {reason}",
            f"change into a project, or say it once: dx run --mount {os.fsdecode(cwd)} ...",
        )
    at = cwd
    while not _closed(at, home, private) and at != b"/":
        for marker in MARKERS:
            try:
                os.lstat(at + b"/" + marker)
            except OSError:
                continue
            return at
        at = at.rpartition(b"/")[0] or b"/"
    return cwd


def _closed(path: bytes, home: bytes, private: tuple[bytes, ...]) -> str:
    """Why a path is never granted by inference; empty where it may be."""
    if home and home != b"/" and _is_in(home, (path,)):
        return "is your home directory as a whole, or holds it, and is never granted unasked"
    if home and _is_in(path, tuple(home + b"/" + each for each in _CLOSED_IN_HOME)):
        return "holds your keys and is never granted unasked"
    if _is_in(path, _CLOSED) or any(_is_in(each, (path,)) or _is_in(path, (each,)) for each in private):
        return "holds sockets or state of the system, the engine or dx, and is never granted unasked"
    return ""


def _is_in(path: bytes, directories: Iterable[bytes]) -> bool:
    return any(path == each or path.startswith(each + b"/") for each in directories)
