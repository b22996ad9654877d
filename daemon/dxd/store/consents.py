"""The table of what the user has allowed projects. Losing it means being asked again, never more than was allowed."""

import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from dxd.store.database import Database


class Consents:
    """By the directory of each project, what it may do, as texts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[Path, frozenset[str]]:
        """Everything that was allowed."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT project, ask FROM consents").fetchall()
        )
        found: dict[Path, set[str]] = {}
        for project, ask in rows:
            found.setdefault(Path(os.fsdecode(project)), set()).add(os.fsdecode(ask))
        return {project: frozenset(asks) for project, asks in found.items()}

    async def put(self, project: Path, asks: Iterable[str]) -> None:
        """A project may do that, and nothing else."""
        key, now = os.fsencode(project), time.time()
        rows = [(key, os.fsencode(ask), now) for ask in asks]

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM consents WHERE project = ?", (key,))
            connection.executemany("INSERT INTO consents (project, ask, allowed) VALUES (?, ?, ?)", rows)

        await self._database.write(change)

    async def remove(self, project: Path) -> None:
        """A project may do nothing; nothing where that is so."""
        await self.put(project, ())
