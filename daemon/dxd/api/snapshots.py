"""The data of services: save it, put it back, empty it."""

from typing import Final

import msgspec
from aiohttp import web

from dxd.api import errors, project_types, reading, snapshot_types, types
from dxd.api.ports import Data
from dxd.api.projects import project_json
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines, told
from dxd.errors import (
    BadCompose,
    BadName,
    ComposeMissing,
    Conflict,
    EngineTrouble,
    NotFound,
    ServiceTrouble,
    UnknownProject,
    UnknownService,
)
from dxd.snapshots import policy
from dxd.snapshots.model import Snapshot

_NAME: Final = "[a-z0-9][a-z0-9_-]{0,199}"
_PROJECT: Final[dict[str, object]] = {"type": "string", "pattern": f"^{_NAME}$"}
_OF_PROJECT = (Parameter("name", "The project", _PROJECT),)
_OF_SNAPSHOT = (
    *_OF_PROJECT,
    Parameter("snapshot", "Its snapshot", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,62}$"}),
)
_RESTS = (
    "Services that use the volumes are stopped meanwhile, and come back as they were. A stream of JSON values, one on "
    "each line: `{note}`, `{progress}`, and the last is `{%s}` or `{error}`."
)
_BEGUN = (Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),)
_FAILS = (
    *(BadName, NotFound, UnknownProject, UnknownService, Conflict, BadCompose, ComposeMissing),
    *(ServiceTrouble, EngineTrouble),
)
_BODY = msgspec.json.Decoder(snapshot_types.OfServices)


class SnapshotRoutes:
    """The routes of snapshots, and of emptying."""

    def __init__(self, *, data: Data) -> None:
        self._data = data

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listSnapshots",
                method="GET",
                path="/v1/snapshots",
                handler=self._list,
                summary="The snapshots, of a project or of all",
                tag="snapshots",
                answers=(Answer(200, "The latest first", snapshot_types.Snapshots),),
                query=(Parameter("project", "Only its", _PROJECT),),
                errors=(EngineTrouble,),
            ),
            Route(
                id="saveSnapshot",
                method="POST",
                path="/v1/projects/{name}/snapshots/{snapshot}",
                handler=self._save,
                summary="Save the volumes of services",
                description=f"One of that name is replaced once the new one is whole. {_RESTS % 'snapshot'}",
                tag="snapshots",
                answers=_BEGUN,
                path_parameters=_OF_SNAPSHOT,
                body=snapshot_types.OfServices,
                errors=_FAILS,
            ),
            Route(
                id="restoreSnapshot",
                method="POST",
                path="/v1/projects/{name}/snapshots/{snapshot}/restore",
                handler=self._restore,
                summary="Put back what a snapshot has",
                description=_RESTS % "snapshot",
                tag="snapshots",
                answers=_BEGUN,
                path_parameters=_OF_SNAPSHOT,
                body=snapshot_types.OfServices,
                errors=_FAILS,
            ),
            Route(
                id="removeSnapshot",
                method="DELETE",
                path="/v1/projects/{name}/snapshots/{snapshot}",
                handler=self._remove,
                summary="Remove a snapshot",
                description="The project need not be known any more.",
                tag="snapshots",
                answers=(Answer(200, "What it was", snapshot_types.Snapshot),),
                path_parameters=_OF_SNAPSHOT,
                errors=(BadName, NotFound, Conflict, EngineTrouble),
            ),
            Route(
                id="resetServices",
                method="POST",
                path="/v1/projects/{name}/reset",
                handler=self._reset,
                summary="Empty the volumes of services",
                description=_RESTS % "project",
                tag="snapshots",
                answers=_BEGUN,
                path_parameters=_OF_PROJECT,
                body=snapshot_types.OfServices,
                errors=_FAILS,
            ),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        project = reading.read_query(request, "project").get("project")
        if project is not None:
            reading.named(project, _NAME)
        found = await self._data.all(project)
        every = snapshot_types.Snapshots([_json(each) for each in found])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _save(self, request: web.Request) -> web.StreamResponse:
        project, name, services = await _asked(request)

        async def work(lines: Lines) -> msgspec.Struct:
            return snapshot_types.SnapshotLine(_json(await self._data.save(project, name, services, lines)))

        return await told(request, work)

    async def _restore(self, request: web.Request) -> web.StreamResponse:
        project, name, services = await _asked(request)

        async def work(lines: Lines) -> msgspec.Struct:
            return snapshot_types.SnapshotLine(_json(await self._data.restore(project, name, services, lines)))

        return await told(request, work)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        removed = _json(await self._data.remove(*_named(request)))
        return web.Response(body=types.encode(removed), content_type=errors.JSON)

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        project, body = (
            reading.named(reading.path_value(request, "name"), _NAME),
            await reading.read_json(request, _BODY),
        )

        async def work(lines: Lines) -> msgspec.Struct:
            return project_types.ProjectLine(project_json(await self._data.reset(project, body.services, lines)))

        return await told(request, work)


async def _asked(request: web.Request) -> tuple[str, str, list[str]]:
    """The project, the snapshot, and whose volumes."""
    reading.read_query(request)
    body = await reading.read_json(request, _BODY)
    return *_named(request), body.services


def _named(request: web.Request) -> tuple[str, str]:
    """The project and the snapshot; raises `BadRequest` and `BadName`."""
    project, name = reading.path_value(request, "name"), reading.path_value(request, "snapshot")
    return reading.named(project, _NAME), policy.check(name)


def _json(snapshot: Snapshot) -> snapshot_types.Snapshot:
    return snapshot_types.Snapshot(
        project=snapshot.project,
        name=snapshot.name,
        created_at=snapshot.created,
        files=snapshot.files,
        size_bytes=snapshot.bytes,
        volumes=[each.of for each in snapshot.copies],
    )
