"""How a snapshot is written down in the labels of volumes; pure.

A copy is a volume with the snapshot's id. When all are complete an empty volume is made that says so: the record. That
is one call of the engine, which happened or did not. So copies without a record are of a save that was cut short. A
restore that goes on has such an empty volume as well.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from dxd.engine.model import Volume
from dxd.snapshots.model import Copy, Restore, Snapshot

OWNER_LABEL: Final = "dev.dx.owner"
PART_LABEL: Final = "dev.dx.snapshot"
"""copy, record or restore."""
ID_LABEL: Final = "dev.dx.snapshot.id"
FACTS_LABEL: Final = "dev.dx.snapshot.facts"

COPY: Final = "copy"
RECORD: Final = "record"
RESTORE: Final = "restore"


def of_copy(owner: str, snapshot: str) -> dict[str, str]:
    """The labels of a volume with a copy."""
    return {OWNER_LABEL: owner, PART_LABEL: COPY, ID_LABEL: snapshot}


def of_record(owner: str, snapshot: Snapshot) -> dict[str, str]:
    """The labels of the volume that says that a snapshot is whole."""
    facts = {
        "project": snapshot.project,
        "name": snapshot.name,
        "created": snapshot.created.isoformat(),
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "copies": [[each.of, each.volume, dict(each.labels)] for each in snapshot.copies],
    }
    return {OWNER_LABEL: owner, PART_LABEL: RECORD, ID_LABEL: snapshot.id, FACTS_LABEL: json.dumps(facts)}


def of_restore(owner: str, restore: Iterable[str]) -> dict[str, str]:
    """The labels of the volume that says that these may be half-way."""
    return {OWNER_LABEL: owner, PART_LABEL: RESTORE, FACTS_LABEL: json.dumps({"targets": list(restore)})}


def snapshot(volume: Volume) -> Snapshot | None:
    """What a record says; None where it is none, or cannot be read."""
    facts = _facts(volume, RECORD)
    try:
        return Snapshot(
            project=str(facts["project"]),
            name=str(facts["name"]),
            id=volume.labels[ID_LABEL],
            created=datetime.fromisoformat(str(facts["created"])),
            files=int(facts["files"]),
            bytes=int(facts["bytes"]),
            copies=tuple(Copy(str(of), str(copy), dict(labels)) for of, copy, labels in facts["copies"]),
        )
    except (LookupError, TypeError, ValueError):
        return None


def restore(volume: Volume) -> Restore | None:
    """What is under way, where a volume says so."""
    try:
        return Restore(volume.name, tuple(map(str, _facts(volume, RESTORE)["targets"])))
    except (LookupError, TypeError):
        return None


def _facts(volume: Volume, part: str) -> Mapping[str, Any]:
    if volume.labels.get(PART_LABEL) != part:
        return {}
    try:
        found = json.loads(volume.labels.get(FACTS_LABEL, ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
