"""Services as supervision sees them: what is wanted, what is seen, what is to be done. Frozen values.

Times are seconds of the monotonic clock, so that no change of the machine's time means anything here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dxd.compose.model import ProjectName, Service, ServiceName
from dxd.engine.model import BoundPort, ContainerId, ContainerStatus, Health


class Will(StrEnum):
    """What somebody wants of a service."""

    UP = "up"
    DOWN = "down"
    STOPPING = "stopping"
    """DOWN, as soon as its containers have been stopped."""
    ASLEEP = "asleep"
    """To be UP as soon as it is needed, and not to run until then."""


class Phase(StrEnum):
    """What is going on with a service, as it is shown."""

    ABSENT = "absent"
    """It has no container."""
    STOPPED = "stopped"
    """Nobody wants it to run."""
    SLEEPS = "sleeps"
    """It does not run, and is started as soon as it is needed."""
    WAITING = "waiting"
    """For what it depends on."""
    STARTING = "starting"
    """It runs and is not ready yet, or is about to run."""
    READY = "ready"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    BACKOFF = "backoff"
    """It has ended, and is started again after a while."""
    FAILED = "failed"
    """It has ended too often, or for good; it stays so until somebody starts it."""
    DONE = "done"
    """It has ended well, and that was all."""
    STOPPING = "stopping"


class EndKind(StrEnum):
    """What the end of a run of a container means."""

    EXCUSED = "excused"
    """The engine or dx itself has ended it: it may start again at once."""
    CRASHED = "crashed"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class End:
    """The end of one run of a container."""

    run: str
    """Which: the container and its start."""
    kind: EndKind
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class History:
    """What has happened to one container of a service, as far as it still counts."""

    deaths: tuple[float, ...] = ()
    """When, in the last `WINDOW_S` seconds: ends that nobody wanted, and restarts for bad health."""
    streak: int = 0
    """How many, since it was last ready for long."""
    ready_at: float | None = None
    """Since when the run that goes on, or was the last, has been ready."""
    end: End | None = None
    """Of the last run, where that has ended."""
    gave_up: End | None = None
    """Which run is not restarted any more though it goes on, whatever its health, and why."""
    ill: End | None = None
    """When a run was last found to be unhealthy, and why; that it was restarted for that does not change it."""
    restarts: int = 0
    """By dx, because it had fallen or was unhealthy, since somebody last asked for it."""


@dataclass(frozen=True, slots=True)
class Setback:
    """The engine has not started or stopped a container, as far as it says: it refused a stop, or did not answer."""

    run: str
    """That was to end, or after which another one was to begin."""
    starts: bool
    """It is a start; else a stop."""
    reason: str
    tries: int
    """How often in a row, since somebody last asked for something."""
    at: float
    """When it was tried last."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One container of a service, as it was last seen."""

    service: ServiceName
    number: int
    id: ContainerId
    status: ContainerStatus
    health: Health = Health.NONE
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started: str = ""
    """Tells one start of it from another."""
    up_at: float = 0.0
    """Since when it is known to run."""
    probed: bool = False
    """Its test has succeeded in this run, whatever the engine has found so far."""
    hangs: str = ""
    """Which test of dx's own does not end in this run, for people; empty where none is known."""
    health_output: str = ""
    check_s: float = 0.0
    """Within so long the engine tests its health again; 0 where it does not."""
    last_test: str = ""
    """Tells one such test from another."""
    silent_since: float = 0.0
    silences: int = 0
    """How often in a row there was no new test for far too long, and since when that is counted anew."""
    busy: bool = False
    """Something is being done with it."""
    since: float = 0.0
    """Since when it is known to have its status."""

    @property
    def run(self) -> str:
        """Which run of which container."""
        return f"{self.id}@{self.started}"

    @property
    def key(self) -> tuple[ServiceName, int]:
        """Which of a service's containers, whatever its id."""
        return self.service, self.number

    @property
    def runs(self) -> bool:
        """Whether it has processes."""
        return self.status in (ContainerStatus.RUNNING, ContainerStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a project."""

    project: ProjectName
    services: Mapping[ServiceName, Service]
    wills: Mapping[ServiceName, Will]
    unseeded: frozenset[ServiceName] = frozenset()
    """Those that are not ready until their seed has succeeded."""

    def will(self, name: ServiceName) -> Will:
        """Of one that nobody has said anything about: DOWN."""
        return self.wills.get(name, Will.DOWN)

    def one_shot(self, name: ServiceName) -> bool:
        """Whether another service waits for this one to end well."""
        return any(
            each.service == name and each.condition == "service_completed_successfully"
            for service in self.services.values()
            for each in service.depends_on
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there of a project."""

    instances: tuple[Instance, ...] = ()
    histories: Mapping[tuple[ServiceName, int], History] = field(default_factory=dict)
    settled: bool = True
    """False for a moment after the engine was out of sight: what happened meanwhile may still be told."""
    setbacks: Mapping[ContainerId, Setback] = field(default_factory=dict)

    def of(self, name: ServiceName) -> list[Instance]:
        """The containers of a service."""
        return [each for each in self.instances if each.service == name]

    def history(self, instance: Instance) -> History:
        """What has happened to it."""
        return self.histories.get(instance.key, _NOTHING)

    def setback(self, instance: Instance, *, starts: bool) -> Setback | None:
        """Why it was not started, or stopped, where that was tried since it last was."""
        found = self.setbacks.get(instance.id)
        return found if found is not None and found.run == instance.run and found.starts == starts else None

    def gave_up(self, instance: Instance) -> str:
        """Why it is not restarted any more, whatever its health; empty where it is."""
        end = self.history(instance).gave_up
        return end.reason if end is not None and end.run == instance.run else ""


_NOTHING = History()


class Do(StrEnum):
    """What can be done with a container."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    """Stop it; it is started again in its turn."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do now."""

    do: Do
    service: ServiceName
    container: ContainerId
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is done with a container, or with a service that has none."""

    service: ServiceName
    container: ContainerId | None
    phase: Phase
    reason: str = ""
    until: float | None = None
    """When to look again; None where something has to happen first."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service as it is shown."""

    project: ProjectName
    name: ServiceName
    phase: Phase
    reason: str
    will: Will
    image: str
    containers: tuple[str, ...]
    """Their names."""
    ports: tuple[BoundPort, ...]
    health: Health
    restarts: int
    since_s: float | None
    """For how long it has been running; None where it does not."""


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project as it is shown."""

    name: ProjectName
    directory: str
    files: tuple[str, ...]
    profiles: tuple[str, ...]
    services: tuple[ServiceView, ...]
    problem: str
    """Why its files cannot be read, or the engine be asked; until then what was known counts. Mostly empty."""
