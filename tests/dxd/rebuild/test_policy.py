"""What is done about a tool's image."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dxd.rebuild.policy import LONGEST_PAUSE_S, Do, Picture, before, decide, pause_s
from dxd.store.model import Build, BuildId, Result

NEW, OLD, OTHER = "1" * 64, "2" * 64, "3" * 64


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({"current": NEW}, Do.NOTHING),
        ({"current": OLD}, Do.BUILD),
        ({"current": None}, Do.BUILD),
        ({"current": OLD, "is_there": True}, Do.PROMOTE),
        ({"current": None, "is_there": True}, Do.PROMOTE),
        ({"current": OLD, "failed": NEW}, Do.NOTHING),
        ({"current": OLD, "failed": NEW, "asked": True}, Do.BUILD),
        ({"current": OLD, "failed": OTHER}, Do.BUILD),
        ({"current": None, "failed": NEW}, Do.BUILD),
        ({"current": OLD, "pinned": True}, Do.NOTHING),
        ({"current": OLD, "pinned": True, "asked": True}, Do.NOTHING),
        ({"current": None, "pinned": True}, Do.BUILD),
        ({"current": OLD, "manual": True}, Do.NOTHING),
        ({"current": OLD, "manual": True, "is_there": True}, Do.NOTHING),
        ({"current": OLD, "manual": True, "asked": True}, Do.BUILD),
        ({"current": None, "manual": True}, Do.BUILD),
    ],
)
def test_decisions(now: dict[str, Any], what: Do) -> None:
    """Each with a reason."""
    decision = decide(Picture(wanted=NEW, **{"is_there": False, **now}))
    assert decision.do is what
    assert decision.reason


def test_what_fails_for_a_passing_reason_is_tried_more_and_more_rarely() -> None:
    """And takes no more than a tenth of the time, however long it takes."""
    pauses = [pause_s(failures, 0.1) for failures in range(1, 20)]
    assert pauses[0] < 5
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    assert pause_s(1, 600) == pytest.approx(5400)


def built(*served: tuple[str, int | None]) -> list[Build]:
    """Builds by their images and when they began to serve, the latest first."""
    return [
        Build(
            id=BuildId(number), tool="t", digest="", image_id=image, began=datetime.now(UTC), seconds=1.0,
            result=Result.GOOD, cause="", asked_by="", error="", served=at,
        )
        for number, (image, at) in enumerate(served, 1)
    ][::-1]  # fmt: skip


@pytest.mark.parametrize(
    ("builds", "current", "goes_to"),
    [
        ([("a", 1), ("b", 2)], "b", "a"),
        ([("a", 1), ("b", 2)], "a", None),
        ([("a", 3), ("b", 2)], "a", "b"),
        ([("a", 1), ("b", 2), ("c", None)], "b", "a"),
        ([("a", 1), ("b", 2), ("c", None)], "c", "b"),
        ([("a", 1), ("b", 2)], None, "b"),
        ([("a", 1), ("b", 2), ("b", 3)], "b", "a"),
        ([("a", 1), ("b", 2), ("a", None)], "a", None),
        ([("a", None)], "b", None),
        ([], "a", None),
    ],
    ids=[
        "the one before", "the first", "files that went back", "one that was only kept", "from one that never served",
        "nothing serves", "one image twice", "one that was made again", "what never served", "no history",
    ],
)  # fmt: skip
def test_what_served_before(builds: list[tuple[str, int | None]], current: str | None, goes_to: str | None) -> None:
    """Not what was built before."""
    found = before(built(*builds), current)
    assert (None if found is None else found.image_id) == goes_to
