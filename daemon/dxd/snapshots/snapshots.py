"""Saves, restores and empties volumes of services. The engine is the truth about which snapshots there are.

Made by `app`, used by whoever stops the services before it and starts them after: a volume that somebody writes to is
refused here. `sweep` comes first, before any service is started. One thing is done at a time.

A save that is cut short leaves nothing that could be taken for a snapshot, and a restore that is cut short leaves each
volume as it was or as it was to become, once `sweep` has looked at it; never a part.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.storage import Storage
from dxd.errors import Conflict, DxError, EngineTrouble, NotFound
from dxd.kit.progress import Progress
from dxd.snapshots import labels, policy
from dxd.snapshots.helper import Helper
from dxd.snapshots.model import Copy, Snapshot
from dxd.telemetry import get_logger

log = get_logger("snapshots")


class Snapshots:
    """Every snapshot of one user, in one engine."""

    def __init__(self, *, engine: Engine, agent: Path, agent_version: str, owner: str) -> None:
        """`owner` tells the user's volumes from others', and must not change from one daemon to the next."""
        self._engine = engine
        self._storage = Storage(engine)
        self._helper = Helper(engine=engine, agent=agent, version=agent_version, owner=owner)
        self._owner = owner
        self._busy = asyncio.Lock()
        self._saving: set[str] = set()
        self._swept = False
        self._sweeping = asyncio.Lock()

    async def all(self, project: str | None = None) -> Sequence[Snapshot]:
        """Those of a project, or every one, the latest first. Raises `EngineTrouble`."""
        found = await self._found()
        return [each for each in found.snapshots if project in (None, each.project)]

    async def get(self, project: str, name: str) -> Snapshot:
        """One of them; raises `NotFound`, `EngineTrouble`."""
        for each in await self.all(project):
            if each.name == name:
                return each
        raise NotFound(f"{project} has no snapshot {name!r}", "see: dx snapshot ls")

    async def save(self, project: str, name: str, volumes: Sequence[str], progress: Progress) -> Snapshot:
        """Copy these volumes; a snapshot of the same name is replaced when the new one is whole.

        Their services must be stopped or paused. Raises `BadName`, `NotFound`, `Conflict`, `EngineTrouble`.
        """
        policy.check(name)
        began = time.monotonic()
        async with self._alone():
            sources = [await self._storage.need_volume(each) for each in volumes]
            for each in sources:
                await self._must_rest(each.name, but={"paused"})
            snapshot = secrets.token_hex(8)
            copies = [Copy(each.name, f"dx-snapshot-{snapshot}-{n}", each.labels) for n, each in enumerate(sources)]
            self._saving.add(snapshot)
            try:
                for copy in copies:
                    await self._storage.make_volume(copy.volume, labels.of_copy(self._owner, snapshot))
                progress.progress(f"copying {', '.join(volumes)}")
                files, size = await self._helper.run("copy", [(each.of, each.volume) for each in copies])
                made = Snapshot(project, name, snapshot, datetime.now(UTC), files, size, tuple(copies))
                await self._record(made)
            finally:
                self._saving.discard(snapshot)
                await asyncio.shield(self._remove_left())
        progress.note(f"saved {name}: {files} files, {size / 1e6:.1f} MB, in {time.monotonic() - began:.1f} s")
        return made

    async def restore(
        self, project: str, name: str, progress: Progress, *, volumes: Collection[str] | None = None
    ) -> Snapshot:
        """Put back what a snapshot has, all of it or these volumes. One that is gone is made again.

        Their services must be stopped. Raises `NotFound`, `Conflict`, `EngineTrouble`.
        """
        began = time.monotonic()
        async with self._alone():
            snapshot = await self.get(project, name)
            copies = [each for each in snapshot.copies if volumes is None or each.of in volumes]
            for each in copies:
                await self._storage.need_volume(each.volume)
                await self._must_rest(each.of)
            for each in copies:
                if await self._storage.volume(each.of) is None:
                    await self._storage.make_volume(each.of, each.labels)
            progress.progress(f"restoring {', '.join(each.of for each in copies)}")
            async with self._replacing([each.of for each in copies]):
                await self._helper.run("restore", [(each.volume, each.of) for each in copies])
        progress.note(f"restored {name} in {time.monotonic() - began:.1f} s")
        return snapshot

    async def reset(self, volumes: Sequence[str], progress: Progress) -> None:
        """Empty these volumes; their services must be stopped. Raises `NotFound`, `Conflict`, `EngineTrouble`."""
        async with self._alone():
            for each in volumes:
                await self._must_rest(each)
            async with self._replacing(volumes):
                await self._helper.run("reset", [(None, each) for each in volumes])
        progress.note(f"emptied {', '.join(volumes)}")

    async def remove(self, project: str, name: str) -> Snapshot:
        """Remove a snapshot; raises `NotFound`, `EngineTrouble`."""
        async with self._alone():
            snapshot = await self.get(project, name)
            await self._engine.remove_volume(f"dx-snapshot-{snapshot.id}")  # first: without it there is no snapshot
            await self._remove_left()
        return snapshot

    async def there(self, volumes: Sequence[str]) -> list[str]:
        """Those of the volumes that there are; raises `EngineTrouble`."""
        return [each for each in volumes if await self._storage.volume(each) is not None]

    async def is_empty(self, volume: str) -> bool:
        """Whether nothing is in a volume; raises `NotFound`, `EngineTrouble`."""
        async with self._alone():
            return await self._helper.is_empty(volume)

    async def sweep(self) -> None:
        """Bring to an end what a daemon that died was at; raises `EngineTrouble`, and is to be tried again then.

        Once it has been done it does nothing.
        """
        async with self._sweeping:
            if not self._swept:
                await self._sweep()
                self._swept = True

    async def _sweep(self) -> None:
        async with self._alone():
            for each in (await self._found()).restores:
                targets = [name for name in each.targets if await self._storage.volume(name) is not None]
                if targets:
                    await self._helper.run("recover", [(None, name) for name in targets])
                await self._engine.remove_volume(each.volume)
                log.warning("a restore that was cut short is brought to an end", volumes=targets)
            await self._remove_left()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One thing at a time, and no helper of a daemon before, whose last request may have been carried out late."""
        async with self._busy:
            await self._helper.sweep()
            yield

    @asynccontextmanager
    async def _replacing(self, targets: Sequence[str]) -> AsyncIterator[None]:
        """Say that these may be half-way, and bring them to one end or the other."""
        mark = f"dx-restore-{secrets.token_hex(8)}"
        await self._storage.make_volume(mark, labels.of_restore(self._owner, targets))
        try:
            yield
        except BaseException:
            await asyncio.shield(self._recover(mark, targets))
            raise
        await asyncio.shield(self._engine.remove_volume(mark))

    async def _recover(self, mark: str, targets: Sequence[str]) -> None:
        try:
            await self._helper.run("recover", [(None, each) for each in targets])
            await self._engine.remove_volume(mark)
        except DxError as error:  # the mark stays, for the next sweep
            log.warning("volumes may be half restored until the next start", volumes=targets, reason=error.line())

    async def _record(self, made: Snapshot) -> None:
        """From here on it is a snapshot. Cancelled or not, it is waited for: none is without copies."""
        name = f"dx-snapshot-{made.id}"
        asked = asyncio.create_task(self._storage.make_volume(name, labels.of_record(self._owner, made)))
        try:
            await asyncio.shield(asked)
        except asyncio.CancelledError:
            await asked
            raise

    async def _found(self) -> policy.Found:
        volumes = await self._engine.volumes({labels.OWNER_LABEL: self._owner, labels.PART_LABEL: ""})
        return policy.read(volumes, busy=self._saving)

    async def _remove_left(self) -> None:
        """Remove what belongs to no snapshot; what cannot be removed now is found again."""
        with suppress(EngineTrouble):
            for name in (await self._found()).left:
                try:
                    await self._engine.remove_volume(name)
                except Conflict as error:
                    log.warning("a volume is left over", volume=name, reason=error.line())

    async def _must_rest(self, volume: str, *, but: Collection[str] = ()) -> None:
        for user in await self._storage.users(volume):
            if user.state not in {"created", "exited", "dead", *but}:
                who = user.labels.get("com.docker.compose.service") or user.name
                raise Conflict(f"{who} is {user.state} and has the volume {volume}", f"stop it: dx stop {who}")
