"""Snapshots, as they are shown: frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Copy:
    """One volume of a snapshot."""

    of: str
    """The volume that was copied."""
    volume: str
    """The volume that has the copy."""
    labels: Mapping[str, str]
    """Of the one that was copied, to make it again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What some volumes had in them at one moment."""

    project: str
    name: str
    id: str
    """16 hexadecimal digits, never given twice."""
    created: datetime
    """In UTC."""
    files: int
    bytes: int
    """On the disk, if the copy shared nothing with what it was made of."""
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore that was begun: these volumes may be half-way."""

    volume: str
    """The empty one that says so."""
    targets: tuple[str, ...]
