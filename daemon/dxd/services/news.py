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
        self._unanswered: Counter[tuple[ContainerId, str]] = Counter()
        """How many of these may have been done or not."""
        self._vanished: dict[ContainerId, None] = {}

    def announce(self, container: ContainerId, action: str) -> None:
        """This is about to be done by dx: `start` or `stop`."""
        self._announced[container, action] += 1

    def retract(self, container: ContainerId, action: str) -> None:
        """It was not done after all."""
        self._was_announced(container, action)

    def unanswered(self, container: ContainerId, action: str) -> None:
        """It may have been done, or be done yet: then it is told, at the latest before the opposite is."""
        self._unanswered[container, action] += 1

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
                self._settle(container, "stop")
                what = What.NOTHING if self._was_announced(container, "start") else What.STARTED
            case "stop":
                self._settle(container, "start")
                what = What.NOTHING if self._was_announced(container, "stop") else What.STOPPED
            case "destroy":
                what = What.REMOVED
            case "die":
                self._settle(container, "start")
                what = What.NOTHING
            case "create" | "pause" | "unpause" | "oom" | "health_status" | "rename":
                what = What.NOTHING
            case _:
                return None
        return News(container, service, what)

    def _was_announced(self, container: ContainerId, action: str) -> bool:
        if self._announced[container, action] <= 0:
            del self._announced[container, action]
            return False
        self._announced[container, action] -= 1
        if self._unanswered[container, action] > self._announced[container, action]:
            self._unanswered[container, action] -= 1
        return True

    def _settle(self, container: ContainerId, action: str) -> None:
        """What nobody has told of by now was not done."""
        self._announced[container, action] -= self._unanswered.pop((container, action), 0)
