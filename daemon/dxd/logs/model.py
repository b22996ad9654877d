"""Words of this room: frozen values."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple

from dxd.engine.model import ContainerId
from dxd.engine.output import STAMP
from dxd.errors import BadName

Stamp = bytes
"""A time as the engine writes it, `2026-11-24T19:24:07.015539121Z`: these sort as the times do. Empty is before all."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class ServiceId:
    """A service of a project, by Compose's names; each is a directory's name, too."""

    project: str
    service: str

    def check(self) -> "ServiceId":
        """Itself, or `BadName`."""
        for each in (self.project, self.service):
            if not _NAME.fullmatch(each):
                raise BadName(f"{each!r} is no name of a project or a service", "letters, digits, `_`, `-` and `.`")
        return self


@dataclass(frozen=True, slots=True)
class Instance:
    """One container of a service: what is printed came from one of these."""

    container: ContainerId
    name: str
    """The container's, as people know it: `shop-web-1`."""


@dataclass(frozen=True, slots=True)
class Unkept:
    """Why output of a service is not kept for now; it waits at the engine, as far as that has room for it."""

    reason: str
    cure: str

    def line(self) -> str:
        """For people."""
        return f"{self.reason}; {self.cure}"


class Level(IntEnum):
    """How grave a line is."""

    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class MarkKind(StrEnum):
    """What stands among the lines besides lines."""

    GAP = "gap"
    """Output is missing here, or may be: the reason says which."""
    TORN = "torn"
    """A crash cut what was being written; it is taken from the engine again where that still has it."""
    DAMAGED = "damaged"
    """A part of the file cannot be read."""
    DROPPED = "dropped"
    """Older output was removed before this reader came to it."""
    ENDED = "ended"
    """A container has ended, and all that it printed is here."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a reader should know."""

    kind: MarkKind
    reason: str
    """One line for people."""
    time: Stamp
    instance: Instance | None = None


class Line(NamedTuple):
    """A line as it was printed. A tuple, because there may be a million."""

    time: Stamp
    service: ServiceId
    instance: Instance
    stderr: bool
    data: bytes
    """Without its newline."""
    whole: bool = True
    """Whether a newline ended it; if not it was the last before the container ended, or is very long."""
    level: Level | None = None
    """None where it says nothing, and where nobody asked."""


class Told(NamedTuple):
    """A mark, and of which service."""

    time: Stamp
    service: ServiceId
    mark: Mark


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader wants."""

    services: tuple[ServiceId, ...]
    since: Stamp = b""
    until: Stamp | None = None
    """Up to this moment, that included."""
    tail: int | None = None
    """At most so many of the latest lines of each service; None is all of them."""
    stderr: bool | None = None
    """Only that stream, or only stdout; None is both."""
    level: Level | None = None
    """Only lines that are at least as grave; one without a level counts as `INFO`."""
    follow: bool = False
    rest_of: str = ""
    """With `follow`: those of this project's services, too, which first print something later."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the output of one stream of a container is kept."""

    stamp: Stamp = b""
    """Of the last entry."""
    count: int = 0
    """How many of the last ones have this timestamp: the pieces of a long line do."""
    ceiling: Stamp = b""
    """The latest timestamp before the clock was set back; empty where it was not, or has come past that again."""
    open: bool = False
    """Whether the last entry was a piece of a line that goes on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the output of a container is kept."""

    stdout: Position = field(default_factory=Position)
    stderr: Position = field(default_factory=Position)


def stamp_of(time_ns: int) -> Stamp:
    """A time in nanoseconds since 1970 as a timestamp; 0 is the empty one."""
    if time_ns <= 0:
        return b""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % nanoseconds


def ns_of(stamp: Stamp) -> int:
    """The other way round; a time before 1970, and the empty one, is 0."""
    if len(stamp) != STAMP:
        return 0
    try:
        whole = datetime.fromisoformat(stamp[:19].decode() + "+00:00")
    except ValueError:
        return 0
    delta = whole - _EPOCH
    return max(0, (delta.days * 86400 + delta.seconds) * 10**9 + int(stamp[20:29]))
