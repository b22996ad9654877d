"""How output lies in a file: records, each with its length and a checksum; pure.

A segment is a row of records and begins with a `State`, which says how far every container was kept when it was begun.
An `Output` holds entries of one container, frames as `engine.output` gives them, and how far it is kept with these; so
what is kept and how far can never disagree, however a write was cut. docs/decisions/0024-kept-output.md has the layout.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dxd.engine.model import ContainerId
from dxd.logs.model import Instance, Mark, MarkKind, Position, Progress, Stamp, ns_of, stamp_of

MAX_RECORD_BYTES = 64 << 20
"""More than that is no record of ours; the largest entry of an engine that is taken is 16 MiB."""

_RECORD = struct.Struct(">4sIII")
RECORD_BYTES = _RECORD.size
_MAGIC = b"DXL1"
_OUTPUT, _INSTANCE, _MARK, _STATE = 1, 2, 3, 4
_META = struct.Struct(">HQIQ?QIQ?")


class Torn(Exception):
    """What is here is no record, or only part of one."""


@dataclass(frozen=True, slots=True)
class Output:
    """Entries of one container, in the order in which the engine had them."""

    instance: int
    """Its number in this segment."""
    progress: Progress
    frames: bytes

    @property
    def last(self) -> Stamp:
        """No entry in here is later."""
        out, err = self.progress.stdout, self.progress.stderr
        return max(out.stamp, out.ceiling, err.stamp, err.ceiling)


@dataclass(frozen=True, slots=True)
class Introduced:
    """From here on this number stands for that container."""

    number: int
    instance: Instance


@dataclass(frozen=True, slots=True)
class Marked:
    """A mark."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class State:
    """By number, each container that is followed, how far it is kept, and whether its end is told."""

    instances: tuple[tuple[int, Instance, Progress, bool], ...]


Record = Output | Introduced | Marked | State


def encode(record: Record) -> bytes:
    """The bytes of a record."""
    match record:
        case Output(number, progress, frames):
            meta = _META.pack(number, *_packed(progress.stdout), *_packed(progress.stderr))
            return _framed(_OUTPUT, meta + frames)
        case Introduced(number, instance):
            return _framed(_INSTANCE, _json([number, instance.container, instance.name]))
        case Marked(mark):
            of = None if mark.instance is None else [mark.instance.container, mark.instance.name]
            return _framed(_MARK, _json([mark.kind, mark.reason, ns_of(mark.time), of]))
        case State(instances):
            rows = [
                [number, each.container, each.name, _packed(progress.stdout), _packed(progress.stderr), told]
                for number, each, progress, told in instances
            ]
            return _framed(_STATE, _json(rows))


def read(get: Callable[[int], bytes]) -> Record | None:
    """The next record of a file, by way of its `read`; None at the end. Raises `Torn`."""
    head = get(RECORD_BYTES)
    if not head:
        return None
    if len(head) < RECORD_BYTES:
        raise Torn
    magic, kind, check, length = _RECORD.unpack(head)
    if magic != _MAGIC or length > MAX_RECORD_BYTES:
        raise Torn
    body = get(length)
    if len(body) < length or zlib.crc32(body, kind) != check:
        raise Torn
    try:
        return _decode(kind, body)
    except (ValueError, TypeError, LookupError, struct.error):
        raise Torn from None


def frames_of(data: bytes) -> Iterator[tuple[bool, Stamp, bytes]]:
    """The entries of an `Output`: whether it is of stderr, timestamp and data."""
    at, size = 0, len(data)
    from_bytes = int.from_bytes
    while at < size:
        end = at + 8 + from_bytes(data[at + 4 : at + 8], "big")
        yield data[at] == 2, data[at + 8 : at + 38], data[at + 39 : end]
        at = end


def _decode(kind: int, body: bytes) -> Record:
    if kind == _OUTPUT:
        number, *rest = _META.unpack_from(body)
        return Output(number, Progress(_unpacked(rest[:4]), _unpacked(rest[4:])), body[_META.size :])
    told: Any = json.loads(body)
    if kind == _INSTANCE:
        return Introduced(int(told[0]), _instance(told[1:]))
    if kind == _MARK:
        of = None if told[3] is None else _instance(told[3])
        return Marked(Mark(MarkKind(told[0]), str(told[1]), stamp_of(int(told[2])), of))
    if kind == _STATE:
        return State(
            tuple(
                (int(number), _instance([container, name]), Progress(_unpacked(out), _unpacked(err)), bool(ended))
                for number, container, name, out, err, ended in told
            )
        )
    raise Torn


def _framed(kind: int, body: bytes) -> bytes:
    # The kind takes part in the checksum, as its beginning.
    return _RECORD.pack(_MAGIC, kind, zlib.crc32(body, kind), len(body)) + body


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _instance(told: list[Any]) -> Instance:
    return Instance(ContainerId(str(told[0])), str(told[1]))


def _packed(position: Position) -> tuple[int, int, int, bool]:
    return ns_of(position.stamp), position.count, ns_of(position.ceiling), position.open


def _unpacked(told: list[Any]) -> Position:
    stamp, count, ceiling, is_open = told
    return Position(stamp_of(stamp), count, stamp_of(ceiling), is_open)
