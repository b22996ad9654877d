"""What a tool is: frozen values, as `dx.toml` and the API define them."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NewType

ToolName = NewType("ToolName", str)


class Network(StrEnum):
    """Which network a run sees."""

    NONE = "none"
    BRIDGE = "bridge"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Build:
    """How to make the tool's image from a Dockerfile."""

    context: Path
    """Absolute directory of the build context."""
    file: Path | None = None
    """The Dockerfile, absolute; None is `Dockerfile` in the context."""
    target: str | None = None
    """The stage to build; None is the last."""
    args: tuple[tuple[str, str], ...] = ()
    """Build arguments, sorted by name."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that every run of the tool sees."""

    source: str
    """Absolute on the host."""
    target: str
    """Absolute in the run's root."""
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What all runs in one warm container may use together; None is no limit."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A name, an image or a build, and how to run it. Exactly one of `image` and `build` is set."""

    name: ToolName
    image: str | None = None
    build: Build | None = None
    entrypoint: tuple[str, ...] | None = None
    """In place of the image's ENTRYPOINT; empty is none at all, None is the image's own."""
    commands: tuple[str, ...] = ()
    """Commands of the image that the tool offers by name; empty is one, the tool's name, which is the entrypoint."""
    network: Network = Network.BRIDGE
    env: tuple[str, ...] = ()
    """`K=V` sets, anything else is a shell pattern over names of the caller's variables to pass."""
    mounts: tuple[Mount, ...] = ()
    caches: tuple[str, ...] = ()
    """Absolute directories in the run's root that stay from run to run, each a volume of the tool's."""
    limits: Limits = field(default_factory=Limits)

    @property
    def offers(self) -> tuple[str, ...]:
        """The command names that are shims of this tool."""
        return self.commands or (self.name,)
