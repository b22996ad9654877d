"""Reading requests: bodies within a size and a time, JSON into types, queries without surprises.

Everything wrong with a request is a `BadRequest` here; what is wrong with its meaning is the rooms' to say.
"""

import asyncio
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from dx import protocol
from dxd.api.errors import JSON, TooSlow, UnsupportedMediaType
from dxd.errors import BadRequest, TooLarge

MAX_JSON_BODY = 1 << 20
"""A tool's definition; the largest sensible one is a few KiB."""
BODY_S = 10.0
"""How long a body may take to arrive after its head: 8 MiB take milliseconds on a Unix socket."""

BODY_DEADLINE: web.AppKey[float] = web.AppKey("body_deadline_s", float)

ABSOLUTE_PATH: dict[str, object] = {"type": "string", "pattern": r"^/[^\u0000]*$"}
"""The schema of `absolute_path`."""

T = TypeVar("T")


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body; raises `TooLarge`, or `TooSlow` where it does not arrive in time."""
    content = request.content
    if content.is_eof():  # it has come with its head, as a launcher's mostly does
        data = content.read_nowait()
    else:
        if (request.content_length or 0) > limit_bytes:
            raise TooLarge(f"the body is larger than {limit_bytes >> 20} MiB")
        try:
            async with asyncio.timeout(request.app[BODY_DEADLINE]):
                data = await request.read()
        except TimeoutError:
            raise TooSlow("the body did not arrive in time") from None
        except web.RequestPayloadError as error:
            raise BadRequest("the body is cut short or malformed") from error
    if len(data) > limit_bytes:
        raise TooLarge(f"the body is larger than {limit_bytes >> 20} MiB")
    return data


async def read_json(request: web.Request, decoder: "msgspec.json.Decoder[T]", limit_bytes: int = MAX_JSON_BODY) -> T:
    """The JSON body as the decoder's type; raises `BadRequest` with the place that is wrong."""
    if request.content_type != JSON:
        raise UnsupportedMediaType(f"this takes {JSON}", f"set Content-Type: {JSON}")
    return decode(await read_body(request, limit_bytes), decoder)


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """JSON as the decoder's type."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the body is not as it has to be: {error}", "see /v1/openapi.json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def refuse_encodings(request: web.Request) -> None:
    """A compressed body would have to be unpacked with a bound of its own; on a local socket nobody needs one."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise UnsupportedMediaType("compressed bodies are not taken", "leave Content-Encoding out")


def read_query(request: web.Request, *known: str) -> dict[str, str]:
    """The parameters of the query, each there once at most. An unknown one is refused: a misspelt filter drops all."""
    if not request.query_string:
        return {}
    given: dict[str, str] = {}
    for key, value in request.query.items():
        if key not in known:
            raise BadRequest(
                "the query has a parameter that this path does not know",
                f"known are {', '.join(known)}" if known else "there are none",
            )
        if key in given:
            raise BadRequest(f"the parameter {key} is there twice")
        given[key] = value
    return given


def one_of(given: dict[str, str], key: str, *values: str) -> str | None:
    """A parameter that has one of a few values."""
    value = given.get(key)
    if value is not None and value not in values:
        raise BadRequest(f"the parameter {key} has to be {' or '.join(values)}")
    return value


def absolute_path(value: str | None, key: str) -> Path | None:
    """A value that is an absolute path, or is left out."""
    if value is None:
        return None
    if not value.startswith("/") or "\0" in value:
        raise BadRequest(f"{key} has to be an absolute path")
    return Path(value)


def is_lease(request: web.Request) -> bool:
    """Whether a launcher asks, who reads nothing but records."""
    return request.headers.get(hdrs.CONTENT_TYPE) == protocol.MEDIA_TYPE


def path_value(request: web.Request, name: str) -> str:
    """A parameter of the path."""
    value: Any = request.match_info[name]
    return str(value)


def named(value: str, pattern: str) -> str:
    """The value, where it is what a project or a service may be called; raises `BadRequest`."""
    if not re.fullmatch(pattern, value):
        raise BadRequest(f"{value!r} cannot be the name of a project or a service")
    return value
