"""What services have in their volumes: saved, put back, emptied, while the services that use it rest.

Made by `app`, called by the edge. Owns nothing: snapshots are the engine's, and services their supervisors'. A service
that uses one of the volumes is stopped, not paused: what it has not written yet is written then, and nothing that it
remembers goes on from data that is not there any more. What is wanted of it stays, so it comes back, whatever ends
meanwhile. One that somebody has paused stays so; it writes nothing, so a save takes what it has, and the others refuse.

Fails with what `Snapshots` and supervisors raise, and `NotFound` where there is nothing to do.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dxd.errors import NotFound
from dxd.kit.progress import Progress
from dxd.services.model import Phase, ProjectView
from dxd.services.services import Services, named
from dxd.services.supervisor import Supervisor
from dxd.snapshots import policy
from dxd.snapshots.model import Snapshot
from dxd.snapshots.seeds import Seeds
from dxd.snapshots.snapshots import Snapshots


class Data:
    """That of every project."""

    def __init__(self, *, services: Services, snapshots: Snapshots, seeds: Seeds) -> None:
        self._services = services
        self._snapshots = snapshots
        self._seeds = seeds

    async def all(self, project: str | None) -> Sequence[Snapshot]:
        """The snapshots of a project, known or not, or every one; the latest first."""
        return await self._snapshots.all(project)

    async def save(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        """Save the volumes of these services, or all; in place of a snapshot of that name, once it is whole."""
        policy.check(name)
        supervisor = await self._services.supervisor(project)
        volumes = await self._volumes(supervisor, services)
        async with _resting(supervisor, volumes, progress):
            return await self._snapshots.save(project, name, volumes, progress)

    async def restore(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        """Put back what a snapshot has of these services, or all of it."""
        supervisor = await self._services.supervisor(project)
        snapshot = await self._snapshots.get(project, name)
        volumes = [each.of for each in snapshot.copies]
        if services:
            of = supervisor.ledger.project.volumes_of(named(supervisor.ledger.project, services))
            volumes = [each for each in volumes if each in of]
            if not volumes:
                raise NotFound(f"the snapshot {name} has no volume of {', '.join(services)}", "see: dx snapshot ls")
        async with _resting(supervisor, volumes, progress):
            restored = await self._snapshots.restore(project, name, progress, volumes=volumes)
            for each in volumes:  # one whose seed has failed before has been filled by this
                await self._seeds.done(each)
        return restored

    async def reset(self, project: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Empty the volumes of these services, or all."""
        supervisor = await self._services.supervisor(project)
        volumes = await self._volumes(supervisor, services)
        async with _resting(supervisor, volumes, progress):
            await self._snapshots.reset(volumes, progress)
        return await self._services.find(project, None)

    async def remove(self, project: str, name: str) -> Snapshot:
        """Remove a snapshot of a project, known or not."""
        return await self._snapshots.remove(project, name)

    async def _volumes(self, supervisor: Supervisor, services: Sequence[str]) -> list[str]:
        project = supervisor.ledger.project
        volumes = project.volumes_of(named(project, services) or project.services)
        if not volumes:
            raise NotFound(
                f"{', '.join(services) or project.name} has no named volume", "give it one in the compose file"
            )
        if there := await self._snapshots.there(volumes):
            return there
        raise NotFound(f"{', '.join(services) or project.name} has no data yet", "begin with: dx up")


@asynccontextmanager
async def _resting(supervisor: Supervisor, volumes: Sequence[str], progress: Progress) -> AsyncIterator[None]:
    """Whoever uses the volumes does not run until the block ends; then those that were ready are waited for."""
    project, now = supervisor.ledger.project, supervisor.now()
    phases = {name: supervisor.ledger.phase(name, now)[0] for name in project.users_of(volumes)}
    resting = sorted(name for name, phase in phases.items() if phase is not Phase.PAUSED)
    ready = [name for name in resting if phases[name] is Phase.READY]
    if ready:
        progress.progress(f"stopping {', '.join(ready)}")
    async with supervisor.resting(resting):
        yield
    await supervisor.wait(ready, progress, since=supervisor.now())
