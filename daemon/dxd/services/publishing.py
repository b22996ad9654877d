"""What services publish on this machine where it is not what their files say.

The one place that knows it: Compose is told of it whenever it makes or compares anything, by `Source.ports`. Pure but
for `Publishing`, which is made by `app` and asks `ports`. Only a port that the file gives a number, or a range, is ever
another one. What the engine chooses stays its choice, and so does what several containers of a service share.
Fails with `PortTaken`, and with what the engine raises.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dxd.compose import doors
from dxd.compose.model import Port, Project, ProjectName, Service, ServiceName
from dxd.engine.model import Inspected
from dxd.engine.supervised import Supervised
from dxd.kit.progress import Progress
from dxd.ports.model import Owner, Protocol
from dxd.ports.ports import Ports
from dxd.services.doors import Door
from dxd.services.news import ONEOFF, PROJECT, SERVICE

Listening = Callable[[ProjectName], Mapping[ServiceName, Iterable[Door]]]

Given = Mapping[Owner, int]
"""Which port each has; of one that is not among them, the wanted one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A port that a service wants on this machine: one number, at one address or several."""

    owner: Owner
    addresses: tuple[str, ...]
    """None: all."""
    also: tuple[int, ...] = ()
    """Others that would do, where the file has a range."""


def wishes(project: Project, root: Path, service: Service) -> list[Wish]:
    """Those of a service that can be others; the same number for the same target at several addresses is one."""
    found: dict[Owner, Wish] = {}
    for each in service.ports:
        owner = _owner(project, root, service, each)
        if owner is None:
            continue
        before = found.get(owner)
        everywhere = not each.host_ip or (before is not None and not before.addresses)
        addresses = dict.fromkeys((*(before.addresses if before is not None else ()), each.host_ip))
        found[owner] = Wish(owner, () if everywhere else tuple(addresses), tuple(_numbers(each))[1:])
    return [*found.values()]


def as_written(service: Service, chosen: Sequence[Port], container: Inspected) -> bool:
    """Whether a container publishes a port that its file says, where another one was chosen for it."""
    written = {each.published for each in service.ports} - {each.published for each in chosen}
    return bool(chosen) and any(str(port) in written for port in container.published)


def differing(
    project: Project, root: Path, given: Given, *, direct: bool = True
) -> dict[ServiceName, tuple[Port, ...]]:
    """All ports of those services that publish others than their files say.

    Where dx listens in a service's place its container publishes nothing, or, where containers are not reached `direct`
    from this machine, a port of the engine's choice that nobody else reaches.
    """
    found = {}
    for name, service in project.services.items():
        ports = tuple(_published(project, root, service, each, given) for each in service.ports)
        if doors.doors(service):
            ports = tuple(each for each in ports if each.protocol != "tcp")
        if not direct:
            ports += tuple(Port(each, "", "127.0.0.1") for each in doors.targets(service))
        if ports != service.ports:
            found[name] = ports
    return found


def listened(project: Project, root: Path, given: Given) -> dict[ServiceName, tuple[Port, ...]]:
    """The ports at which dx listens in services' place."""
    return {
        name: tuple(_listened(project, root, service, each, given) for each in doors.doors(service))
        for name, service in project.services.items()
        if doors.doors(service)
    }


def _listened(project: Project, root: Path, service: Service, port: Port, given: Given) -> Port:
    owner = _owner(project, root, service, port)
    number = None if owner is None else given.get(owner, owner.wanted)
    return replace(port, published="" if number is None else str(number))


def _published(project: Project, root: Path, service: Service, port: Port, given: Given) -> Port:
    owner = _owner(project, root, service, port)
    if owner is None or given.get(owner, owner.wanted) == owner.wanted:
        return port
    return replace(port, published=str(given[owner]))


def _owner(project: Project, root: Path, service: Service, port: Port) -> Owner | None:
    """Whose a port is; None where it is not for dx to choose another."""
    if port in doors.doors(service) and not port.published:
        return Owner(project.name, str(root), service.name, port.target)  # the engine has no say
    numbers = _numbers(port)
    if not numbers or service.replicas != 1 or port.protocol not in ("tcp", "udp"):
        return None
    if str(service.raw.get("network_mode", "")).startswith(("host", "none", "service:", "container:")):
        return None  # nothing is published for it
    protocol: Protocol = "udp" if port.protocol == "udp" else "tcp"
    return Owner(project.name, str(root), service.name, port.target, protocol, numbers[0])


def _numbers(port: Port) -> range:
    """Those that the file says; none where the engine chooses among all."""
    first, _, last = port.published.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        return range(0)
    return range(int(first), int(last or first) + 1)


def shared(service: Service) -> str:
    """A port of one number that several containers would share, for people; empty where there is none."""
    if service.replicas < 2:
        return ""
    for each in service.ports:
        if each.published.isdigit():
            some = f"{each.published}-{int(each.published) + service.replicas - 1}:{each.target}"
            return f"only one of its {service.replicas} containers can have port {each.published}; publish {some}"
    return ""


class Publishing:
    """Of all projects."""

    def __init__(
        self, *, ports: Ports, containers: Supervised, direct: Callable[[], Awaitable[bool]], listening: Listening
    ) -> None:
        """`direct` says whether this machine reaches containers at their own addresses; `listening` are the doors of a
        project that are open.
        """
        self._ports = ports
        self._listening = listening
        self._containers = containers
        self._direct = direct

    async def choose(
        self, project: Project, root: Path, names: Iterable[ServiceName], progress: Progress, *, anew: bool = False
    ) -> Mapping[ServiceName, tuple[Port, ...]]:
        """Give each of these services the ports that it wants, or others where those are taken; says which and why.

        One that has a container keeps what that has, or had, unless all are made `anew`. Then, and where there is no
        container, the wanted one comes first.
        """
        known = dict(await self._ports.all(str(root)))
        for name in sorted(names):
            service = project.services[name]
            if told := shared(service):
                progress.note(f"{name}: {told}")
            wanted = wishes(project, root, service)
            there = await self._there(project, name) if wanted else []
            for wish in wanted:
                has = [*_has(wish, there), *self._doors(project, name, wish)]
                published = not doors.doors(service) and not anew
                if published and set(has) & set(wish.also) and wish.owner not in known:
                    continue  # the engine has chosen
                given = await self._ports.take(
                    wish.owner, also=wish.also, addresses=wish.addresses, has=has, stays=bool(there) and not anew
                )
                if given.why:
                    progress.note(f"{name}: {given.why}")
        await self._ports.retain(project.name, str(root), lambda owner: _is_of(project, root, owner))
        return await self.recall(project, root)

    async def recall(self, project: Project, root: Path) -> Mapping[ServiceName, tuple[Port, ...]]:
        """As it was chosen last: whatever is taken by now, so that the same files mean the same containers."""
        return differing(project, root, dict(await self._ports.all(str(root))), direct=await self._direct())

    async def listened(self, project: Project, root: Path) -> Mapping[ServiceName, tuple[Port, ...]]:
        """Where dx listens in services' place, as it was chosen last."""
        return listened(project, root, dict(await self._ports.all(str(root))))

    async def adopt(
        self, project: Project, root: Path, service: Service, container: Inspected
    ) -> Mapping[ServiceName, tuple[Port, ...]]:
        """Take it as it is where somebody else has made a service's container, which publishes what its file says."""
        for wish in wishes(project, root, service):
            if has := _has(wish, [container]):
                await self._ports.take(wish.owner, also=wish.also, addresses=wish.addresses, has=has, stays=True)
        return await self.recall(project, root)

    async def forget(self, project: ProjectName, root: Path) -> None:
        """Let others have the ports of a project."""
        await self._ports.retain(project, str(root), lambda _: False)

    def _doors(self, project: Project, name: ServiceName, wish: Wish) -> list[int]:
        """Where dx listens for a wish already."""
        every = self._listening(project.name).get(name, ()) if wish.owner.protocol == "tcp" else ()
        return [each.at.port for each in every if each.at is not None and each.target == wish.owner.target]

    async def _there(self, project: Project, name: ServiceName) -> list[Inspected]:
        labels = {PROJECT: project.name, SERVICE: name}
        found = [await self._containers.inspect(each) for each in await self._containers.ids(labels)]
        return [each for each in found if each is not None and each.labels.get(ONEOFF) != "True"]


def _has(wish: Wish, containers: Iterable[Inspected]) -> list[int]:
    """Where it is listened for a wish already."""
    target = wish.owner.target, wish.owner.protocol
    return [port.port for each in containers for port in each.ports if (port.target, port.protocol) == target]


def _is_of(project: Project, root: Path, owner: Owner) -> bool:
    """Whether a port is wanted still, as far as that can be seen: of other profiles only the names are known."""
    name = ServiceName(owner.service)
    if name in project.inactive:
        return True
    service = project.services.get(name)
    return service is not None and any(each.owner == owner for each in wishes(project, root, service))
