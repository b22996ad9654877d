"""What services publish on this machine where it is not what their files say.

The one place that knows it: Compose is told of it whenever it makes or compares anything, by `Source.ports`. Pure but
for `Publishing`, which is made by `app` and asks `ports`. Only a port that the file gives a number is ever another one.
What the engine chooses, of all or of a range, stays its choice, and so does what several containers of a service share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dxd.compose.model import Port, Project, Service, ServiceName
from dxd.ports.model import Owner, Protocol
from dxd.ports.ports import Ports

Given = Mapping[Owner, int]
"""Which port each has; of one that is not among them, the wanted one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A port that a service wants on this machine: one number, at one address or several."""

    owner: Owner
    addresses: tuple[str, ...]
    """None: all."""


def wishes(project: Project, root: Path, service: Service) -> list[Wish]:
    """Those of a service that can be others; the same number for the same target at several addresses is one."""
    found: dict[Owner, list[str]] = {}
    for each in service.ports:
        owner = _owner(project, root, service, each)
        if owner is not None:
            found.setdefault(owner, []).append(each.host_ip)
    return [Wish(owner, () if "" in every else tuple(dict.fromkeys(every))) for owner, every in found.items()]


def differing(project: Project, root: Path, given: Given) -> dict[ServiceName, tuple[Port, ...]]:
    """All ports of those services that publish others than their files say."""
    found = {}
    for name, service in project.services.items():
        ports = tuple(_published(project, root, service, each, given) for each in service.ports)
        if ports != service.ports:
            found[name] = ports
    return found


def _published(project: Project, root: Path, service: Service, port: Port, given: Given) -> Port:
    owner = _owner(project, root, service, port)
    if owner is None or given.get(owner, owner.wanted) == owner.wanted:
        return port
    return replace(port, published=str(given[owner]))


def _owner(project: Project, root: Path, service: Service, port: Port) -> Owner | None:
    """Whose a port is; None where it is not for dx to choose another."""
    if not port.published.isdigit() or service.replicas != 1 or port.protocol not in ("tcp", "udp"):
        return None
    protocol: Protocol = "udp" if port.protocol == "udp" else "tcp"
    return Owner(project.name, str(root), service.name, port.target, protocol, int(port.published))


class Publishing:
    """Of all projects."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def recall(self, project: Project, root: Path) -> Mapping[ServiceName, tuple[Port, ...]]:
        """As it was chosen last: whatever is taken by now, so that the same files mean the same containers."""
        return differing(project, root, dict(await self._ports.all(str(root))))
