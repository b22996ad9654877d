"""Which segments go, and which are compressed."""

import pytest

from dxd.logs.capture import Lag
from dxd.logs.policy import Compress, Drop, Hold, Segment, plan
from tests.dxd.logs.made import T0_S, entry

NOW = 1000.0


def test_the_oldest_go_and_what_has_been_left_alone_is_compressed() -> None:
    segments = [
        Segment(1, 50, True, NOW - 900),
        Segment(2, 50, True, NOW - 800),
        Segment(3, 50, False, NOW - 60),
        Segment(4, 50, False, NOW - 2),
        Segment(5, 50, False, NOW),
    ]
    assert plan(segments, max_bytes=200, now=NOW) == ([Drop(1), Compress(3)], [Hold(4, "just written", 3.0)])
    assert plan(segments, max_bytes=10, now=NOW)[0] == [Drop(1), Drop(2), Drop(3), Drop(4)]
    assert plan([], max_bytes=10, now=NOW) == ([], [])


def test_a_clock_that_was_set_back_keeps_nothing_for_long() -> None:
    segments = [Segment(1, 1, False, NOW + 3600), Segment(2, 1, False, NOW)]
    assert plan(segments, max_bytes=10, now=NOW)[0] == [Compress(1)]


@pytest.mark.parametrize(("kept_bytes", "behind_s", "told"), [(None, 60, 0), (1 << 20, 0.1, 0), (1 << 20, 30, 1)])
def test_an_engine_that_rotates_faster_than_we_read_is_suspected_once(
    kept_bytes: int | None, behind_s: float, told: int
) -> None:
    """A megabyte a second, read this late."""
    lag = Lag(kept_bytes)
    reasons = []
    for number in range(100):
        frames = [entry(number / 100, b"x" * 10_000)]
        reasons.append(lag.seen(frames, (T0_S * 10**9) + round((number / 100 + behind_s) * 1e9)))
    assert len([each for each in reasons if each]) == told
