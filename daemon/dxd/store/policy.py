"""Which builds are kept: a pure decision over those that there are."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from dxd.store.model import Build, BuildId, Result


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget this one."""

    id: BuildId
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep this one for now."""

    id: BuildId
    reason: str


def plan(
    builds: Iterable[Build], *, keep: int, keep_days: float, held: Collection[BuildId], now: datetime
) -> tuple[list[Drop], list[Hold]]:
    """Decide about all: of each tool the latest `keep` that are good stay, and as many of the others, which have no
    image but a log; none for longer than `keep_days`. One that goes on never goes, nor one of `held`: those that are
    current or pinned, which count among the latest all the same.
    """
    drops: list[Drop] = []
    holds: list[Hold] = []
    seen: Counter[tuple[str, bool]] = Counter()
    for each in sorted(builds, key=lambda build: build.id, reverse=True):
        kind = each.tool, each.result is Result.GOOD
        days = (now - each.began).total_seconds() / 86400
        if each.result is None:
            holds.append(Hold(each.id, "goes on"))
            continue
        seen[kind] += 1
        if each.id in held:
            holds.append(Hold(each.id, "in use"))
        elif seen[kind] > keep:
            drops.append(Drop(each.id, f"{keep} later ones"))
        elif days >= keep_days:
            drops.append(Drop(each.id, f"older than {keep_days:g} days"))
        else:
            holds.append(Hold(each.id, f"kept for {keep_days - days:.1f} days more"))
    return drops, holds
