"""Volumes, whoever made them, and containers that do one thing with them and end.

Used by `snapshots`. Holds nothing: the engine's state is in the engine. Raises what `Engine` raises, and what a method
says besides.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dxd.engine import raw
from dxd.engine.answer import Answer
from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, Volume, VolumeUser
from dxd.errors import EngineDown, NotFound

if TYPE_CHECKING:
    from aiodocker import Docker

LONG_S = 86400.0
"""Nothing that is waited for takes a day; the engine is asked every deadline whether it is still there."""


class Storage:
    """What snapshots need of the engine, besides what `Engine` has for everybody."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reach = engine.reach

    async def volume(self, name: str) -> Volume | None:
        """The volume of that name; None where there is none."""

        async def find(docker: "Docker") -> list[Volume]:
            found = await docker.volumes.list(filters={"name": [name]})  # type: ignore[no-untyped-call]  # no types
            return [raw.volume(each) for each in found.get("Volumes") or () if each["Name"] == name]

        return next(iter(await self._reach.call(find)), None)  # the filter takes a part of a name, too

    async def volumes(self, labels: Mapping[str, str]) -> list[Volume]:
        """Every one that has all these labels."""
        return await self._engine.volumes(labels)

    async def need_volume(self, name: str) -> Volume:
        """The same; raises `NotFound` where there is none."""
        if found := await self.volume(name):
            return found
        raise NotFound(f"there is no volume {name}", "see: docker volume ls")

    async def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume where the engine keeps them by default; one that is there stays as it is."""
        config = {"Name": name, "Labels": dict(labels)}
        await self._reach.call(lambda docker: docker.volumes.create(config))  # type: ignore[no-untyped-call]  # no types

    async def users(self, volume: str) -> list[VolumeUser]:
        """The containers that have a volume, running or not."""

        async def find(docker: "Docker") -> list[VolumeUser]:
            found = await docker.containers.list(all=True, filters={"volume": [volume]})
            return [raw.volume_user({key: each[key] for key in ("Names", "State", "Labels")}) for each in found]

        return await self._reach.call(find)

    async def ended(self, container: ContainerId) -> int:
        """Wait for a container that was started to end: its status. Cancelling it leaves the container alone."""
        async with self._reach.stream("POST", f"containers/{container}/wait", {}, silence_s=LONG_S) as records:
            async for record in records:
                return int(record["StatusCode"])
        raise EngineDown("the engine broke off waiting for a container", "try again")

    async def logs(self, container: ContainerId) -> str:
        """What it printed last; empty where it is gone."""
        try:
            return (await self._engine.logs(container, 5)).strip()
        except Answer:
            return ""
