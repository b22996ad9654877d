"""What the engine has not done though it was asked to; owned by the ledger, which shows it to the plan."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from dxd.engine.model import ContainerId
from dxd.services.model import Instance, Setback


class Setbacks:
    """Of one project."""

    def __init__(self) -> None:
        self.by_container: dict[ContainerId, Setback] = {}

    def note(self, each: Instance, reason: str, now: float, *, starts: bool) -> None:
        """Its start, or stop, was refused or not answered; once more, where it was so before in that run."""
        before = self.by_container.get(each.id)
        again = before is not None and before.run == each.run and before.starts == starts
        self.by_container[each.id] = Setback(each.run, starts, reason, before.tries + 1 if before and again else 1, now)

    def hurry(self, instances: Iterable[Instance]) -> None:
        """Somebody asks for something else, or asks again: no pause is waited for."""
        for each in instances:
            if each.id in self.by_container:
                self.by_container[each.id] = replace(self.by_container[each.id], tries=0)

    def forget(self, container: ContainerId) -> None:
        """It was removed."""
        self.by_container.pop(container, None)

    def keep(self, containers: Collection[ContainerId]) -> None:
        """There are no others any more."""
        self.by_container = {key: each for key, each in self.by_container.items() if key in containers}
