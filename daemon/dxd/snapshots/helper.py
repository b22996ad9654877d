"""Runs the agent's `volumes` in a container that is made for it, and removed after.

It needs no right of the daemon's to the engine's files, and no image but one that holds nothing but the agent, which is
built where it is missing. The container has no network, and of the capabilities those that files of others need.
"""

import asyncio
import io
import secrets
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, ContainerSpec, ImageId, VolumeSpec
from dxd.engine.storage import Storage
from dxd.errors import EngineError, NotFound
from dxd.kit.progress import Silent

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
HELPER_LABEL = "dev.dx.helper"

Pair = tuple[str | None, str]
"""The volume that is read, if one is, and the one that is written."""


class Helper:
    """Does one thing with some volumes. Used by `Snapshots` alone."""

    def __init__(self, *, engine: Engine, agent: Path, version: str, owner: str) -> None:
        """`agent` is the program, `version` tells it from others."""
        self._engine = engine
        self._storage = Storage(engine)
        self._agent = agent
        self._tag = f"dx/volumes:{version}"
        self._owner = owner

    async def run(self, verb: str, pairs: Sequence[Pair]) -> tuple[int, int]:
        """Do it with each pair, in this order: files and bytes that were copied.

        Raises `NotFound`, and `EngineError` with the agent's words where it fails. Cancelling it ends it, where it is.
        """
        status, said = await self._run(verb, pairs)
        if status:
            raise EngineError(said or f"the volumes' helper ended with status {status}", "see: docker volume ls")
        files, size = map(int, said.split()[-2:])
        return files, size

    async def is_empty(self, volume: str) -> bool:
        """Whether nothing is in it; raises `NotFound`, `EngineError`."""
        status, said = await self._run("empty", [(None, volume)])
        if status > 1 or (status and said):
            raise EngineError(said or f"the volumes' helper ended with status {status}", "see: docker volume ls")
        return status == 0

    async def sweep(self) -> None:
        """Remove what a daemon that died has left; the restore that it was at goes on from where it was."""
        for each in await self._engine.containers({HELPER_LABEL: self._owner}):
            await self._engine.remove(each.id)

    async def _run(self, verb: str, pairs: Sequence[Pair]) -> tuple[int, str]:
        volumes = [VolumeSpec(to, f"/v/{number}/to") for number, (_, to) in enumerate(pairs)]
        volumes += [
            VolumeSpec(source, f"/v/{number}/from", read_only=True)
            for number, (source, _) in enumerate(pairs)
            if source is not None
        ]
        spec = ContainerSpec(
            image=await self._image(),
            entrypoint=("/agent", "volumes", verb, str(len(pairs))),
            network="none",
            name=f"dx-volumes-{secrets.token_hex(6)}",
            labels={HELPER_LABEL: self._owner},
            volumes=tuple(volumes),
            capabilities=CAPABILITIES,
        )
        names = [each.name for each in volumes]
        had = [await self._storage.need_volume(each) for each in names]
        container: ContainerId | None = None
        making = asyncio.ensure_future(self._engine.create(spec))
        try:
            container = await asyncio.shield(making)
            # One that was removed meanwhile the engine has made again, empty; from here on none can be.
            if had != [await self._storage.volume(each) for each in names]:
                raise NotFound("a volume was removed at this moment", "see: docker volume ls")
            await self._engine.start(container)
            status = await self._storage.ended(container)
            return status, await self._storage.logs(container)
        finally:
            # Cancelled in the middle of its making, it is made all the same.
            container = container or (await making if not making.cancelled() else None)
            if container is not None:
                await asyncio.shield(self._engine.remove(container))

    async def _image(self) -> ImageId:
        if found := await self._engine.image(self._tag):
            return found.id
        return await self._engine.build(
            _context(self._agent),
            dockerfile="Dockerfile",
            tag=self._tag,
            progress=Silent(),
            labels={HELPER_LABEL: "image"},
        )


async def _context(agent: Path) -> AsyncIterator[bytes]:
    """What the image is built from."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = {"Dockerfile": b"FROM scratch\nCOPY agent /agent\n", "agent": await asyncio.to_thread(agent.read_bytes)}
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    yield buffer.getvalue()
