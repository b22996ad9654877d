"""What is done about a tool's image."""

from typing import Any

import pytest

from dxd.rebuild.policy import Do, Picture, decide

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
