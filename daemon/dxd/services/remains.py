"""What is left of a project that was taken down: networks and volumes that Compose left because somebody else has them.

Compose says so in passing and succeeds, so the engine is asked what it has. Used by `services`, holds nothing. Raises
`EngineTrouble`, and `Conflict` where something is left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dxd.engine.networks import Networks
from dxd.engine.storage import Storage
from dxd.errors import Conflict
from dxd.services.news import PROJECT


@dataclass(frozen=True, slots=True)
class Left:
    """One that was to go."""

    kind: str
    """`volume` or `network`."""
    name: str
    users: Sequence[str]
    """Containers, by name."""


class Remains:
    """Of all projects."""

    def __init__(self, *, storage: Storage, networks: Networks) -> None:
        self._storage = storage
        self._networks = networks

    async def refuse(self, project: str, *, volumes: bool) -> None:
        """Raise `Conflict` if a network of the project is left, or with `volumes` a volume; it says who has it."""
        labels = {PROJECT: project}
        left = [
            Left("network", each.name, await self._networks.users(each.id)) for each in await self._networks.all(labels)
        ]
        if volumes:
            left += [
                Left("volume", each.name, [user.name for user in await self._storage.users(each.name)])
                for each in await self._storage.volumes(labels)
            ]
        if left:
            verb = "dx down --volumes" if volumes else "dx down"
            raise Conflict(f"{project} is down, but {told(left)}", f"once they are free: {verb} --project {project}")


def told(left: Iterable[Left]) -> str:
    """In words."""
    return ", ".join(
        f"the {each.kind} {each.name} stays" + (f" (in use by {', '.join(sorted(each.users))})" if each.users else "")
        for each in left
    )
