"""Projects of a few words each, and what is seen of them."""

from dataclasses import replace
from typing import Any

from dxd.compose.model import (
    Condition,
    Dependency,
    Extras,
    Project,
    ProjectName,
    Restart,
    RestartKind,
    Service,
    ServiceName,
)
from dxd.engine.model import ContainerId, ContainerStatus, Health, ImageId, Inspected
from dxd.services.ledger import Ledger
from dxd.services.model import Instance, Will

OLD = ImageId("sha256:old")
CONDITIONS = {"started": Condition.STARTED, "healthy": Condition.HEALTHY, "done": Condition.COMPLETED}


def service(
    name: str, after: dict[str, str] | None = None, *, restart: str = "", optional: bool = False, **extras: Any
) -> Service:
    """A service that starts after others: by name, `started`, `healthy` or `done`."""
    kind, _, attempts = restart.partition(":")
    return Service(
        ServiceName(name),
        depends_on=tuple(
            Dependency(ServiceName(other), CONDITIONS[condition], required=not optional)
            for other, condition in (after or {}).items()
        ),
        restart=Restart(RestartKind(kind), int(attempts) if attempts else None),
        extras=Extras(**extras),
    )


def project(*services: Service) -> Project:
    return Project(ProjectName("p"), {each.name: each for each in services})


def ledger(*services: Service, will: Will = Will.UP) -> Ledger:
    return Ledger(project(*services), {each.name: will for each in services})


def instance(name: str, status: str = "running", health: str = "none", start: int = 1, **more: Any) -> Instance:
    """The one container of a service; `start` is how often it was started."""
    return Instance(
        service=ServiceName(name),
        number=1,
        id=ContainerId(name),
        status=ContainerStatus(status),
        health=Health(health),
        started=str(start) if start else "",
        **more,
    )


def container(**more: Any) -> Inspected:
    """One that runs, in detail."""
    plain = Inspected(
        id=ContainerId("c"),
        name="p-web-1",
        image="p-web",
        labels={},
        status=ContainerStatus.RUNNING,
        exit_code=0,
        error="",
        oom_killed=False,
        started_at="1",
        health=Health.NONE,
        health_output="",
        last_test="",
        check=None,
        restart="no",
        ports=(),
        env=(),
        image_id=OLD,
    )
    return replace(plain, **more)
