"""Services as they are shown: what the ledger says of them, with what the engine says of their containers. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from dxd.compose.model import ServiceName
from dxd.engine.model import BoundPort, ContainerId, ContainerStatus, Health, Inspected
from dxd.services import doors
from dxd.services.doors import Door
from dxd.services.ledger import Ledger
from dxd.services.model import ServiceView


def of(
    ledger: Ledger,
    containers: Mapping[ContainerId, Inspected],
    troubles: Mapping[ServiceName, str],
    listening: Mapping[ServiceName, Iterable[Door]],
    now: float,
) -> list[ServiceView]:
    """Every service of a project, by name; what is troubled has that as its reason where there is no other.

    Where dx is `listening` for a service, that is where it is, and not what its container publishes of the same ports.
    """
    found = []
    for name, service in sorted(ledger.project.services.items()):
        instances = sorted(ledger.seen.of(name), key=lambda each: each.number)
        inspected = [containers[each.id] for each in instances if each.id in containers]
        phase, reason = ledger.phase(name, now)
        running = [each for each in instances if each.status is ContainerStatus.RUNNING]
        found.append(
            ServiceView(
                project=ledger.project.name,
                name=name,
                phase=phase,
                reason=reason or troubles.get(name, ""),
                will=ledger.wanted.will(name),
                image=inspected[0].image if inspected else service.image or "",
                containers=tuple(each.name for each in inspected),
                ports=_ports(inspected, doors.shown(listening.get(name, ()))),
                health=instances[0].health if instances else Health.NONE,
                restarts=sum(ledger.history(each).restarts for each in instances),
                since_s=max((now - each.up_at for each in running), default=None),
            )
        )
    return found


def _ports(containers: Iterable[Inspected], listening: Sequence[BoundPort]) -> tuple[BoundPort, ...]:
    targets = {(each.target, each.protocol) for each in listening}
    published = (port for each in containers for port in each.ports)
    return (*listening, *(each for each in published if (each.target, each.protocol) not in targets))
