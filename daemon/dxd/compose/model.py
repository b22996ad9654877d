"""A project as Compose resolves it: frozen values.

What dx acts on has a field; of everything else Compose itself takes care, and `Service.raw` shows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NewType

ProjectName = NewType("ProjectName", str)
"""As Compose allows it: lowercase letters, digits, `-` and `_`."""

ServiceName = NewType("ServiceName", str)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a project is read from, and with what. `environ` may hold secrets: it is shown nowhere."""

    directory: Path
    """In which Compose is called."""
    files: tuple[str, ...] = ()
    """As after `-f`; empty where Compose looks for itself."""
    name: str | None = None
    """As after `-p`; None where Compose finds the name."""
    profiles: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: "Mapping[ServiceName, tuple[Port, ...]]" = field(default_factory=dict)
    """What services publish where that is not what the files say; Compose is told it with whatever it makes or
    compares, and not when the files are read."""


class Condition(StrEnum):
    """What a dependency has to be before the dependant starts."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of `depends_on`."""

    service: ServiceName
    condition: Condition = Condition.STARTED
    required: bool = True
    """False: one that is not wanted, or has failed, is not waited for."""
    restart: bool = False
    """A restart of the dependency that somebody asks for restarts the dependant, too."""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """`healthcheck` of the file; None for what the image says instead."""

    test: tuple[str, ...] | None = None
    """`("CMD", ...)`, `("CMD-SHELL", text)`, or `("NONE",)` where it is disabled."""
    interval_s: float | None = None
    timeout_s: float | None = None


class RestartKind(StrEnum):
    """What a service's end leads to."""

    UNSET = ""
    """The file does not say."""
    NO = "no"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"
    ON_FAILURE = "on-failure"


@dataclass(frozen=True, slots=True)
class Restart:
    """`restart`, or `deploy.restart_policy`."""

    kind: RestartKind = RestartKind.UNSET
    attempts: int | None = None
    """How often at most, one or more; None without a limit."""


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of `ports`."""

    target: int
    published: str = ""
    """A port or a range; empty where the engine chooses."""
    host_ip: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Watch:
    """One rule of `develop.watch`."""

    path: str
    action: str
    """sync, rebuild, restart, sync+restart or sync+exec."""
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    """Only these; empty for all."""
    initial_sync: bool = False
    """A container that is new gets all of it, not only what changes."""
    command: tuple[str, ...] = ()
    """Of `sync+exec`."""
    user: str = ""
    """As whom the command is run; empty for the container's own."""
    working_dir: str = ""
    """Where it is run; empty for the container's own."""
    environment: tuple[str, ...] = ()
    """What it has besides the container's own: `NAME=VALUE` each."""
    privileged: bool = False


class OnChange(StrEnum):
    """What a change of a service's files leads to while it runs."""

    APPLY = "apply"
    """It is built and made anew, whatever its definition says by then."""
    BUILD = "build"
    """What it is built from and what its env files say is followed; any other definition of it is only told."""
    TELL = "tell"
    """It is only told."""


@dataclass(frozen=True, slots=True)
class Extras:
    """`x-dx` of a service: what is dx's own."""

    idle_s: float | None = None
    """Stopped after so long without use; None never."""
    lazy: bool = False
    """Started by the first connection to its port."""
    ready: tuple[str, ...] | None = None
    """A test like a health check's, which has to succeed once after each start."""
    restart_unhealthy: bool = True
    seed: tuple[str, ...] | None = None
    """A command like a health check's, which is run once where a volume was empty."""
    on_change: OnChange = OnChange.BUILD
    http: int | None = None
    """The port in the container that answers to the service's name, `SERVICE.PROJECT.localhost`; None has no name."""

    @property
    def sleeps(self) -> bool:
        """Whether it may ever sleep."""
        return self.lazy or self.idle_s is not None


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a project."""

    name: ServiceName
    image: str | None = None
    build: Mapping[str, object] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    depends_on: tuple[Dependency, ...] = ()
    healthcheck: Healthcheck | None = None
    restart: Restart = Restart()
    ports: tuple[Port, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Those that have names."""
    profiles: tuple[str, ...] = ()
    stop_grace_s: float = 10.0
    stop_signal: str | None = None
    replicas: int = 1
    watch: tuple[Watch, ...] = ()
    provider: str | None = None
    by_compose: bool = False
    """Compose itself has to start and stop it: it has hooks, or files that Compose puts into it at its start."""
    extras: Extras = Extras()
    raw: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its services as they are wanted now."""

    name: ProjectName
    services: Mapping[ServiceName, Service]
    """Those of active profiles."""
    inactive: Mapping[ServiceName, tuple[str, ...]] = field(default_factory=dict)
    """Those of other profiles, with theirs."""
    needs: frozenset[str] = frozenset()
    """Variables that the files refer to."""
    env_files: tuple[str, ...] = ()
    """Absolute paths of all files that values come from: every `env_file`, and those for variables in the files."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """What the engine calls those that have names."""
    around: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What is defined beside the services: networks, volumes, secrets, configs."""

    def volumes_of(self, names: Iterable[ServiceName]) -> list[str]:
        """The volumes of these services, as the engine calls them, each once."""
        mine = [each for name in names for each in self.services[name].volumes]
        return [self.volumes[each] for each in dict.fromkeys(mine) if each in self.volumes]

    def users_of(self, volumes: Iterable[str]) -> list[ServiceName]:
        """The services that have one of these volumes, as the engine calls them: also by `volumes_from` of another."""
        wanted = set(volumes)
        return [name for name in self.services if not wanted.isdisjoint(self.volumes_of(_lenders(self.services, name)))]


def _lenders(services: Mapping[ServiceName, Service], name: ServiceName) -> list[ServiceName]:
    """A service, and those whose volumes it has by `volumes_from`, of one or by way of several."""
    found: dict[ServiceName, None] = {}
    pending = [name]
    while pending:
        each = pending.pop()
        if each in services and each not in found:
            found[each] = None
            listed = services[each].raw.get("volumes_from")
            pending += [
                ServiceName(str(other).partition(":")[0]) for other in (listed if isinstance(listed, list) else ())
            ]
    return [*found]


def order(services: Mapping[ServiceName, Service]) -> list[ServiceName]:
    """The services so that each comes after those it depends on; Compose has refused cycles before."""
    found: dict[ServiceName, None] = {}
    pending = [*services]
    while pending:
        later = []
        for name in pending:
            if all(each.service in found or each.service not in services for each in services[name].depends_on):
                found[name] = None
            else:
                later.append(name)
        if len(later) == len(pending):
            raise ValueError(f"dependencies in a circle: {', '.join(later)}")
        pending = later
    return [*found]


def with_dependencies(
    services: Mapping[ServiceName, Service], names: tuple[ServiceName, ...]
) -> frozenset[ServiceName]:
    """These services and all that they depend on; every one where no name is given."""
    if not names:
        return frozenset(services)
    found: set[ServiceName] = set()
    pending = [*names]
    while pending:
        name = pending.pop()
        if name in services and name not in found:
            found.add(name)
            pending += [each.service for each in services[name].depends_on]
    return frozenset(found)


def dependants(services: Mapping[ServiceName, Service], names: frozenset[ServiceName]) -> frozenset[ServiceName]:
    """The services that depend on one of these, directly or not, themselves not among them."""
    found = set(names)
    while True:
        more = {
            name
            for name, service in services.items()
            if name not in found and any(each.service in found for each in service.depends_on)
        }
        if not more:
            return frozenset(found - names)
        found |= more
