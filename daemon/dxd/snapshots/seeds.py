"""Which volumes are to be filled once, because they were empty when their service was about to start.

Remembered by name, for the engine gives volumes no other identity: what it calls the time of their making is that of
the last change in them. One that is empty is due, whatever is remembered; where the memory is lost, one that has
something in it is never filled again.
"""

from dxd.snapshots.snapshots import Snapshots
from dxd.store.seeds import SeedRows


class Seeds:
    """Made by `app`, used by whoever runs `seed` of a service: `due` before each start, `done` after the seed."""

    def __init__(self, *, snapshots: Snapshots, rows: SeedRows) -> None:
        self._snapshots = snapshots
        self._rows = rows

    async def due(self, volume: str) -> bool:
        """Whether it is to be filled: it is empty, or was, and nobody has said since that it is done.

        Raises `NotFound`, `EngineTrouble`.
        """
        if await self._snapshots.is_empty(volume):
            await self._rows.keep(volume, done=False)
            return True
        return await self._rows.get(volume) is False

    async def begun(self, volume: str) -> bool:
        """Whether it was found empty, and nobody has said since that it is filled."""
        return await self._rows.get(volume) is False

    async def done(self, volume: str) -> None:
        """It was filled."""
        await self._rows.keep(volume, done=True)
