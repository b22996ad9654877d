"""Where dx listens for services, and where a connection is led: pure decisions. The doer is `listening`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dxd.compose import doors
from dxd.compose.model import Port, Project, ServiceName
from dxd.engine.model import BoundPort, ContainerStatus, Inspected
from dxd.proxy.model import Place
from dxd.services.model import Will

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - where Compose publishes what has no address
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Door:
    """One place, or one name, that leads to a service."""

    target: int
    """The port in the container."""
    at: Place | None = None
    name: str = ""
    """A host, `SERVICE.PROJECT.localhost`; empty for a port."""


def plan(
    project: Project,
    wills: Mapping[ServiceName, Will],
    ports: Mapping[ServiceName, Sequence[Port]],
    standing: Mapping[ServiceName, Iterable[Door]],
    containers: Iterable[Inspected],
    service_of: Mapping[str, ServiceName],
) -> dict[ServiceName, tuple[Door, ...]]:
    """By service. `ports` are those that services have instead of what the files say, `standing` the doors that are
    open; `service_of` is of containers, by their ids.

    A container that publishes a port itself, because somebody else has made it, has it. One that was made without a
    port has to have its door, whatever its file says by now.
    """
    own = {(service_of[each.id], port) for each in containers if each.id in service_of for port in each.published}
    found = {}
    for name, service in project.services.items():
        if wills.get(name, Will.DOWN) not in (Will.UP, Will.ASLEEP):
            continue
        every = [
            Door(each.target, at=Place(host, int(each.published)))
            for each in ports.get(name, doors.doors(service))
            if each.published.isdigit() and (name, int(each.published)) not in own
            for host in ([each.host_ip] if each.host_ip else EVERYWHERE)
        ]
        if not service.extras.sleeps and name in service_of.values():
            every += [each for each in standing.get(name, ()) if each.at and (name, each.at.port) not in own]
        if service.extras.http is not None:
            every.append(Door(service.extras.http, name=f"{name}.{project.name}.localhost".lower()))
        if every:
            found[name] = tuple(every)
    return found


def lead(containers: Iterable[Inspected], target: int) -> Place | None:
    """Where a service listens that runs: at a port of the loopback interface, if one is published there because the
    engine's networks are out of reach, else at its container's address.
    """
    for each in containers:
        if each.status is not ContainerStatus.RUNNING:
            continue
        for port in each.ports:
            if (port.target, port.protocol) == (target, "tcp") and port.address in LOOPBACK:
                return Place(port.address, port.port)
        for address in each.addresses.values():
            return Place(address, target)
    return None


def shown(every: Iterable[Door]) -> tuple[BoundPort, ...]:
    """As what is published by the engine is shown."""
    return tuple(BoundPort(each.target, "tcp", each.at.host, each.at.port) for each in every if each.at is not None)
