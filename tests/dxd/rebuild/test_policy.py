"""What is done about a tool's image."""

from typing import Any

import pytest

from dxd.rebuild.policy import LONGEST_PAUSE_S, Do, Picture, decide, pause_s

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
