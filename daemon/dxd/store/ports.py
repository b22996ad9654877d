"""The table of ports: which one each service of a worktree had last."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dxd.store.database import Database

_COLUMNS = "project, root, service, target, protocol, port"


@dataclass(frozen=True, slots=True)
class PortRow:
    """One port; the first five say whose."""

    project: str
    root: str
    service: str
    target: int
    protocol: str
    port: int


class PortRows:
    """Every port that is remembered. Made by `app`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[PortRow]:
        """Every one."""
        query = f"SELECT {_COLUMNS} FROM ports ORDER BY project, root, service, target"  # noqa: S608 - all ours
        return await self._database.read(lambda connection: [_port(*row) for row in connection.execute(query)])

    async def keep(self, row: PortRow) -> None:
        """Remember one in place of what its owner had, and of who had that port."""
        await self._database.write(lambda connection: _keep(connection, row))

    async def drop(self, rows: Iterable[PortRow]) -> None:
        """Forget some."""
        gone = [(each.protocol, each.port) for each in rows]
        await self._database.write(
            lambda connection: connection.executemany("DELETE FROM ports WHERE protocol = ? AND port = ?", gone)
        )


def _port(project: str, root: bytes, service: str, target: int, protocol: str, port: int) -> PortRow:
    return PortRow(project, os.fsdecode(root), service, target, protocol, port)


def _keep(connection: sqlite3.Connection, row: PortRow) -> None:
    values = (row.project, os.fsencode(row.root), row.service, row.target, row.protocol, row.port)
    connection.execute(f"INSERT OR REPLACE INTO ports ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608 - all ours
