"""Warm containers as values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from dxd.engine.model import ContainerId, ImageId
from dxd.tools.model import Device, Port


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A warm container as the API shows it."""

    id: ContainerId
    image: str
    """As the tool's definition or the caller names it."""
    image_id: ImageId
    tools: tuple[str, ...]
    """The tools whose runs it takes."""
    network: str
    state: str
    runs: int
    """Runs in it now."""
    idle_s: float
    """Since its last run ended; 0 while there are runs."""
    created_at: datetime
    agent_pid: int | None
    """On the host; None until it is ready."""


class State(StrEnum):
    """Where a warm container stands."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """Takes no new run, goes when its last one has ended."""


class VolumeKind(StrEnum):
    """What a volume of a tool's is for."""

    CACHE = "cache"
    ROOT = "root"


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """A volume of a tool's that a container has."""

    kind: VolumeKind
    tool: str
    path: str
    """Absolute: where it is in the root of a run."""
    image: str = ""
    """Of a kept root: over which image its layer lies."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the host that a container has from its start. One that was made anew is another."""

    source: str
    """Absolute."""
    device: int
    inode: int
    below: tuple[str, ...] = field(default=(), compare=False)
    """What was mounted below it, as "ID PATH", when it was looked at: a container does not see what came later."""


@dataclass(frozen=True, slots=True)
class Key:
    """What runs must have in common to share a container."""

    image: ImageId
    network: str
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    volumes: tuple[VolumeUse, ...] = ()
    """In the order in which the agent knows them."""
    ports: tuple[Port, ...] = ()
    devices: tuple[Device, ...] = ()
    gpus: tuple[str, ...] = ()
    hostname: str | None = None
    """None is the engine's choice."""
    scratch: str = "memory"
    """Where a fresh root is written to: `memory` or `disk`."""
    user: str = ""
    """Who runs are, as an image's USER; empty is their caller."""
    binds: tuple[Bind, ...] = ()
    """What runs are granted, in their order, where launchers cannot pass it on."""

    @property
    def has_kept_root(self) -> bool:
        """Whether runs write to a root that stays."""
        return any(each.kind is VolumeKind.ROOT for each in self.volumes)

    def to_label(self) -> str:
        """The key as the container's label keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_label(cls, text: str) -> "Key":
        """The inverse; raises `ValueError` for a label that is not ours."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            raise ValueError("not the key of a warm container") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """The user as every warm container knows them from its start."""

    uid: int
    gid: int
    home: str
    """Absolute, or empty where there is none to make."""
    passwd: str
    """A line of passwd(5)."""
    groups: tuple[str, ...]
    """Lines of group(5)."""
    gids: tuple[int, ...] = ()
    """Supplementary groups."""
