"""What the engine has and does: frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType

ImageId = NewType("ImageId", str)
"""`sha256:` and 64 hexadecimal digits."""

ContainerId = NewType("ContainerId", str)
ExecId = NewType("ExecId", str)
"""Of a program that is run in a container besides its own."""
"""64 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What kind of engine answers."""

    version: str
    api_version: str
    architecture: str
    """As Go names it: amd64, arm64."""
    rootless: bool
    apparmor: bool
    cgroup_version: int
    address: str


class EngineState(StrEnum):
    """Whether the engine answered when it was last asked."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What is known of the engine without asking it."""

    state: EngineState
    address: str | None = None
    version: str | None = None
    reason: str | None = None
    """Why it is down, in one line."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that the engine holds."""

    id: ImageId
    architecture: str
    """As Go names it; empty where the image does not say."""
    os: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    """`K=V` each."""
    working_dir: str
    """Absolute, or empty where the image has none."""
    user: str
    labels: Mapping[str, str]
    size_bytes: int
    digests: tuple[str, ...] = ()
    """`REPOSITORY@sha256:...`: by which registries know it, where it was pulled from or pushed to."""


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image in the engine's list of them."""

    id: ImageId
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int
    """With what it shares with others."""
    created_at: datetime
    digests: tuple[str, ...] = ()
    """`repository@digest` of each registry that it came from or went to."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A named volume that a container has; the engine makes it, empty, where it is not there yet."""

    name: str
    target: str
    labels: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that the engine holds."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VolumeUser:
    """A container that has a volume."""

    name: str
    state: str
    """In the engine's words: `running`, `paused`, `exited`, `created`, ..."""
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Publication:
    """A port of the host that leads into a container."""

    address: str
    host: int
    container: int
    protocol: str
    """tcp or udp."""


@dataclass(frozen=True, slots=True)
class Published:
    """A port of this machine that leads into a running container."""

    address: str
    """Empty where the engine does not say."""
    port: int
    protocol: str
    container: ContainerId
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to create. It runs as root, without a command's arguments, and stays until it is removed."""

    image: ImageId
    entrypoint: tuple[str, ...]
    network: str
    """none, bridge, host, or a network's name."""
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[tuple[str, str], ...] = ()
    """Source on the host, which must exist, and target; always read-only."""
    writable: tuple[tuple[str, str], ...] = ()
    """The same, for those that may be written to."""
    volumes: tuple[VolumeSpec, ...] = ()
    anonymous: tuple[str, ...] = ()
    """Targets of volumes that go with the container."""
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    ports: tuple[Publication, ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    """On the host, in the container, and what the cgroup allows: some of `rwm`."""
    gpus: tuple[str, ...] = ()
    """Ids of the driver's, or `all` alone."""
    hostname: str | None = None
    capabilities: tuple[str, ...] = ()
    """The only ones it gets, without `CAP_`."""
    apparmor_unconfined: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container that the engine holds, running or not."""

    id: ContainerId
    labels: Mapping[str, str]
    running: bool
    image: ImageId
    created_at: datetime
    """In UTC."""


class ContainerStatus(StrEnum):
    """What a container does, in the engine's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Health(StrEnum):
    """What the engine's own health check of a container has found."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Check:
    """A container's health check: a test, as `("CMD", ...)` or `("CMD-SHELL", text)`, and its times."""

    test: tuple[str, ...]
    interval_s: float
    timeout_s: float
    start_s: float = 0.0
    """While it may fail without a meaning, after each start."""


@dataclass(frozen=True, slots=True)
class BoundPort:
    """A port of a container that this machine has taken."""

    target: int
    protocol: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """A container in detail."""

    id: ContainerId
    name: str
    image: str
    """As it was named when the container was made."""
    labels: Mapping[str, str]
    status: ContainerStatus
    exit_code: int
    error: str
    """Why the engine could not start it."""
    oom_killed: bool
    started_at: str
    """By the engine's clock, and empty before the first start; tells one start of it from another."""
    health: Health
    health_output: str
    """What its last health check printed; empty where it passed, or there is none."""
    last_test: str
    """When that began, by the engine's clock; tells one test from another, and empty before the first has ended."""
    check: Check | None
    restart: str
    """The engine's own policy: no, always, unless-stopped or on-failure."""
    ports: tuple[BoundPort, ...]
    env: tuple[str, ...] = field(repr=False)
    """`K=V` each."""
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    image_id: ImageId = ImageId("")
    anonymous: tuple[str, ...] = ()
    """Where in it volumes without a name of their own are."""
    mounts: frozenset[tuple[str, str]] = frozenset()
    """What else is mounted in it: a volume's name or a path of the host, and where."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By network, as the engine calls it; none of one that does not run."""
    published: frozenset[int] = frozenset()
    """Fixed ports of this machine, of TCP, that are its own while it runs."""
    execs: tuple[ExecId, ...] = ()
    """Programs that run in it just now besides its own, health checks among them."""


@dataclass(frozen=True, slots=True)
class Printing:
    """How a container's output is kept by the engine."""

    running: bool
    """Or paused, or about to be started again by the engine."""
    tty: bool
    """Its streams are one."""
    driver: str
    """`json-file`, `local`, `journald`, ..."""
    kept_bytes: int | None
    """After which the engine throws away what is older; None where it keeps all."""


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something that happened in the engine."""

    kind: Literal["image", "container", "network"]
    action: str
    """`tag`, `untag`, `delete`, `pull`, ... · `create`, `start`, `die`, `destroy`, ..."""
    id: str
    attributes: Mapping[str, str]
    time_ns: int
    """Since 1970, by the engine's clock."""
