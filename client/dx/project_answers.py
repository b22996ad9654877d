"""What the daemon answers about projects and their services; all other answers are in `answers`."""

from typing import NotRequired, TypedDict


class BoundPort(TypedDict):
    """A port of a service that this machine has taken."""

    target: int
    protocol: str
    address: str
    port: int


class Service(TypedDict):
    """A service of a project."""

    name: str
    state: str
    """"ready", "starting", "waiting", "backoff", "failed", "unhealthy", "done", "stopped", ...; there may be more."""
    reason: str
    """Why, or what it waits for; empty where there is nothing to say."""
    wanted: str
    image: str
    containers: list[str]
    ports: list[BoundPort]
    health: str
    restarts: int
    running_s: float | None


class Project(TypedDict):
    """A project that is known, and its services."""

    name: str
    directory: str
    files: list[str]
    profiles: list[str]
    services: list[Service]
    problem: str | None
    """Why its files cannot be read now, or the engine be asked; until then what was known counts."""


class UpBody(TypedDict):
    """What to have run; what is left out has its default."""

    cwd: str
    files: NotRequired[list[str]]
    name: NotRequired[str | None]
    profiles: NotRequired[list[str]]
    env: NotRequired[dict[str, str]]
    services: NotRequired[list[str]]
    wait: NotRequired[bool]
    recreate: NotRequired[bool]
    build: NotRequired[bool]


class ProjectLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    project: Project


class Snapshot(TypedDict):
    """What some volumes of a project had in them at one moment."""

    project: str
    name: str
    created_at: str
    files: int
    size_bytes: int
    volumes: list[str]


class SnapshotLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    snapshot: Snapshot


class UseBody(TypedDict):
    """Which service another project uses."""

    consumer: str
    alias: str
    project: str
    service: str


class VariablesLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    variables: dict[str, str]


class Consumer(TypedDict):
    """A use of a service by another project."""

    consumer: str
    alias: str
    project: str
    service: str
    begun: list[str]


class Terminal(TypedDict):
    """How to call Docker Compose for a project."""

    argv: list[str]
    env: dict[str, str]
