"""The JSON of the API about the data of services; what all of it has in common is in `types`."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from dxd.api.project_types import ServiceName


class Snapshot(Struct, frozen=True):
    """What some volumes of a project had in them at one moment."""

    project: str
    name: str
    created_at: datetime
    files: int
    size_bytes: Annotated[int, Meta(description="On the disk, if nothing were shared with what it was made of")]
    volumes: Annotated[list[str], Meta(description="Those that it has copies of, as the engine calls them")]


class Snapshots(Struct, frozen=True):
    """The latest first."""

    snapshots: list[Snapshot]


class SnapshotLine(Struct, frozen=True):
    """The end: the snapshot."""

    snapshot: Snapshot


class OfServices(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose volumes."""

    services: Annotated[list[ServiceName], Meta(description="None: all")] = []
