"""The lines of several services in one order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dxd.logs.keeper import Keeper
from dxd.logs.model import Level, Line, Query, ServiceId
from dxd.logs.segment import path_of
from dxd.logs.weave import HOLD_NS, Weave
from tests.dxd.logs.made import DB, ONE, T0_S, TWO, WEB, at, entry, keep, lines, marks, opened, read


def stocked(directory: Path, count: int = 400) -> Keeper:
    """A service with many lines in several segments, some compressed."""
    keeper = opened(directory, 1 << 20)
    for number in range(count):
        keep(keeper, [entry(number, b"%d %s\n" % (number, b"x" * 1000), stderr=number % 2 == 1)])
    return keeper


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from([WEB, DB]), st.sampled_from([ONE, TWO]), st.booleans(), st.floats(0, 0.9)),
        max_size=60,
    )
)
def test_they_come_in_the_order_of_their_times(
    tmp_path_factory: pytest.TempPathFactory,
    printed: list[tuple[ServiceId, object, bool, float]],
) -> None:
    """Though streams and containers were put in beside each other, and up to a second late."""
    directory = tmp_path_factory.mktemp("order")
    keepers = {each: opened(directory / each.service) for each in (WEB, DB)}
    expected = []
    last: dict[object, float] = {}
    for number, (service, instance, stderr, late) in enumerate(printed):
        key = (service, instance, stderr)
        seconds = max(last.get(key, 0.0) + 1e-6, number - late)
        last[key] = seconds
        expected.append((at(seconds), b"%d" % number))
        keep(keepers[service], [entry(seconds, b"%d\n" % number, stderr=stderr)], instance)  # type: ignore[arg-type]
    told = [(each.time, each.data) for each in read(keepers) if isinstance(each, Line)]
    for keeper in keepers.values():
        keeper.close()
    assert [each for each, _ in told] == sorted(each for each, _ in expected)
    assert sorted(told) == sorted(expected)


@pytest.mark.parametrize("tail", [0, 1, 7, 100, 250, 399, 400, 10_000])
def test_the_tail_is_of_the_lines_that_are_asked_for(tmp_path: Path, tail: int) -> None:
    keeper = stocked(tmp_path)
    numbers = [int(each.split()[0]) for each in lines(read({WEB: keeper}, Query((WEB,), tail=tail)))]
    assert numbers == list(range(400))[max(0, 400 - tail) :]
    of_stderr = read({WEB: keeper}, Query((WEB,), tail=tail, stderr=True))
    numbers = [int(each.split()[0]) for each in lines(of_stderr)]
    assert numbers == list(range(1, 400, 2))[max(0, 200 - tail) :]
    keeper.close()


@pytest.mark.parametrize(("since", "until"), [(0, 400), (100, 300), (399, 399), (500, 600), (300, 200)])
def test_since_and_until(tmp_path: Path, since: int, until: int) -> None:
    """Both moments included; whatever is compressed."""
    keeper = stocked(tmp_path)
    for _ in range(2):
        told = lines(read({WEB: keeper}, Query((WEB,), since=at(since), until=at(until))))
        assert [int(each.split()[0]) for each in told] == [each for each in range(400) if since <= each <= until]
        for number in keeper.segments()[:-1]:
            path_of(tmp_path, number).touch()
        keeper._clock = lambda: float(T0_S * 2)
        keeper.tidy()
    assert list(tmp_path.glob("*.gz"))
    keeper.close()


def test_levels_are_filtered_and_a_line_without_one_is_information(tmp_path: Path) -> None:
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"DEBUG a\n"), entry(2, b"b\n"), entry(3, b"ERROR c\n"), entry(4, b"  trace\n")])
    for wanted, expected in (
        (Level.DEBUG, [b"DEBUG a", b"b", b"ERROR c", b"  trace"]),
        (Level.INFO, [b"b", b"ERROR c", b"  trace"]),
        (Level.ERROR, [b"ERROR c", b"  trace"]),
    ):
        assert lines(read({WEB: keeper}, Query((WEB,), level=wanted))) == expected
    keeper.close()


class Follower:
    """A reader that follows, at a clock of the test's."""

    def __init__(self, keepers: dict[ServiceId, Keeper], **more: int) -> None:
        self.now_ns = T0_S * 10**9
        self.weave = Weave(keepers, Query(tuple(keepers), follow=True, **more), clock_ns=lambda: self.now_ns)  # type: ignore[arg-type]

    def next(self, seconds: float) -> list[bytes]:
        """What is told by then."""
        self.now_ns = T0_S * 10**9 + round(seconds * 10**9)
        self.weave.again()
        told = []
        while True:
            entries, wait_s = self.weave.pull()
            told += entries
            if wait_s != 0:
                return [each.data if isinstance(each, Line) else each.mark.kind.value.encode() for each in told]


def test_what_is_followed_waits_for_its_turn(tmp_path: Path) -> None:
    """What another service printed before it may come a moment later."""
    web, db = opened(tmp_path / "web"), opened(tmp_path / "db")
    follower = Follower({WEB: web, DB: db})
    keep(web, [entry(1.00, b"later\n")])
    assert follower.next(1.01) == []
    keep(db, [entry(0.99, b"earlier\n")])
    assert follower.next(1.02) == []
    assert follower.next(1.0 + HOLD_NS / 1e9) == [b"earlier", b"later"]
    assert follower.next(2) == []
    for each in (web, db):
        each.close()
    follower.weave.close()


def test_an_engine_whose_clock_is_before_ours_is_not_waited_for(tmp_path: Path) -> None:
    keeper = opened(tmp_path)
    follower = Follower({WEB: keeper})
    keep(keeper, [entry(3600, b"from the future\n")])
    assert follower.next(1) == []
    assert follower.next(1.3) == [b"from the future"]
    keeper.close()
    follower.weave.close()


def test_following_goes_over_rotation_and_compression(tmp_path: Path) -> None:
    """In the middle of a segment that ends, and is compressed, and of one after it."""
    keeper = opened(tmp_path, 1 << 20)
    follower = Follower({WEB: keeper})
    told: list[bytes] = []
    for number in range(1000):
        keep(keeper, [entry(number, b"%d %s\n" % (number, b"x" * 1000))])
        if number % 37 == 0:
            told += follower.next(number + 1)
        if number % 100 == 99:
            keeper._clock = lambda: 4e9
            keeper.tidy()
    told += follower.next(2000)
    assert [int(each.split()[0]) for each in told] == list(range(1000))
    keeper.close()
    follower.weave.close()


def test_who_is_too_slow_is_told_of_what_was_removed(tmp_path: Path) -> None:
    keeper = opened(tmp_path, 1 << 19)
    follower = Follower({WEB: keeper})
    keep(keeper, [entry(0, b"first\n")])
    assert follower.next(1) == [b"first"]
    for number in range(1, 200):
        keep(keeper, [entry(number, b"%d %s\n" % (number, b"x" * 30_000))])
    told = follower.next(1000)
    assert b"dropped" in told
    assert told[-1].startswith(b"199 ")
    assert told.count(b"dropped") == 1
    keeper.close()
    follower.weave.close()


def test_following_from_now_on(tmp_path: Path) -> None:
    """With `tail` 0, of a container that has printed before."""
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"before\n")])
    follower = Follower({WEB: keeper}, tail=0)
    assert follower.next(10) == []
    keep(keeper, [entry(1, b"before\n"), entry(11, b"after\n")])
    assert follower.next(20) == [b"after"]
    keeper.close()
    follower.weave.close()


def test_marks_keep_their_place_in_a_tail(tmp_path: Path) -> None:
    keeper = stocked(tmp_path, 10)
    assert marks(read({WEB: keeper}, Query((WEB,), tail=3))) == []
    keeper.close()
