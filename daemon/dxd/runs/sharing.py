"""What a tool's runs have in common with others that share their container: its key."""

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from dxd.engine.model import Image
from dxd.errors import CannotGrant
from dxd.runs.grants import PlacedGrant
from dxd.tools.model import Network, Root, Share, Tool, User
from dxd.warm.model import Bind, Key, VolumeKind, VolumeUse

_ESCAPE = re.compile(r"\\([0-7]{3})")


def key_of(image: Image, tool: Tool, network: str) -> Key:
    """What the tool's runs share a container by; `network` is the engine's name of the one they see."""
    limits = tool.limits
    # The cookies of X11 are known by the name of the machine, so it has to be the same one inside.
    same_name = Share.X11 in tool.share and tool.network is not Network.HOST
    return Key(
        image=image.id,
        network=network,
        memory_bytes=limits.memory_bytes,
        cpus=limits.cpus,
        pids=limits.pids,
        volumes=_volumes(image, tool),
        scratch=tool.scratch.value,
        ports=tool.ports,
        devices=tool.devices,
        gpus=tool.gpus,
        hostname=socket.gethostname() if same_name else None,
        user=_user(tool, image),
    )


def binds_of(placed: Sequence[PlacedGrant]) -> tuple[Bind, ...]:
    """What a container has to have from its start; raises `CannotGrant` for what the engine cannot be told."""
    binds = []
    mounts = _mounts()
    for each in placed:
        name = os.fsdecode(each.source)
        try:
            binds.append(_bind(name, each.source.decode(), mounts))
        except OSError as error:
            raise CannotGrant(f"{name} cannot be granted: {error.strerror}", "it was there a moment ago") from None
        except UnicodeDecodeError:
            hint = "here the engine has to mount it, which knows only names in UTF-8; see: dx doctor"
            raise CannotGrant(f"{name} cannot be granted", hint) from None
    return tuple(binds)


def unseen(there: Sequence[Bind], wanted: Sequence[Bind]) -> list[str]:
    """What has been mounted below the grants since the container that has them began, as paths."""
    pairs = zip(there, wanted, strict=True)
    return sorted({each.partition(" ")[2] for old, new in pairs for each in new.below if each not in old.below})


def _mounts() -> list[tuple[str, str]]:
    """The id and the place of all mounts, proc_pid_mountinfo(5)."""
    lines = Path("/proc/self/mountinfo").read_text(errors="backslashreplace").splitlines()
    found = (line.split(" ", 5) for line in lines)
    return [(fields[0], _ESCAPE.sub(lambda each: chr(int(each[1], 8)), fields[4])) for fields in found]


def _bind(name: str, source: str, mounts: Sequence[tuple[str, str]]) -> Bind:
    place = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        # What was decided has no link on its way: one that is there now was not then.
        if str(Path(f"/proc/self/fd/{place}").readlink()) != name:
            raise CannotGrant(f"{name} changed while it was granted: there is a link on the way to it now", "try again")
        found = os.fstat(place)
    finally:
        os.close(place)
    top = source.rstrip("/") + "/"
    below = tuple(f"{number} {path}" for number, path in mounts if path.startswith(top))
    return Bind(source, found.st_dev, found.st_ino, below)


def _volumes(image: Image, tool: Tool) -> tuple[VolumeUse, ...]:
    caches = tuple(VolumeUse(VolumeKind.CACHE, tool.name, path) for path in tool.caches)
    return (*caches, VolumeUse(VolumeKind.ROOT, tool.name, "/", image.id)) if tool.root is Root.KEPT else caches


def _user(tool: Tool, image: Image) -> str:
    """Who runs are, as the key of a container has it."""
    if tool.user is User.ME:
        return ""
    return "0:0" if tool.user is User.ROOT or image.user in ("", "0", "root") else image.user
