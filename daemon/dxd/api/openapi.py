"""The OpenAPI document, made of the routes and of the types that their handlers use, so that it cannot drift."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dxd.api import types
from dxd.api.errors import JSON, TooSlow, UnsupportedMediaType, status_of
from dxd.api.route import VERSION_HEADER, Answer, Parameter, Route
from dxd.errors import BadRequest, DxError, Internal, TooLarge

_REF = "#/components/schemas/{name}"
_ALWAYS: tuple[type[DxError], ...] = (BadRequest, Internal)
_WITH_BODY: tuple[type[DxError], ...] = (TooSlow, TooLarge, UnsupportedMediaType)
_HEADERS = {VERSION_HEADER: {"description": "Version of the daemon", "schema": {"type": "string"}, "required": True}}

_DESCRIPTION = """\
The daemon of dx, on a Unix socket that only its user may use: `curl --unix-socket $XDG_RUNTIME_DIR/dx/dxd.sock \
http://dx/v1/status`.

Every error has one shape, with a stable code, a message and a hint. A body or a parameter that does not hold to its \
schema is 400, one that does and cannot be used all the same is 422; what is wrong with an image is 424, with the \
engine 503. A peer of another user gets 403, whatever it asks. Parameters and fields that are not known are refused.
"""


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of these routes."""
    used = [kind for route in routes for kind in (route.body, *(each.type for each in route.answers)) if kind]
    schemas, components = msgspec.json.schema_components([*used, types.Problem], ref_template=_REF)
    by_type = {repr(kind): schema for kind, schema in zip([*used, types.Problem], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dx",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://dx", "description": "The daemon's Unix socket"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {
            **{str(answer.status): _answer(answer, schemas) for answer in route.answers},
            **_problems(route, schemas[repr(types.Problem)]),
        },
    }
    if route.description:
        operation["description"] = route.description
    parameters = [_parameter(each, "path") for each in route.path_parameters]
    parameters += [_parameter(each, "query") for each in route.query]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content: dict[str, Any] = {JSON: {"schema": schemas[repr(route.body)]}}
        content |= {media_type: {} for media_type in route.body_media_types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _answer(answer: Answer, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {media_type: {} for media_type in answer.media_types}
    if answer.type is not None:
        content = {JSON: {"schema": schemas[repr(answer.type)]}, **content}
    response: dict[str, Any] = {"description": answer.description, "headers": _HEADERS}
    if content:
        response["content"] = content
    return response


def _problems(route: Route, schema: object) -> dict[str, Any]:
    """The errors of a route by status, each with the codes that it may have."""
    codes: dict[int, list[str]] = {}
    possible: Iterable[type[DxError]] = dict.fromkeys(
        (*_ALWAYS, *(_WITH_BODY if route.body is not None else ()), *route.errors)
    )
    for error in possible:
        codes.setdefault(status_of(error), []).extend(
            each.code for each in _family(error) if status_of(each) == status_of(error)
        )
    # A launcher gets the same as a record, with the same status.
    content = {JSON: {"schema": schema}, **{media_type: {} for media_type in route.body_media_types}}
    return {
        str(status): {
            "description": "An error: " + ", ".join(f"`{code}`" for code in dict.fromkeys(named)),
            "headers": _HEADERS,
            "content": content,
        }
        for status, named in sorted(codes.items())
    }


def _family(error: type[DxError]) -> list[type[DxError]]:
    """An error and all below it that the rooms raise."""
    return [error, *(each for child in error.__subclasses__() for each in _family(child))]
