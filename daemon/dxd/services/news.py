"""What an event of the engine says about a project's container, and who made it happen: dx itself, or somebody else.

The engine does not say who asked. So whoever acts says beforehand what will be told; what nobody announced is somebody
else's doing. Owned by the supervisor of the project.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from dxd.engine.model import ContainerId, EngineEvent

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
MAX_VANISHED = 1000


class What(StrEnum):
    """What somebody else did."""

    NOTHING = "nothing"
    """Nobody did anything, or it was dx; look at the container."""
    STARTED = "started"
    STOPPED = "stopped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class News:
    """One event that matters."""

    container: ContainerId
    service: str
    what: What


class Attribution:
    """What dx has announced."""

    def __init__(self) -> None:
        self._announced: Counter[tuple[ContainerId, str]] = Counter()
        self._vanished: dict[ContainerId, None] = {}

    def announce(self, container: ContainerId, action: str) -> None:
        """This is about to be done by dx: `start` or `stop`."""
        self._announced[container, action] += 1

    def retract(self, container: ContainerId, action: str) -> None:
        """It was not done after all."""
        self._was_announced(container, action)

    def vanished(self, container: ContainerId) -> None:
        """It is gone because dx wanted that: nothing that is still told of it matters."""
        self._vanished[container] = None
        while len(self._vanished) > MAX_VANISHED:
            del self._vanished[next(iter(self._vanished))]

    def read(self, event: EngineEvent) -> News | None:
        """What it means; None where it means nothing."""
        container = ContainerId(event.id)
        service = event.attributes.get(SERVICE, "")
        if not service or event.attributes.get(ONEOFF) == "True" or container in self._vanished:
            return None
        match event.action.partition(":")[0]:
            case "start":
                what = What.NOTHING if self._was_announced(container, "start") else What.STARTED
            case "stop":
                what = What.NOTHING if self._was_announced(container, "stop") else What.STOPPED
            case "destroy":
                what = What.REMOVED
            case "create" | "die" | "pause" | "unpause" | "oom" | "health_status" | "rename":
                what = What.NOTHING
            case _:
                return None
        return News(container, service, what)

    def _was_announced(self, container: ContainerId, action: str) -> bool:
        if self._announced[container, action] <= 0:
            del self._announced[container, action]
            return False
        self._announced[container, action] -= 1
        return True
