"""Whether a service's image is to be built: a pure decision over a picture of the moment."""

from dataclasses import dataclass
from enum import StrEnum

from dxd.compose.model import OnChange


class Do(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    BUILD = "build"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Picture:
    """A service and what its image is built from; contents are known by their digests."""

    digest: str | None
    """Of what there is now; None where it is built from nothing of this machine."""
    built: str | None
    """Of what the image was built from last; None where that is not known."""
    failed: str | None
    """Of what could not be built last, or was no good when it was tried."""
    wanted: bool
    """It runs, or is started by the first who connects to it."""
    on_change: OnChange


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    do: Do
    reason: str


def decide(it: Picture) -> Decision:
    """Build what has changed and has not failed. Where nothing is known, building finds out: it is cheap if all is as
    it was.
    """
    if it.digest is None:
        return Decision(Do.NOTHING, "it is not built from files of this machine")
    if not it.wanted:
        return Decision(Do.NOTHING, "it does not run")
    if it.digest == it.built:
        return Decision(Do.NOTHING, "it is what its files say")
    if it.digest == it.failed:
        return Decision(Do.NOTHING, "that build is no good")
    if it.on_change is OnChange.TELL:
        if it.built is None:
            return Decision(Do.NOTHING, "it is told of changes from now on")
        return Decision(Do.TELL, "what it is built from has changed; to apply that: dx up --build")
    return Decision(Do.BUILD, "its files have changed" if it.built else "it is not known what it was built from")
