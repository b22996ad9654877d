"""The tables of known projects: where each is read from, and what is wanted of its services.

Made by `app`, written by `services`. What is lost with the file is which projects dx looks after, never a container or
a volume. The variables that a project needs may be secrets: the file is for its user alone, and they go nowhere else.
"""

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dxd.store.database import Database
from dxd.store.model import KnownFall, KnownPast, KnownProject, KnownService


class KnownProjects:
    """Every project that is known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[KnownProject]:
        """Every one, by name."""
        return await self._database.read(_all)

    async def put(self, project: KnownProject) -> None:
        """Know it, in place of what was known of one of that name; what is wanted of its services stays."""
        await self._database.write(lambda connection: _put(connection, project))

    async def want(self, project: str, services: Mapping[str, KnownService]) -> None:
        """This is wanted of its services, and of no others."""
        await self._database.write(lambda connection: _want(connection, project, services))

    async def forget(self, project: str) -> None:
        """Know it no more, nor what its images were built from."""
        await self._database.write(lambda connection: _forget(connection, project))


def _all(connection: sqlite3.Connection) -> list[KnownProject]:
    services: dict[str, dict[str, KnownService]] = {}
    kept = connection.execute("SELECT project, service, will, ends, past FROM project_services")
    for project, service, will, ends, past in kept:
        known = KnownService(will, tuple(map(tuple, json.loads(ends))), tuple(map(_past, json.loads(past))))
        services.setdefault(project, {})[service] = known
    rows = connection.execute(
        "SELECT name, directory, files, given_name, profiles, environ FROM projects ORDER BY name"
    ).fetchall()
    return [_project(row, services.get(row[0], {})) for row in rows]


def _project(row: tuple[Any, ...], services: Mapping[str, KnownService]) -> KnownProject:
    name, directory, files, given_name, profiles, environ = row
    return KnownProject(
        name=name,
        directory=directory,
        files=tuple(json.loads(files)),
        given_name=given_name,
        profiles=tuple(json.loads(profiles)),
        environ=json.loads(environ),
        services=services,
    )


def _past(row: Mapping[str, Any]) -> KnownPast:
    fell, gave_up = (None if row[key] is None else KnownFall(**row[key]) for key in ("fell", "gave_up"))
    return KnownPast(row["boot"], row["number"], tuple(row["deaths"]), row["streak"], fell, gave_up)


def _put(connection: sqlite3.Connection, project: KnownProject) -> None:
    row = (
        project.name,
        _text(project.directory),
        json.dumps(project.files),
        project.given_name,
        json.dumps(project.profiles),
        json.dumps(dict(project.environ)),  # escapes what is no UTF-8
        time.time(),
    )
    connection.execute(
        "INSERT INTO projects (name, directory, files, given_name, profiles, environ, added)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET directory = excluded.directory, files = excluded.files,"
        " given_name = excluded.given_name, profiles = excluded.profiles, environ = excluded.environ",
        row,
    )


def _want(connection: sqlite3.Connection, project: str, services: Mapping[str, KnownService]) -> None:
    connection.execute("DELETE FROM project_services WHERE project = ?", (project,))
    if connection.execute("SELECT 1 FROM projects WHERE name = ?", (project,)).fetchone() is None:
        return  # it was forgotten meanwhile
    connection.executemany(
        "INSERT INTO project_services (project, service, will, ends, past) VALUES (?, ?, ?, ?, ?)",
        [
            (project, name, each.will, json.dumps(each.ends), json.dumps([asdict(one) for one in each.past]))
            for name, each in services.items()
        ],
    )


def _forget(connection: sqlite3.Connection, project: str) -> None:
    connection.execute("DELETE FROM project_services WHERE project = ?", (project,))
    connection.execute("DELETE FROM service_images WHERE project = ?", (project,))
    connection.execute("DELETE FROM projects WHERE name = ?", (project,))


def _text(path: str) -> str:
    """Fit for SQLite, which takes no halves of characters; such a directory is not found again."""
    return path.encode(errors="backslashreplace").decode()
