"""The table of volumes that are filled once, and whether that was done."""

from dxd.store.database import Database


class SeedRows:
    """Every volume that was looked at. Made by `app`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, volume: str) -> bool | None:
        """Whether it was filled; None where it is not known."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT done FROM seeds WHERE volume = ?", (volume,)).fetchone()
        )
        return None if row is None else bool(row[0])

    async def keep(self, volume: str, *, done: bool) -> None:
        """Remember it."""
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO seeds (volume, done) VALUES (?, ?)", (volume, done)
            )
        )
