"""The table of consumers: projects elsewhere that use a service of one that dx keeps, as their Compose has told.

Made by `app`, written by `services`. What is lost with the file is only which of them are to be told apart when one
ends its use.
"""

import json
import sqlite3
from dataclasses import dataclass

from dxd.store.database import Database


@dataclass(frozen=True, slots=True)
class Consumer:
    """One use of one service."""

    consumer: str
    """The project that uses it."""
    alias: str
    """What that project calls the service."""
    project: str
    service: str
    begun: tuple[str, ...] = ()
    """Services that run because of this use, and nobody else had wanted."""


class Consumers:
    """Every use that has not ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Consumer]:
        """Every one, by consumer and alias."""
        return await self._database.read(_all)

    async def put(self, use: Consumer) -> None:
        """Know it, in place of what that consumer called so before."""
        await self._database.write(lambda connection: _put(connection, use))

    async def remove(self, consumer: str, alias: str) -> None:
        """It has ended."""
        await self._database.write(lambda connection: _remove(connection, consumer, alias))


def _all(connection: sqlite3.Connection) -> list[Consumer]:
    rows = connection.execute(
        "SELECT consumer, alias, project, service, begun FROM consumers ORDER BY consumer, alias"
    ).fetchall()
    return [
        Consumer(consumer, alias, project, service, tuple(json.loads(begun)))
        for consumer, alias, project, service, begun in rows
    ]


def _put(connection: sqlite3.Connection, use: Consumer) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO consumers (consumer, alias, project, service, begun) VALUES (?, ?, ?, ?, ?)",
        (use.consumer, use.alias, use.project, use.service, json.dumps(use.begun)),
    )


def _remove(connection: sqlite3.Connection, consumer: str, alias: str) -> None:
    connection.execute("DELETE FROM consumers WHERE consumer = ? AND alias = ?", (consumer, alias))
