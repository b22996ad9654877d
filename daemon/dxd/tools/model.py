"""What a tool is: frozen values, as `dx.toml` and the API define them."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NewType

ToolName = NewType("ToolName", str)

DEFAULT_NETWORK = "default"
"""What Compose calls a project's network where its file names none."""

MARK = "@"
"""Between the name of a project's tool and which project it is."""


class Network(StrEnum):
    """Which network a run sees."""

    NONE = "none"
    BRIDGE = "bridge"
    HOST = "host"
    PROJECT = "project"
    """That of the compose project around the current directory."""


class User(StrEnum):
    """Who a run is inside."""

    ME = "me"
    """The caller, without privilege."""
    ROOT = "root"
    """Root of its own files; what it writes to the caller's are the caller's."""
    IMAGE = "image"
    """The image's USER, in the same way."""


class Paths(StrEnum):
    """Which paths of the host a run sees beside the tool's mounts."""

    AUTO = "auto"
    """The project around the current directory, and what the arguments name."""
    PROJECT = "project"
    NONE = "none"


class Root(StrEnum):
    """What becomes of what a run writes to its root."""

    FRESH = "fresh"
    """It goes with the run."""
    KEPT = "kept"
    """It stays, for all runs of the tool."""


class Scratch(StrEnum):
    """Where a fresh root is written to."""

    MEMORY = "memory"
    DISK = "disk"


class OnChange(StrEnum):
    """What runs do where what the image is built from has changed."""

    SERVE = "serve"
    """They take the image before until the new one is ready."""
    WAIT = "wait"
    """They wait for the new one."""
    MANUAL = "manual"
    """Nothing is built until somebody asks."""


class GitAccess(StrEnum):
    """What a run may do to hooks and configuration of the repositories that it sees."""

    READ = "read"
    WRITE = "write"


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
    secrets: tuple[tuple[str, Path], ...] = ()
    """Absolute files that steps may read, by the id that these ask for, sorted by it."""
    ssh: Path | bool = False
    """What steps may use to log in by SSH: the agent that the daemon knows, or an agent's socket or a key, absolute."""


class Missing(StrEnum):
    """What a run does where the source of a mount is not there."""

    ERROR = "error"
    SKIP = "skip"
    """Go without it."""
    CREATE = "create"
    """Make a directory of that name, as the user."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that every run of the tool sees."""

    source: str
    """Absolute on the host."""
    target: str
    """Absolute in the run's root."""
    readonly: bool = False
    missing: Missing = Missing.ERROR


LOOPBACK = "127.0.0.1"
_EVERY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


@dataclass(frozen=True, slots=True)
class Port:
    """A port of this machine that leads to one of the tool's container."""

    host: int
    container: int
    address: str = LOOPBACK
    """Of this machine, IPv4 or IPv6; `0.0.0.0` and `::` are all of them."""
    protocol: str = "tcp"
    """tcp or udp."""

    @property
    def shown(self) -> str:
        """This machine's side, for messages."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"port {address}:{self.host}" + ("/udp" if self.protocol == "udp" else "")

    def clashes(self, other: "Port") -> bool:
        """Whether not both can be published at once."""
        same = (self.host, self.protocol) == (other.host, other.protocol)
        return same and (self.address == other.address or self.address in _EVERY or other.address in _EVERY)


@dataclass(frozen=True, slots=True)
class Device:
    """A device of this machine, or a directory of them; both paths are below /dev."""

    source: str
    target: str
    mode: str = "rw"
    """r, w or rw: what the container's cgroup allows. The device's own owner and mode hold besides."""


class Share(StrEnum):
    """What of the caller's session a run may use."""

    SSH_AGENT = "ssh-agent"
    X11 = "x11"
    WAYLAND = "wayland"


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of each process of a run, as setrlimit(2) has it; None is unlimited."""

    name: str
    """nofile, nproc, ..."""
    soft: int | None
    hard: int | None


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
    """One of a project has the project's mark behind an `@`, so that no two tools have the same."""
    image: str | None = None
    build: Build | None = None
    on_change: OnChange = OnChange.SERVE
    smoke: tuple[str, ...] = ()
    """Arguments with which a new build has to end well before it serves; none: its container has to start."""
    entrypoint: tuple[str, ...] | None = None
    """In place of the image's ENTRYPOINT; empty is none at all, None is the image's own."""
    commands: tuple[str, ...] = ()
    """Commands of the image that the tool offers by name; empty is one, the tool's name, which is the entrypoint."""
    network: Network = Network.BRIDGE
    network_name: str = DEFAULT_NETWORK
    """With the network `project`: which of the project's, as its compose file calls it."""
    needs: tuple[str, ...] = ()
    """Services of the project around the current directory that are ready before a run begins."""
    user: User = User.ME
    env: tuple[str, ...] = ()
    """`K=V` sets, anything else is a shell pattern over names of the caller's variables to pass."""
    mounts: tuple[Mount, ...] = ()
    paths: Paths = Paths.AUTO
    git: GitAccess = GitAccess.READ
    caches: tuple[str, ...] = ()
    """Absolute directories in the run's root that stay from run to run, each a volume of the tool's."""
    root: Root = Root.FRESH
    scratch: Scratch = Scratch.MEMORY
    scratch_bytes: int | None = None
    """In memory only; None is the daemon's setting."""
    limits: Limits = field(default_factory=Limits)
    ulimits: tuple[Ulimit, ...] = ()
    """In place of the caller's, by name."""
    ports: tuple[Port, ...] = ()
    """Published while one of the tool's runs lives; with the bridge or a project's network."""
    devices: tuple[Device, ...] = ()
    gpus: tuple[str, ...] = ()
    """Numbers or ids as the engine's driver knows them, or `all` alone."""
    share: tuple[Share, ...] = ()
    project: Path | None = None
    """The directory with the dx.toml of the project that has it; None for the user's own."""

    @property
    def word(self) -> str:
        """What it is called where it is defined."""
        return self.name.partition(MARK)[0]

    @property
    def offers(self) -> tuple[str, ...]:
        """The command names that are shims of this tool."""
        return self.commands or (self.word,)
