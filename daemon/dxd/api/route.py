"""A route: what the server dispatches on, and everything that the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from dxd.errors import DxError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NDJSON = "application/x-ndjson"
VERSION_HEADER = "Dx-Version"
VERSION: web.AppKey[str] = web.AppKey("version", str)
"""The daemon's, in every answer."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path or the query; those in a query are optional."""

    name: str
    description: str
    schema: dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route succeeds: a JSON value, or something else of a media type."""

    status: int
    description: str
    type: object = None
    """A type of `types`; None where there is no JSON body."""
    media_types: tuple[str, ...] = ()
    """Besides JSON, or instead of it where there is no `type`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    id: str
    """The operationId: what a generated client calls it."""
    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: tuple[Answer, ...]
    description: str = ""
    path_parameters: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    body: object = None
    """The type of the JSON body, if it takes one."""
    body_media_types: tuple[str, ...] = ()
    """Of what else it takes as a body."""
    errors: tuple[type[DxError], ...] = field(default=())
    """What it may answer besides the errors that any route may."""
