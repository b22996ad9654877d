"""How each step of a run is done here: the first choice, or what takes its place where that is refused, and why."""

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

from dxd.errors import BadDefinition

FORCE = "DX_FORCE"


class Rung(StrEnum):
    """What takes a first choice's place, by the name that forces it."""

    SINGLE_USE = "single-use"
    BIND = "bind"
    PORTABLE = "portable"


@dataclass(frozen=True, slots=True)
class Step:
    """How one step is done."""

    step: str
    """`root`, `grants` or `reach`."""
    way: str
    """The name of what is in use; empty where nothing has been tried yet."""
    reason: str = ""
    """Why it is not the first choice; empty where it is."""
    cure: str = ""


FORCED = f"{FORCE} in the daemon's environment asks for it"
UNFORCE = f"unset {FORCE}, then: dx daemon restart"


def forced(text: str) -> frozenset[Rung]:
    """The rungs that `DX_FORCE` names; raises `BadDefinition` for one that there is not."""
    try:
        return frozenset(Rung(each) for each in text.split(",") if each)
    except ValueError:
        raise BadDefinition(f"{FORCE} is {text!r}", f"it takes: {', '.join(Rung)}") from None


def root(last: tuple[int, int] | None) -> Step:
    """Of a fresh root, from what the last agent that was ready has said, if there was one: `once` and `refused`."""
    if last is None:
        return Step("root", "")
    once, error = last
    if not once:
        return Step("root", "overlay")
    if not error:
        return Step("root", Rung.SINGLE_USE, FORCED, UNFORCE)
    refused = f"the kernel refuses an overlay in a container ({os.strerror(error)})"
    cures = {
        errno.ENODEV: "as root: modprobe overlay",
        errno.EPERM: "let the security module's profile of containers allow mount",
        errno.EACCES: "let the security module's profile of containers allow mount",
    }
    deep = "keep the engine's data on a file system that is no overlay itself: data-root in its daemon.json"
    return Step("root", Rung.SINGLE_USE, f"{refused}, so each run costs a container", cures.get(error, deep))


def grants(*, bind: bool, portable: bool) -> Step:
    """Of what runs are granted; a launcher that finds itself refused asks for the other way on its own."""
    if portable:
        return Step("grants", Rung.BIND, "the engine mounts them, because the agent is out of a launcher's reach")
    if bind:
        return Step("grants", Rung.BIND, FORCED, UNFORCE)
    return Step("grants", "mounts")


def reach(reason: str) -> Step:
    """Of reaching the agent; `reason` says why that cannot be done by its socket."""
    if not reason:
        return Step("reach", "socket")
    if reason == FORCED:
        return Step("reach", Rung.PORTABLE, FORCED, UNFORCE)
    return Step("reach", Rung.PORTABLE, reason, "for runs at native speed use an engine on this machine itself")
