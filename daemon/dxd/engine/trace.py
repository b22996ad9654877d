"""BuildKit's progress, as `POST /build?version=2` sends it: messages of protobuf, of which we read a few fields.

The messages are those of moby/buildkit's api/services/control/control.proto (StatusResponse). Its field numbers cannot
change; fields that we do not know are skipped. Pure; a message that cannot be read is `ValueError`. `docker buildx` has
the same as JSON (client.SolveStatus), of which what cannot be read is left out.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Vertex:
    """A step of the build; sent anew whenever something about it changes."""

    digest: str
    name: str
    cached: bool
    started_s: float | None
    completed_s: float | None
    error: str


@dataclass(frozen=True, slots=True)
class Log:
    """Bytes that a step printed, cut anywhere."""

    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """How far a step is with one thing that it moves; sent anew as it goes on."""

    digest: str
    id: str
    current: int
    total: int
    """0: not known. Not always bytes, but always of one kind for one id."""


def decode(message: bytes) -> Iterator[Vertex | Status | Log]:
    """What one status message tells, in its order."""
    for number, value in _fields(message):
        if isinstance(value, bytes):
            if number == 1:
                yield _vertex(value)
            elif number == 2:
                yield _status(value)
            elif number == 3:
                yield _log(value)


def read(record: Mapping[str, Any]) -> Iterator[Vertex | Status | Log]:
    """What one record of `docker buildx build --progress=rawjson` tells, steps first."""
    for each in _each(record, "vertexes"):
        yield Vertex(
            digest=str(each.get("digest")),
            name=str(each.get("name", "")),
            cached=bool(each.get("cached")),
            started_s=_moment(each.get("started")),
            completed_s=_moment(each.get("completed")),
            error=str(each.get("error", "")),
        )
    for each in _each(record, "statuses"):
        current, total = (number if isinstance(number := each.get(key), int) else 0 for key in ("current", "total"))
        yield Status(str(each.get("vertex")), str(each.get("id")), current, total)
    for each in _each(record, "logs"):
        with suppress(ValueError):
            yield Log(str(each.get("vertex")), base64.b64decode(str(each.get("data", "")), validate=True))


def _each(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = record.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _moment(text: object) -> float | None:
    """RFC 3339 with any number of decimals; None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def _vertex(message: bytes) -> Vertex:
    digest = name = error = ""
    cached = False
    started_s = completed_s = None
    for number, value in _fields(message):
        match number, value:
            case 1, bytes():
                digest = _text(value)
            case 3, bytes():
                name = _text(value)
            case 4, int():
                cached = bool(value)
            case 5, bytes():
                started_s = _seconds(value)
            case 6, bytes():
                completed_s = _seconds(value)
            case 7, bytes():
                error = _text(value)
    return Vertex(digest, name, cached, started_s, completed_s, error)


def _status(message: bytes) -> Status:
    digest = thing = ""
    current = total = 0
    for number, value in _fields(message):
        match number, value:
            case 1, bytes():
                thing = _text(value)
            case 2, bytes():
                digest = _text(value)
            case 4, int():
                current = value
            case 5, int():
                total = value
    return Status(digest, thing, current, total)


def _log(message: bytes) -> Log:
    digest, data = "", b""
    for number, value in _fields(message):
        match number, value:
            case 1, bytes():
                digest = _text(value)
            case 4, bytes():
                data = value
    return Log(digest, data)


def _seconds(message: bytes) -> float:
    """A google.protobuf.Timestamp."""
    fields = {number: value for number, value in _fields(message) if isinstance(value, int)}
    return fields.get(1, 0) + fields.get(2, 0) / 1e9


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number, and value as the wire has it."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            if kind == _BYTES:
                length, at = _varint(message, at)
            elif kind in _FIXED_BYTES:
                length = _FIXED_BYTES[kind]
            else:
                raise ValueError(f"wire type {kind}")
            if length > end - at:
                raise ValueError("a field is cut short")
            value = message[at : at + length]
            at += length
        yield key >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at that place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")
