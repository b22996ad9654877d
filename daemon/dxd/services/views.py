"""Services as they are shown: what the ledger says of them, with what the engine says of their containers. Pure."""

from collections.abc import Mapping

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId, ContainerStatus, Health, Inspected
from dxd.services.ledger import Ledger
from dxd.services.model import ServiceView


def of(
    ledger: Ledger, containers: Mapping[ContainerId, Inspected], troubles: Mapping[ServiceName, str], now: float
) -> list[ServiceView]:
    """Every service of a project, by name; what is troubled has that as its reason where there is no other."""
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
                ports=tuple(port for each in inspected for port in each.ports),
                health=instances[0].health if instances else Health.NONE,
                restarts=sum(ledger.history(each).restarts for each in instances),
                since_s=max((now - each.up_at for each in running), default=None),
            )
        )
    return found
