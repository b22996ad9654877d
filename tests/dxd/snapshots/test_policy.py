"""Which volumes make snapshots, and which are left over: the decision alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.engine.model import Volume
from dxd.errors import BadName
from dxd.snapshots import labels, policy
from dxd.snapshots.model import Copy, Snapshot

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def snapshot(number: int, name: str = "before", *, project: str = "shop", days: int = 0) -> Snapshot:
    copies = (Copy("shop_db", f"copy-{number}", {"com.docker.compose.project": "shop"}),)
    return Snapshot(project, name, f"{number:016x}", NOW - timedelta(days=days), 3, 4096, copies)


def volumes(*snapshots: Snapshot, whole: bool = True) -> list[Volume]:
    found = []
    for each in snapshots:
        found += [Volume(copy.volume, labels.of_copy("me", each.id)) for copy in each.copies]
        if whole:
            found.append(Volume(f"record-{each.id}", labels.of_record("me", each)))
    return found


def test_what_is_written_down_is_read_again() -> None:
    one, other = snapshot(1), snapshot(2, "after", days=1)
    assert policy.read(volumes(one, other)) == policy.Found((one, other), (), ())


def test_copies_without_a_record_are_left_over_unless_they_are_being_made() -> None:
    made = volumes(snapshot(1), whole=False)
    assert policy.read(made).left == ("copy-1",)
    assert policy.read(made, busy={f"{1:016x}"}).left == ()


def test_of_two_by_the_same_name_the_later_counts() -> None:
    """Its record is removed before its copies: a snapshot without a record is none."""
    found = policy.read(volumes(snapshot(1, days=1), snapshot(2), snapshot(3, project="other")))
    assert [each.id for each in found.snapshots] == [f"{2:016x}", f"{3:016x}"]
    assert found.left == (f"record-{1:016x}", "copy-1")


def test_a_record_that_cannot_be_read_is_no_snapshot() -> None:
    broken = Volume("r", {labels.PART_LABEL: labels.RECORD, labels.ID_LABEL: "1", labels.FACTS_LABEL: "{"})
    assert policy.read([broken]) == policy.Found((), (), ())


def test_a_restore_that_was_begun_is_found() -> None:
    begun = Volume("mark", labels.of_restore("me", ["a", "b"]))
    assert [(each.volume, each.targets) for each in policy.read([begun]).restores] == [("mark", ("a", "b"))]


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "A", "a/b", "a b", "a\n", "a" * 64, "é"])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        policy.check(name)
    assert policy.check("before-2026.01_31") == "before-2026.01_31"


@given(st.dictionaries(st.sampled_from([labels.PART_LABEL, labels.ID_LABEL, labels.FACTS_LABEL]), st.text(max_size=30)))
def test_any_labels_can_be_read(given_labels: dict[str, str]) -> None:
    found = policy.read([Volume("v", given_labels)])
    assert found.snapshots == ()
