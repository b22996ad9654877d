"""Which warm containers go: the decision alone, without any container."""

from hypothesis import given
from hypothesis import strategies as st

from dxd.engine.model import ContainerId
from dxd.warm.model import State
from dxd.warm.policy import Drop, Hold, Picture, plan


def picture(name: str, *, state: State = State.READY, runs: int = 0, idle_s: float = 0.0) -> Picture:
    return Picture(ContainerId(name), state, runs, idle_s)


def drops(*pictures: Picture, idle_s: float = 60, max_warm: int = 3) -> dict[str, str]:
    return {each.id: each.reason for each in plan(pictures, idle_s=idle_s, max_warm=max_warm)[0]}


def test_one_that_was_used_lately_stays_and_says_for_how_long() -> None:
    """A hold tells why nothing happens."""
    assert plan([picture("a", idle_s=20)], idle_s=60, max_warm=3) == (
        [],
        [Hold(ContainerId("a"), "warm for 40 s more")],
    )


def test_one_whose_time_is_up_goes() -> None:
    """At the limit, not after it."""
    assert plan([picture("a", idle_s=60)], idle_s=60, max_warm=3)[0] == [Drop(ContainerId("a"), "idle")]


def test_one_with_ports_goes_soon() -> None:
    """Nobody else can have them meanwhile."""
    free = Picture(ContainerId("a"), State.READY, 0, 1.5, has_ports=True)
    used = Picture(ContainerId("b"), State.READY, 1, 0.0, has_ports=True)
    assert plan([free, used], idle_s=60, max_warm=3)[0] == [Drop(ContainerId("a"), "idle")]


def test_one_with_runs_never_goes() -> None:
    """However old, however many there are, replaced or not."""
    busy = [picture(name, runs=1, idle_s=1e6) for name in "abcde"]
    assert drops(*busy, picture("f", state=State.DRAINING, runs=2)) == {}


def test_one_that_is_starting_never_goes() -> None:
    """Somebody waits for it."""
    assert drops(picture("a", state=State.STARTING, idle_s=1e6), max_warm=1) == {}


def test_a_replaced_one_goes_when_it_is_empty() -> None:
    """At once, whatever its idle time."""
    assert drops(picture("a", state=State.DRAINING)) == {"a": "replaced"}


def test_of_too_many_the_one_unused_for_longest_goes() -> None:
    """The cap counts the busy ones too, and only idle ones can pay for it."""
    pictures = [picture("a", idle_s=5), picture("b", idle_s=9), picture("c", runs=1), picture("d", idle_s=1)]
    assert drops(*pictures, max_warm=3) == {"b": "too many"}
    assert drops(*pictures, max_warm=1) == {"b": "too many", "a": "too many", "d": "too many"}


def test_what_goes_anyway_counts_for_the_cap() -> None:
    """Nobody is dropped for one that leaves."""
    assert drops(picture("a", idle_s=99), picture("b", idle_s=1), max_warm=1) == {"a": "idle"}


@given(
    st.lists(st.tuples(st.sampled_from(list(State)), st.integers(0, 3), st.floats(0, 200)), max_size=12),
    st.integers(1, 8),
)
def test_every_container_is_dropped_or_held(rows: list[tuple[State, int, float]], max_warm: int) -> None:
    """Once each; and no more stay idle than the cap allows."""
    pictures = [
        picture(str(number), state=state, runs=runs, idle_s=idle) for number, (state, runs, idle) in enumerate(rows)
    ]
    dropped, held = plan(pictures, idle_s=60, max_warm=max_warm)
    assert sorted([each.id for each in dropped] + [each.id for each in held]) == sorted(each.id for each in pictures)
    kept = [each for each in pictures if each.id in {hold.id for hold in held}]
    assert all(each.runs == 0 and each.state is not State.STARTING for each in pictures if each not in kept)
    if len(kept) > max_warm:
        assert all(each.runs or each.state is State.STARTING for each in kept)
