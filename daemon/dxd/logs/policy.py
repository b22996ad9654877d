"""Which segments of a service go, and which are compressed: a pure decision over those that there are."""

from collections.abc import Sequence
from dataclasses import dataclass

COMPRESS_AFTER_S = 5.0
"""A service that floods drops its segments before they are so old: compressing them would be for nothing."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a service's output."""

    number: int
    size_bytes: int
    """On the disk."""
    compressed: bool
    written_at: float
    """When it was last written to, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove this one."""

    number: int


@dataclass(frozen=True, slots=True)
class Compress:
    """Compress this one."""

    number: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave this one for now, and look again after so many seconds."""

    number: int
    reason: str
    for_s: float


def segment_bytes(max_bytes: int) -> int:
    """How large a segment becomes: an eighth of all, so that what goes at once is little."""
    return max(1 << 16, max_bytes // 8)


def plan(segments: Sequence[Segment], *, max_bytes: int, now: float) -> tuple[list[Drop | Compress], list[Hold]]:
    """Decide about all but the last of them, which is being written; the oldest is first."""
    actions: list[Drop | Compress] = []
    holds: list[Hold] = []
    left = sum(each.size_bytes for each in segments)
    for each in segments[:-1]:
        if left > max_bytes:
            left -= each.size_bytes
            actions.append(Drop(each.number))
        elif not each.compressed:
            # A clock that was set back must not keep one for years.
            age_s = max(0.0, now - each.written_at)
            if age_s >= COMPRESS_AFTER_S or each.written_at > now + COMPRESS_AFTER_S:
                actions.append(Compress(each.number))
            else:
                holds.append(Hold(each.number, "just written", COMPRESS_AFTER_S - age_s))
    return actions, holds
