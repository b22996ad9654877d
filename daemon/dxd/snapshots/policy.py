"""Which volumes of ours make snapshots, and which are left over: a pure decision over all that there are."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dxd.engine.model import Volume
from dxd.errors import BadName
from dxd.snapshots import labels
from dxd.snapshots.model import Restore, Snapshot

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Found:
    """What the volumes say."""

    snapshots: tuple[Snapshot, ...]
    """The latest first; one for each name of a project."""
    left: tuple[str, ...]
    """Volumes to remove: of saves that were cut short, and of snapshots that another has replaced, records first."""
    restores: tuple[Restore, ...]
    """To be brought to an end before anybody uses their targets."""


def check(name: str) -> str:
    """The name, if a snapshot can have it; raises `BadName`."""
    if not _NAME.fullmatch(name):
        raise BadName(f"{name[:80]!r} is no name for a snapshot", "use a-z, 0-9, dots, dashes and underscores")
    return name


def read(volumes: Iterable[Volume], *, busy: Collection[str] = ()) -> Found:
    """What is there. `busy` are ids of snapshots that are being saved now: their copies are not left over."""
    all_of_ours = list(volumes)
    records = {each.name: found for each in all_of_ours if (found := labels.snapshot(each))}
    newest: dict[tuple[str, str], Snapshot] = {}
    for each in sorted(records.values(), key=lambda snapshot: snapshot.created):
        newest[each.project, each.name] = each
    serving = {each.id for each in newest.values()}
    left = [name for name, each in records.items() if each.id not in serving]
    left += [
        each.name
        for each in all_of_ours
        if each.labels.get(labels.PART_LABEL) == labels.COPY
        and each.labels.get(labels.ID_LABEL) not in serving
        and each.labels.get(labels.ID_LABEL) not in busy
    ]
    restores = tuple(begun for each in all_of_ours if (begun := labels.restore(each)))
    latest_first = sorted(newest.values(), key=lambda snapshot: snapshot.created, reverse=True)
    return Found(tuple(latest_first), tuple(left), restores)
