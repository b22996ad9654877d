"""How errors look from outside: HTTP statuses, exit codes, one JSON shape. Chosen here and nowhere else.

The classes below are conditions of HTTP, so they exist in this room only; their codes are as stable as the others.
"""

import os

import msgspec
from aiohttp import web

from dx import protocol
from dxd.api import types
from dxd.errors import (
    BadRequest,
    Conflict,
    DxError,
    EngineTrouble,
    ImageTrouble,
    Internal,
    NotFound,
    NotHere,
    NotTrusted,
    Refused,
    ServiceTrouble,
    Stopping,
    TooLarge,
)

JSON = "application/json"
EXIT_DX = 125
"""What the launcher exits with when dx, and not the command, has failed."""
_EXITS: dict[type[DxError], int] = {NotTrusted: 126, NotHere: 127}
"""As a shell has it for what may not be executed, and for what is not there."""


class TooSlow(BadRequest):
    """The rest of a request did not come in time."""

    code = "too-slow"


class MethodNotAllowed(BadRequest):
    """The path exists, for other methods."""

    code = "method-not-allowed"


class UnsupportedMediaType(BadRequest):
    """A body of a kind that the route does not take."""

    code = "unsupported-media-type"


class Forbidden(Refused):
    """A peer that is not the user."""

    code = "forbidden"


STATUSES: dict[type[DxError], int] = {
    BadRequest: 400,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    Refused: 422,
    ImageTrouble: 424,
    ServiceTrouble: 424,
    Internal: 500,
    Stopping: 503,
    EngineTrouble: 503,
}
"""The nearest class above an error's own decides."""


def status_of(error: type[DxError]) -> int:
    """The HTTP status of an error."""
    return next((STATUSES[each] for each in error.__mro__ if each in STATUSES), 500)


def shape(error: DxError) -> types.Error:
    """The error as every route tells it."""
    return types.Error(code=error.code, message=" ".join(error.message.split()), hint=" ".join(error.hint.split()))


def unexpected() -> DxError:
    """What a client is told of an exception that nobody expected; the log says the rest."""
    return Internal("an error of the daemon", "see: dx daemon logs")


def respond(error: DxError, *, binary: bool = False) -> web.Response:
    """The answer to a request that failed; `binary` for a launcher, which reads records."""
    status = status_of(type(error))
    if binary:
        return web.Response(status=status, body=record(error), content_type=protocol.MEDIA_TYPE)
    body = msgspec.json.encode(types.Problem(error=shape(error)))
    return web.Response(status=status, body=body, content_type=JSON)


def record(error: DxError) -> bytes:
    """The error as the last record of a lease's answer."""
    line = error.line().encode()
    last = protocol.record(protocol.A_ERROR, protocol.U32.pack(_EXITS.get(type(error), EXIT_DX)) + line)
    if isinstance(error, NotTrusted) and error.project is not None:
        return protocol.record(protocol.A_PROJECT, os.fsencode(error.project)) + last
    return protocol.record(protocol.A_NATIVE) + last if isinstance(error, NotHere) else last


def from_http(error: web.HTTPException) -> DxError:
    """What the HTTP library refused by itself, as an error of ours."""
    match error:
        case web.HTTPNotFound():
            return NotFound("there is nothing at this path", "GET /v1/openapi.json lists what there is")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return MethodNotAllowed("this path does not take this method", f"it takes {allowed}")
        case web.HTTPRequestEntityTooLarge():
            return TooLarge("the body is too large")
        case _:
            return BadRequest(error.reason)
