"""Which warm containers go, and why the others stay: a pure decision over a picture of the moment."""

from collections.abc import Iterable
from dataclasses import dataclass

from dxd.engine.model import ContainerId
from dxd.warm.model import State

PORTS_IDLE_S = 1.0
"""For one with ports: it goes with its last run, and here only where the run that it was started for never came."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One container as the decision sees it."""

    id: ContainerId
    state: State
    runs: int
    idle_s: float
    """Since its last run ended, or since it was ready."""
    has_ports: bool = False
    """It keeps ports of the machine taken."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove this one."""

    id: ContainerId
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep this one for now."""

    id: ContainerId
    reason: str


def plan(containers: Iterable[Picture], *, idle_s: float, max_warm: int) -> tuple[list[Drop], list[Hold]]:
    """Decide about all: a draining one goes when it is empty, an idle one when its time is up, which
    comes soon where it has ports, and where there are more than `max_warm` the one unused for longest goes first. One
    with runs, or still starting, never goes.
    """
    drops: list[Drop] = []
    holds: list[Hold] = []
    idle: list[Picture] = []
    count = 0
    for each in containers:
        count += 1
        if each.state is State.STARTING:
            holds.append(Hold(each.id, "starting"))
        elif each.runs:
            holds.append(Hold(each.id, f"{each.runs} runs in it"))
        elif each.state is State.DRAINING:
            drops.append(Drop(each.id, "replaced"))
        elif each.idle_s >= _limit(each, idle_s):
            drops.append(Drop(each.id, "idle"))
        else:
            idle.append(each)
    excess = max(0, count - len(drops) - max_warm)
    idle.sort(key=lambda each: each.idle_s, reverse=True)
    drops += [Drop(each.id, "too many") for each in idle[:excess]]
    holds += [Hold(each.id, f"warm for {_limit(each, idle_s) - each.idle_s:.0f} s more") for each in idle[excess:]]
    return drops, holds


def _limit(picture: Picture, idle_s: float) -> float:
    return min(idle_s, PORTS_IDLE_S) if picture.has_ports else idle_s
