"""What of a replay is new, however the connections were cut."""

from hypothesis import given
from hypothesis import strategies as st

from dxd.engine.output import HEAD, STAMP
from dxd.logs.cursor import MARGIN_NS, Sieve, new_in_tail, since_ns
from dxd.logs.model import Position, Progress, ns_of, stamp_of
from tests.dxd.logs.made import T0_S, at, entry

NOW_NS = (T0_S + 3600) * 10**9


def stamp(frame: bytes) -> bytes:
    return frame[HEAD.size : HEAD.size + STAMP]


def replay(frames: list[bytes], progress: Progress, now_ns: int = NOW_NS) -> tuple[list[bytes], Sieve]:
    """What passes of what an engine tells that has these."""
    since = since_ns(progress, now_ns)
    sieve = Sieve(progress, since)
    return sieve.pass_new([each for each in frames if stamp(each) >= stamp_of(since)]), sieve


@st.composite
def printed(draw: st.DrawFn) -> list[bytes]:
    """What a container prints: two streams whose entries are put in a file beside each other, lines in pieces, a clock
    that stands still, and one that was set back.
    """
    frames: list[bytes] = []
    clocks = [0.0, 0.0]
    for number in range(draw(st.integers(1, 40))):
        which = draw(st.integers(0, 1))
        clocks[which] += draw(st.sampled_from([0, 1e-9, 0.001, 1, 30]))
        pieces = draw(st.sampled_from([1, 1, 1, 3]))
        for piece in range(pieces):
            end = b"\n" if piece == pieces - 1 else b""
            frames.append(entry(clocks[which], b"%d.%d%s" % (number, piece, end), stderr=bool(which)))
        clocks[1 - which] = max(clocks[1 - which], clocks[which] - 1)
    return frames


@given(printed(), st.lists(st.integers(0, 12), max_size=12))
def test_no_cut_loses_or_doubles_anything(frames: list[bytes], cuts: list[int]) -> None:
    """After each connection the next goes on from what was kept; some are cut before anything new came."""
    kept: list[bytes] = []
    progress = Progress()
    for cut in [*cuts, len(frames)]:
        since = since_ns(progress, NOW_NS)
        sieve = Sieve(progress, since)
        end = len(kept) + cut
        for each in frames:
            if len(kept) < end and stamp(each) >= stamp_of(since) and sieve.pass_new([each]):
                kept.append(each)
                progress = sieve.progress()
        assert not sieve.lost
    assert kept == frames


def test_the_pieces_of_a_long_line_are_counted() -> None:
    """All have the time of its beginning."""
    pieces = [entry(1, b"a"), entry(1, b"a"), entry(1, b"a"), entry(1, b"end\n")]
    new, sieve = replay(pieces[:2], Progress())
    assert new == pieces[:2]
    assert sieve.progress().stdout == Position(at(1), 2, b"", True)
    assert replay(pieces, sieve.progress())[0] == pieces[2:]


def test_a_line_that_is_printed_for_an_hour_is_asked_for_from_its_beginning() -> None:
    """Though the other stream is far ahead."""
    _, sieve = replay([entry(1, b"piece"), entry(3000, b"x\n", stderr=True)], Progress())
    assert since_ns(sieve.progress(), NOW_NS) == ns_of(at(1))


def test_one_stream_may_come_later_than_the_other() -> None:
    _, sieve = replay([entry(100, b"x\n")], Progress())
    assert since_ns(sieve.progress(), NOW_NS) == ns_of(at(100)) - MARGIN_NS
    late = entry(99.9, b"late\n", stderr=True)
    assert replay([entry(100, b"x\n"), late], sieve.progress())[0] == [late]


def test_what_the_engine_has_thrown_away_is_noticed() -> None:
    """That what is kept does not come again says so."""
    _, sieve = replay([entry(1, b"a\n"), entry(2, b"b\n")], Progress())
    new, sieve = replay([entry(50, b"c\n")], sieve.progress())
    assert new == [entry(50, b"c\n")]
    assert sieve.lost


def test_a_quiet_stream_is_no_loss() -> None:
    """Its last entry is too old to come again."""
    _, sieve = replay([entry(1, b"a\n", stderr=True), entry(100, b"b\n")], Progress())
    new, sieve = replay(
        [entry(1, b"a\n", stderr=True), entry(100, b"b\n"), entry(101, b"c\n", stderr=True)], sieve.progress()
    )
    assert new == [entry(101, b"c\n", stderr=True)]
    assert not sieve.lost


def test_a_clock_that_is_set_back_while_it_is_followed() -> None:
    frames = [entry(100, b"a\n"), entry(101, b"b\n"), entry(50, b"c\n"), entry(51, b"d\n")]
    new, sieve = replay(frames[:3], Progress())
    assert new == frames[:3]
    assert sieve.progress().stdout == Position(at(50), 1, at(101), False)
    new, sieve = replay(frames, sieve.progress())
    assert new == frames[3:]
    assert not sieve.lost
    assert replay([*frames, entry(102, b"e\n")], sieve.progress())[0] == [entry(102, b"e\n")]


def test_a_clock_that_was_set_back_while_nobody_followed() -> None:
    """By hours: everything is asked for, and what is kept is known."""
    frames = [entry(7200, b"a\n"), entry(7201, b"b\n"), entry(50, b"c\n")]
    _, sieve = replay(frames[:2], Progress(), (T0_S + 7202) * 10**9)
    now_ns = (T0_S + 60) * 10**9
    assert since_ns(sieve.progress(), now_ns) == 0
    assert replay(frames, sieve.progress(), now_ns)[0] == frames[2:]


@given(printed(), st.integers(0, 50), st.integers(0, 50))
def test_the_last_entries_say_what_was_left_out_or_that_they_are_too_few(
    frames: list[bytes], count: int, tail: int
) -> None:
    """Never anything wrong."""
    sieve = Sieve(Progress(), 0)
    kept = sieve.pass_new(frames[:count])
    last = frames[max(0, len(frames) - tail) :]
    new = new_in_tail(last, sieve.progress(), whole=tail > len(frames))
    assert new is None or kept + new == frames
    if tail > len(frames):
        assert new is not None


def test_a_tail_is_enough_as_a_rule() -> None:
    """Where the last that is kept is in it, and one before that."""
    frames = [entry(number, b"%d\n" % number) for number in range(100)]
    sieve = Sieve(Progress(), 0)
    sieve.pass_new(frames[:97])
    assert new_in_tail(frames[-10:], sieve.progress(), whole=False) == frames[97:]
    assert new_in_tail(frames[-3:], sieve.progress(), whole=False) is None
