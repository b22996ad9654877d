"""Which builds are kept: the decision alone."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dxd.store.model import Build, BuildId, Result
from dxd.store.policy import Drop, Hold, plan

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def build(number: int, *, tool: str = "jq", result: Result | None = Result.GOOD, days: float = 0.0) -> Build:
    return Build(
        id=BuildId(number),
        tool=tool,
        digest="d" * 64,
        image_id="sha256:" + "1" * 64 if result is Result.GOOD else None,
        began=NOW - timedelta(days=days),
        seconds=1.0,
        result=result,
        cause="",
        asked_by="run",
        error="",
    )


def drops(*builds: Build, keep: int = 2, held: tuple[int, ...] = ()) -> dict[int, str]:
    found, _ = plan(builds, keep=keep, keep_days=14, held=[BuildId(each) for each in held], now=NOW)
    return {each.id: each.reason for each in found}


def test_of_each_tool_the_latest_stay() -> None:
    """Whatever order they are in."""
    builds = [build(2), build(1), build(3), build(4, tool="yq")]
    assert drops(*builds) == {1: "2 later ones"}


def test_one_that_is_old_goes_though_there_are_few() -> None:
    """At the limit, not after it; a hold says how long it has."""
    assert drops(build(1, days=14)) == {1: "older than 14 days"}
    assert plan([build(1, days=13.5)], keep=5, keep_days=14, held=(), now=NOW) == (
        [],
        [Hold(BuildId(1), "kept for 0.5 days more")],
    )


def test_one_that_is_current_or_pinned_never_goes() -> None:
    """However old, however many came after; and it takes a place."""
    builds = [build(1, days=100), build(2), build(3), build(4)]
    assert drops(*builds, held=(1,)) == {2: "2 later ones"}
    assert drops(*builds, held=(1, 4)) == {2: "2 later ones"}
    assert drops(*builds, held=(1, 2, 3, 4), keep=0) == {}


def test_one_that_goes_on_never_goes() -> None:
    """And takes no place from those that have ended."""
    assert drops(build(5, result=None, days=100), build(2), build(1)) == {}


def test_failures_take_no_place_from_what_one_can_go_back_to() -> None:
    """Their logs are kept by the same number."""
    failed = [build(number, result=Result.FAILED) for number in range(10, 20)]
    assert drops(build(1), build(2), *failed) == dict.fromkeys(range(10, 18), "2 later ones")
    mixed = [build(3, result=Result.CANCELLED), build(4, result=Result.FAILED), build(5, result=Result.CANCELLED)]
    assert drops(*mixed) == {3: "2 later ones"}


def test_nothing_is_kept_where_nothing_shall_be() -> None:
    """But for what is used."""
    assert plan([build(1)], keep=0, keep_days=14, held=(), now=NOW)[0] == [Drop(BuildId(1), "0 later ones")]


rows = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from([None, *Result]), st.floats(0, 30, allow_nan=False), st.booleans()
)


@given(st.lists(rows, max_size=20), st.integers(0, 5))
def test_every_build_is_dropped_or_held(given_rows: list[tuple[str, Result | None, float, bool]], keep: int) -> None:
    """Once each; what is left is no more than was asked for."""
    builds = [
        build(number, tool=tool, result=result, days=days)
        for number, (tool, result, days, _) in enumerate(given_rows, 1)
    ]
    held = {each.id for each, (*_, is_held) in zip(builds, given_rows, strict=True) if is_held}
    dropped, kept = plan(builds, keep=keep, keep_days=14, held=held, now=NOW)
    gone = {each.id for each in dropped}
    assert sorted([each.id for each in dropped] + [each.id for each in kept]) == [each.id for each in builds]
    assert not gone & held
    assert not any(each.result is None for each in builds if each.id in gone)
    for tool in ("a", "b"):
        free = [each for each in builds if each.tool == tool and each.id not in gone | held and each.result]
        assert sum(each.result is Result.GOOD for each in free) <= keep
