"""What to do about a tool's image: a pure decision over a picture of the moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dxd.store.model import Build

LONGEST_PAUSE_S = 60.0
SHARE = 0.1
"""Of the time, which trying again may take."""


class Do(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    PROMOTE = "promote"
    """Have runs take a build that is there already."""
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class Picture:
    """A tool whose image is built, as the decision sees it; builds are known by the digests of their inputs."""

    wanted: str
    """What its files and definition amount to now."""
    current: str | None
    """The build that runs take."""
    is_there: bool
    """The engine has an image of `wanted`."""
    failed: str | None = None
    """The build that failed last."""
    pinned: bool = False
    manual: bool = False
    asked: bool = False
    """Somebody asks for it now, other than by running the tool."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    do: Do
    reason: str


def decide(it: Picture) -> Decision:
    """Build what is not there and has not failed; what somebody asks for, and a first build, is tried whatever was."""
    if it.current == it.wanted:
        return Decision(Do.NOTHING, "it is what its files say")
    first = it.current is None
    if it.pinned and not first:
        return Decision(Do.NOTHING, "it is pinned")
    if it.manual and not first and not it.asked:
        return Decision(Do.NOTHING, "it is built when somebody asks")
    if it.is_there:
        return Decision(Do.PROMOTE, "it was built before")
    if it.failed == it.wanted and not first and not it.asked:
        return Decision(Do.NOTHING, "that build has failed")
    return Decision(Do.BUILD, "its files have changed" if not first else "it was never built")


def before(builds: Iterable[Build], current: str | None) -> Build | None:
    """Of those that could serve, the one that did before the image that does, as far as it is known when that began."""
    served = sorted((each for each in builds if each.served is not None), key=lambda each: each.served or 0)
    since = max((index for index, each in enumerate(served) if each.image_id == current), default=len(served))
    return next((each for each in reversed(served[:since]) if each.image_id != current), None)


def pause_s(failures: int, took_s: float) -> float:
    """Before what failed so many times in a row, for a reason that passes by itself, is tried again: longer each time,
    and the more, the longer it took.
    """
    return max(min(2.0**failures, LONGEST_PAUSE_S), took_s * (1 / SHARE - 1))
