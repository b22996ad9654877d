"""Containers that somebody else has made with Compose, beside dx: the ports that they publish are taken over.

Owned by the project's supervisor, which tells it of each run that was seen. Nothing here fails.
"""

from collections.abc import Callable, Mapping

from dxd.compose.model import Port, ServiceName, Source
from dxd.engine.model import Inspected
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.news import SERVICE
from dxd.services.publishing import Publishing, as_written
from dxd.services.turn import Turn


class Beside:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        publishing: Publishing,
        turn: Turn,
        tasks: Tasks,
        source: Callable[[], Source],
        took: Callable[[ServiceName, Mapping[ServiceName, tuple[Port, ...]]], None],
    ) -> None:
        """`took` is told of which service ports were taken over, and all that services have now."""
        self._ledger = ledger
        self._publishing = publishing
        self._turn = turn
        self._tasks = tasks
        self._source = source
        self._took = took

    def runs(self, container: Inspected) -> None:
        """A run of a container was seen."""
        if self.made(container):
            self._tasks.spawn(self._adopt(container), name=f"ports of {container.name}")

    def made(self, container: Inspected) -> bool:
        """Whether it publishes what the file says where dx has chosen another port: that is taken over in a moment."""
        name = ServiceName(container.labels[SERVICE])
        service = self._ledger.project.services.get(name)
        return service is not None and as_written(service, self._source().ports.get(name, ()), container)

    async def _adopt(self, container: Inspected) -> None:
        async with self._turn:
            project = self._ledger.project
            service = project.services.get(ServiceName(container.labels[SERVICE]))
            if service is not None:
                ports = await self._publishing.adopt(project, self._source().directory, service, container)
                self._took(service.name, ports)
