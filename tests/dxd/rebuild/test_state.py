"""When a tool's build is due."""

from pathlib import Path

from dxd.rebuild.state import Failure, ToolState
from dxd.store.model import BuildId
from dxd.tools.model import Build, Tool, ToolName


def state() -> ToolState:
    """One of a tool whose files were looked at."""
    made = ToolState(Tool(ToolName("t"), build=Build(Path("/nowhere"))))
    made.stale = False
    return made


def test_what_failed_for_a_passing_reason_is_due_after_a_while() -> None:
    """Also where its files have not changed, and not before where they have not been told of."""
    it = state()
    assert not it.is_due(10.0)
    it.rests(9.9, 10.0)
    it.stale = True
    assert it.again_at is not None
    assert not it.is_due(it.again_at - 0.1)
    it.stale = False
    assert it.is_due(it.again_at)
    first = it.again_at - 10.0
    it.rests(9.9, 10.0)
    assert it.again_at - 10.0 > first
    it.rested()
    assert not it.is_due(1e9)


def test_what_it_waits_for_may_have_come() -> None:
    """Then it is due at once; what waits for nothing is not."""
    it = state()
    it.hurry()
    assert not it.is_due(10.0)
    it.rests(9.9, 10.0)
    it.hurry()
    assert it.is_due(10.0)


def test_another_failure_is_told_again() -> None:
    """In every terminal; the same one is not."""
    it = state()
    it.fails(Failure.of("t", "1" * 64, BuildId(1), "building t failed at RUN false"))
    it.told.add(7)
    it.fails(Failure.of("t", "1" * 64, BuildId(1), "building t failed at RUN false"))
    assert it.told == {7}
    it.fails(Failure("", "t: cannot read it"))
    assert not it.told
