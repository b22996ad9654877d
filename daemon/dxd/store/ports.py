"""The table of ports: which one each service of a worktree had last."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dxd.store.database import Database

_OWNER = "project, root, service, target, protocol, wanted"
_COLUMNS = f"{_OWNER}, addresses, port"


@dataclass(frozen=True, slots=True)
class PortRow:
    """One port; the first six say whose."""

    project: str
    root: str
    service: str
    target: int
    protocol: str
    wanted: int
    """0 where none is."""
    addresses: tuple[str, ...]
    """None: all."""
    port: int


class PortRows:
    """Every port that is remembered. Made by `app`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[PortRow]:
        """Every one."""
        query = f"SELECT {_COLUMNS} FROM ports ORDER BY {_OWNER}"  # noqa: S608 - all ours
        return await self._database.read(lambda connection: [_port(*row) for row in connection.execute(query)])

    async def keep(self, row: PortRow) -> None:
        """Remember one in place of what its owner had."""
        await self._database.write(lambda connection: _keep(connection, row))

    async def drop(self, rows: Iterable[PortRow]) -> None:
        """Forget some."""
        gone = [_values(each)[:6] for each in rows]
        query = f"DELETE FROM ports WHERE ({_OWNER}) = (?, ?, ?, ?, ?, ?)"  # noqa: S608 - all ours
        await self._database.write(lambda connection: connection.executemany(query, gone))


def _port(
    project: str, root: bytes, service: str, target: int, protocol: str, wanted: int, addresses: str, port: int
) -> PortRow:
    return PortRow(project, os.fsdecode(root), service, target, protocol, wanted, tuple(addresses.split()), port)


def _keep(connection: sqlite3.Connection, row: PortRow) -> None:
    marks = ", ".join("?" * len(_values(row)))
    connection.execute(f"INSERT OR REPLACE INTO ports ({_COLUMNS}) VALUES ({marks})", _values(row))  # noqa: S608 - all ours


def _values(row: PortRow) -> tuple[str | bytes | int, ...]:
    whose = row.project, os.fsencode(row.root), row.service, row.target, row.protocol, row.wanted
    return (*whose, " ".join(row.addresses), row.port)
