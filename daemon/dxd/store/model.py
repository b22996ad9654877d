"""Builds as they are remembered, and as they are shown, and projects that are known: frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import NewType

BuildId = NewType("BuildId", int)
"""From 1 on; never given twice by the same file."""


class Result(StrEnum):
    """How a build ended."""

    GOOD = "good"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Replaced, asked to stop, or its daemon ended before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One attempt to make a tool's image, or one that was pulled for it."""

    id: BuildId
    tool: str
    digest: str
    """Of its inputs: 64 hexadecimal digits. `sha256:` and as many is an image's that was pulled, at its registry."""
    image_id: str | None
    """None until there is one; that of a build that was not good may be there still."""
    began: datetime
    """In UTC."""
    seconds: float | None
    """None while it goes on, and where nobody saw its end."""
    result: Result | None
    """None while it goes on."""
    cause: str
    """What it was made for: the files that changed, or words; one line."""
    asked_by: str
    """`run`, `change`, `dx add`, `upgrade`, ..."""
    error: str
    """Why it failed, in one line; empty where it did not."""
    served: int | None = None
    """When it last began to serve because that was due: one that began later has a higher number. None: never."""

    @property
    def is_pulled(self) -> bool:
        """Whether a registry has it, and no build made it."""
        return self.digest.startswith("sha256:")

    def shown(self, *, size_bytes: int | None, current: bool, pinned: bool) -> "BuildView":
        """The build with what history alone does not know."""
        known = {each.name: getattr(self, each.name) for each in fields(Build)}
        return BuildView(**known, size_bytes=size_bytes, current=current, pinned=pinned)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildView(Build):
    """A build as it is shown."""

    size_bytes: int | None
    """Of its image; None where the engine has none of it, or cannot say."""
    current: bool
    """Runs of the tool use it."""
    pinned: bool
    """They do until somebody unpins it, whatever changes."""


@dataclass(frozen=True, slots=True)
class Freed:
    """What a prune removed."""

    images: int
    bytes: int
    """That the engine got back; layers that others share stay."""


@dataclass(frozen=True, slots=True)
class KnownFall:
    """A run of a container that ended badly, or was given up."""

    run: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class KnownPast:
    """What still counts of the past of one container of a service. Times are of the monotonic clock of one boot."""

    boot: str
    number: int
    deaths: tuple[float, ...]
    streak: int
    fell: KnownFall | None
    """To be started again after its pause."""
    gave_up: KnownFall | None
    """Not restarted any more, whatever its health."""


@dataclass(frozen=True, slots=True)
class KnownService:
    """What is kept of a service."""

    will: str
    ends: tuple[tuple[str, str, str], ...] = ()
    """The runs of its containers that have ended for good: which, `done` or `failed`, and why."""
    past: tuple[KnownPast, ...] = ()
    """Of its containers that have fallen of late."""


@dataclass(frozen=True, slots=True)
class KnownProject:
    """What is kept of a project, so that it comes back with the daemon."""

    name: str
    directory: str
    files: tuple[str, ...]
    """As they were given; none where Compose looks for itself."""
    given_name: str | None
    profiles: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    """Of whoever asked for it: what its files refer to, secrets among it."""
    services: Mapping[str, KnownService] = field(default_factory=dict)
