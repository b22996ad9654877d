"""The table of services' images: what each was built from last, as a digest, so that a new daemon need not build it.

Made by `app`, written by `develop`. Lost with the file: every service is built once more, which changes nothing where
its files are the same.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from dxd.store.database import Database


@dataclass(frozen=True, slots=True)
class ServiceImage:
    """An image, and what it was built from."""

    image_id: str
    digest: str


class ServiceImages:
    """The last one of each service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, project: str) -> Mapping[str, ServiceImage]:
        """Those of a project, by service."""
        return await self._database.read(lambda connection: _of(connection, project))

    async def put(self, project: str, service: str, image: ServiceImage) -> None:
        """Know it, in place of the one before."""
        await self._database.write(lambda connection: _put(connection, project, service, image))


def _of(connection: sqlite3.Connection, project: str) -> dict[str, ServiceImage]:
    rows = connection.execute("SELECT service, image_id, digest FROM service_images WHERE project = ?", (project,))
    return {service: ServiceImage(image_id, digest) for service, image_id, digest in rows}


def _put(connection: sqlite3.Connection, project: str, service: str, image: ServiceImage) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO service_images (project, service, image_id, digest) VALUES (?, ?, ?, ?)",
        (project, service, image.image_id, image.digest),
    )
