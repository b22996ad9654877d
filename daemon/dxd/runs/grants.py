"""Which paths of the host a run sees: what the tool's mounts say, the project around the current directory, and what
the arguments name.

This reads the file system and decides; opening what was decided is the launcher's, with the caller's own rights.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dxd.errors import CannotGrant
from dxd.runs.closed import SYSTEM, Closed, is_in
from dxd.runs.inference import Inference
from dxd.runs.project import find_root
from dxd.runs.repository import protected
from dxd.runs.walk import physical
from dxd.tools.model import GitAccess, Missing, Mount, Paths

MAX_GRANTS = 128
"""As many as the agent takes (daemon/agent/agent.h), and half of the descriptors that one message can carry."""


@dataclass(frozen=True, slots=True)
class PlacedGrant:
    """A path of the host and where it is in the run's root."""

    source: bytes
    """Physical: the launcher follows no link on its way."""
    target: bytes
    readonly: bool
    directory: bool
    new: bytes = b""
    """The name of something in this directory that does not exist; where the image has it, there is no grant."""
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run sees of the host, and where it begins."""

    grants: tuple[PlacedGrant, ...]
    """Parents before what lies in them."""
    links: tuple[tuple[bytes, bytes], ...] = ()
    """Path of each link to make in the run's root, and what is written in it; nothing: a directory to make."""
    cwd: bytes = b"/"
    """Physical."""
    pwd: bytes = b"/"
    """The name that the caller has for it."""
    refused: tuple[str, ...] = ()
    """What was named and is not granted, each with its reason, as sentences."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and for whom a run is planned."""

    cwd: bytes
    """Absolute; a launcher's is physical, others' need not be."""
    home: bytes
    """Absolute, or empty."""
    private: tuple[bytes, ...] = ()
    """dx's own directories and the engine's socket, physical."""
    pwd: bytes = b""
    """The caller's $PWD, which may be another name of the current directory."""


def plan(
    place: Place,
    *,
    mounts: Sequence[Mount],
    args: Iterable[bytes] = (),
    paths: Paths = Paths.AUTO,
    caches: Iterable[str] = (),
    git: GitAccess = GitAccess.READ,
) -> Plan:
    """The grants of a run. What lies in a cache is the cache's, whatever the host has of that name.

    Raises `CannotGrant` where the current directory cannot be shown, a mount of the tool is not there, an argument
    clearly names what is never granted unasked, or there are too many.
    """
    grants = [found for mount in mounts if (found := _explicit(mount))]
    count = len(grants)
    closed = Closed(place.home, place.private)
    cwd = physical(place.cwd)
    covered = [each.target for each in grants]
    if cwd != b"/" and not is_in(cwd, SYSTEM) and not is_in(cwd, covered):
        if paths is Paths.NONE:
            cwd = place.home if place.home and not is_in(place.home, SYSTEM) else b"/"
        else:
            grants.append(_project(cwd, closed))
            covered.append(grants[-1].target)
    covered += map(os.fsencode, caches)
    inference = Inference(cwd, closed, tuple(covered))
    if paths is Paths.AUTO:
        inference.arguments(args)
    pwd = _logical(cwd, place.pwd, inference)
    grants += _named(inference)
    if git is GitAccess.READ:
        grants += _protected(grants[count:])
    if len(grants) > MAX_GRANTS:
        raise CannotGrant(
            f"the arguments name {len(inference.named)} paths outside of the project; a run sees {MAX_GRANTS} at most",
            "change into their directory, or name it: dx run --mount DIRECTORY ...",
        )
    grants.sort(key=lambda each: len(each.target))
    links = [*sorted((each, b"") for each in inference.left), *sorted(inference.links.items())]
    return Plan(tuple(grants), tuple(links), cwd, pwd, tuple(inference.refused))


def _protected(grants: Iterable[PlacedGrant]) -> list[PlacedGrant]:
    """What of the repositories in these directories has mounts of its own."""
    return [
        PlacedGrant(path, path, readonly, directory, why='git = "read"')
        for each in grants
        if each.directory and not each.readonly
        for path, readonly, directory in protected(each.source)
    ]


def check_caches(caches: Iterable[str], grants: Sequence[PlacedGrant]) -> None:
    """See that each cache which lies in a grant has a directory there to be mounted on; raises `CannotGrant`.

    The agent would make it with more rights than the caller may have.
    """
    for cache in map(os.fsencode, caches):
        for grant in grants:
            if is_in(cache, (grant.target,)):
                place = grant.source + cache[len(grant.target) :]
                if not Path(os.fsdecode(place)).is_dir():
                    name = os.fsdecode(place)
                    raise CannotGrant(
                        f"the cache {os.fsdecode(cache)} lies in your files, and {name} is no directory",
                        f"make it: mkdir -p {name}",
                    )


def _explicit(mount: Mount) -> PlacedGrant | None:
    """None where there is nothing, and the run goes without."""
    try:
        if mount.missing is not Missing.ERROR and not Path(mount.source).exists():
            if mount.missing is Missing.SKIP:
                return None
            Path(mount.source).mkdir(parents=True, exist_ok=True)
        mode = os.stat(mount.source).st_mode  # noqa: PTH116 - takes the string as it is; this is called for every run
    except OSError as error:
        raise CannotGrant(f"{mount.source} cannot be granted: {error.strerror}", "the tool's mounts name it") from None
    source, target = physical(mount.source), os.fsencode(mount.target)
    return PlacedGrant(source, target, mount.readonly, stat.S_ISDIR(mode), why="mounts, or --mount")


def _project(cwd: bytes, closed: Closed) -> PlacedGrant:
    if reason := closed.reason(cwd):
        raise CannotGrant(
            f"the current directory {os.fsdecode(cwd)} {reason}",
            f"change into a project, or say it once: dx run --mount {os.fsdecode(cwd)} ...",
        )
    root = find_root(cwd, closed)
    why = "the current directory" if root == cwd else "the project around the current directory"
    return PlacedGrant(root, root, readonly=False, directory=True, why=why)


def _named(inference: Inference) -> list[PlacedGrant]:
    """What the arguments name, less what lies in another directory that they name."""
    kept: list[PlacedGrant] = []
    directories: list[bytes] = []
    for each in sorted(inference.named.values(), key=lambda each: len(each.path)):
        if is_in(each.path, directories):
            continue
        kept.append(PlacedGrant(each.path, each.path, each.readonly, each.directory, each.new, each.why))
        if each.directory and not each.new:  # what is only there for something new may be left out by the agent
            directories.append(each.path)
    return kept


def _logical(cwd: bytes, pwd: bytes, inference: Inference) -> bytes:
    """The caller's own name for the current directory, where it is one, as a shell decides it (POSIX, `pwd`)."""
    if pwd == cwd or not pwd.startswith(b"/") or any(part in (b".", b"..") for part in pwd.split(b"/")):
        return cwd
    try:
        same = os.path.samestat(os.stat(pwd), os.stat(cwd))  # noqa: PTH116 - bytes
    except OSError:
        return cwd
    return pwd if same and inference.place(pwd) else cwd
