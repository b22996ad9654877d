"""The JSON of the API about projects and their services; what all of it has in common is in `types`."""

from typing import Annotated

from msgspec import Meta, Struct

from dxd.engine.model import Health
from dxd.services.model import Phase, Will

Directory = Annotated[str, Meta(pattern=r"^/[^\x00]*$")]
Clean = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
ProjectName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=200)]
ServiceName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]+$", max_length=200)]
Variable = Annotated[str, Meta(pattern=r"^[^\x00=]+$")]
Profile = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9*][a-zA-Z0-9_.-]*$", max_length=200)]


class BoundPort(Struct, frozen=True):
    """A port of a service that this machine has taken."""

    target: int
    protocol: str
    address: str
    port: int


class Service(Struct, frozen=True):
    """A service of a project."""

    name: str
    state: Phase
    reason: Annotated[str, Meta(description="Why it is in this state, or waits; empty where there is nothing to say")]
    wanted: Annotated[Will, Meta(description="What somebody wants of it")]
    image: str
    containers: Annotated[list[str], Meta(description="Their names")]
    ports: list[BoundPort]
    health: Annotated[Health, Meta(description="What the engine's own check has found")]
    restarts: Annotated[int, Meta(description="By dx, since it was last asked for")]
    running_s: Annotated[float | None, Meta(description="null where it does not run")]


class Project(Struct, frozen=True):
    """A project that is known."""

    name: str
    directory: str
    files: Annotated[list[str], Meta(description="As they were given; empty where Compose looks for itself")]
    profiles: list[str]
    services: list[Service]
    problem: Annotated[str | None, Meta(description="Why its files cannot be read, or the engine be asked")]


class Projects(Struct, frozen=True):
    """By name."""

    projects: list[Project]


class ProjectLine(Struct, frozen=True):
    """The end: the project as it is now."""

    project: Project


class UpBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which project, and what of it."""

    cwd: Annotated[Directory, Meta(description="The project is the one that this directory is in")]
    files: Annotated[
        list[Clean], Meta(description="Compose files, relative to cwd; none where Compose shall look")
    ] = []
    name: Annotated[ProjectName | None, Meta(description="null: the one that Compose finds")] = None
    profiles: list[Profile] = []
    env: Annotated[dict[Variable, Clean], Meta(description="The caller's, which the files may refer to")] = {}
    services: Annotated[list[ServiceName], Meta(description="None: all; what they depend on is included")] = []
    wait: Annotated[bool, Meta(description="Until all are ready or done, or one has fallen")] = False
    recreate: Annotated[bool, Meta(description="Make containers anew, whether or not anything changed")] = False
    build: Annotated[bool, Meta(description="Build images first")] = False


class DownBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What goes."""

    volumes: Annotated[bool, Meta(description="Named volumes, too: their data is lost")] = False


class ServicesBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which services."""

    services: Annotated[list[ServiceName], Meta(description="None: all")] = []
    wait: Annotated[bool, Meta(description="Until they are ready or done, or one has fallen")] = False


class RestartBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which services, and with what environment the files are read again."""

    services: Annotated[list[ServiceName], Meta(description="None: all")] = []
    wait: bool = False
    profiles: Annotated[list[Profile], Meta(description="Besides those in force")] = []
    env: Annotated[dict[Variable, Clean], Meta(description="None: the one that is known")] = {}


class Variables(Struct, frozen=True):
    """Where services are; values may be secrets."""

    variables: dict[str, str]


class Terminal(Struct, frozen=True):
    """How to call Docker Compose for the project."""

    argv: Annotated[list[str], Meta(description="To be followed by a verb of Compose and its arguments")]
    env: dict[str, str]
