"""The JSON of the API about what services print; what all of it has in common is in `types`."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dxd.api.types import Base64, Text
from dxd.logs.model import Level, Line, MarkKind, Told

Bytes = Text | Base64


class LogLine(Struct, frozen=True, omit_defaults=True):
    """A line that a service printed."""

    time: Annotated[str, Meta(description="RFC 3339, in UTC, with nanoseconds")]
    service: str
    container: Annotated[str, Meta(description="Its name")]
    stream: Annotated[str, Meta(description="`stdout` or `stderr`")]
    line: Annotated[Bytes, Meta(description="Without its newline")]
    level: Annotated[str | None, Meta(description="Where levels were asked for, and it has one")] = None
    partial: Annotated[bool, Meta(description="No newline came after it")] = False


class LogMark(Struct, frozen=True, omit_defaults=True):
    """What there is to know between the lines."""

    time: str
    service: str
    mark: MarkKind
    reason: Annotated[str, Meta(description="One line for people")]
    container: str = ""


_ENCODER = msgspec.json.Encoder()
_STREAMS = ("stdout", "stderr")


def log_entry(entry: Line | Told) -> bytes:
    """A line or a mark as a line of JSON."""
    if isinstance(entry, Told):
        mark = entry.mark
        name = mark.instance.name if mark.instance else ""
        return encoded(LogMark(entry.time.decode(), entry.service.service, mark.kind, mark.reason, name))
    try:
        line: str | Base64 = entry.data.decode()
    except UnicodeDecodeError:
        line = Base64(base64=entry.data)
    return encoded(
        LogLine(
            entry.time.decode(),
            entry.service.service,
            entry.instance.name,
            _STREAMS[entry.stderr],
            line,
            None if entry.level is None else Level(entry.level).name.lower(),
            not entry.whole,
        )
    )


def encoded(value: LogLine | LogMark) -> bytes:
    """With its newline."""
    return _ENCODER.encode(value) + b"\n"
