"""What an engine tells twice on one connection is kept once, and nothing is taken for that which is not."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dxd.logs.cursor import Sieve
from dxd.logs.model import Progress
from dxd.logs.repeats import Repeats
from tests.dxd.logs.made import entry

KEPT_BYTES = 1_000_000


def kept(batches: list[list[bytes]], kept_bytes: int | None = KEPT_BYTES) -> list[bytes]:
    """What is kept of what is told on one connection."""
    sieve = Sieve(Progress(), 0, kept_bytes=kept_bytes)
    return [each for batch in batches for each in sieve.pass_new(batch)]


def lines(*numbers: int) -> list[bytes]:
    """Lines, some on stderr, a millisecond after each other."""
    return [entry(number / 1000, b"line %d\n" % number, stderr=number % 3 == 0) for number in numbers]


def batches(frames: list[bytes], cuts: list[int]) -> list[list[bytes]]:
    """The same in pieces."""
    at = sorted({0, len(frames), *(cut % (len(frames) + 1) for cut in cuts)})
    return [frames[begin:end] for begin, end in pairwise(at)]


@st.composite
def told(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Which lines there were, and what was told of them: files, some again and again, as far as the engine came before
    the next one, and some of them never.
    """
    there: list[int] = []
    every: list[int] = []
    number = 0
    for size in draw(st.lists(st.integers(2, 12), min_size=1, max_size=8)):
        file = list(range(number, number + size))
        number += size
        if draw(st.integers(0, 4)) == 0:
            continue
        there += file
        every += file
        for _ in range(draw(st.integers(0, 2))):
            every += file[: draw(st.integers(1, size))]
    return there, every


@given(told(), st.lists(st.integers(0, 200), max_size=10))
def test_a_file_that_is_told_again_is_kept_once_however_far_it_is_told(
    files: tuple[list[int], list[int]], cuts: list[int]
) -> None:
    """Whatever comes together."""
    there, every = files
    assert kept(batches(lines(*every), cuts)) == lines(*there)


def test_the_first_entry_of_a_file_that_is_told_twice_is_kept_once() -> None:
    assert kept([lines(1), lines(1, 2, 4)]) == lines(1, 2, 4)


def test_pieces_of_a_line_that_are_the_same_are_all_kept() -> None:
    """They have the time of its beginning."""
    pieces = [entry(1, b"x" * 100)] * 5 + [entry(1, b"x\n")]
    assert kept([pieces]) == pieces
    every = [*lines(1), *pieces, *lines(2000)]
    assert kept([every, every[3:], lines(2001)]) == [*every, *lines(2001)]


def test_a_clock_that_was_set_back_loses_no_line() -> None:
    """Of the same text, and one with the time of an earlier one, by chance; not even where the engine rotates."""
    before = [entry(number / 1000, b"y\n") for number in range(1000)]
    after = [entry(0.5, b"y\n"), *(entry(0.5 + number / 1000 + 1e-6, b"y\n") for number in range(1000))]
    assert kept([before + after]) == before + after
    assert kept([before, after]) == before + after


def test_what_an_engine_tells_that_rotates_nothing_is_not_looked_into() -> None:
    assert kept([lines(1, 2, 1)], None) == lines(1, 2, 1)


def test_no_more_is_remembered_than_the_engine_keeps() -> None:
    repeats = Repeats(8_000)
    frames = lines(*range(10_000))
    assert not any(repeats.has(frames, at) for at in range(len(frames)))
    last = lines(*range(9_950, 10_001))
    assert [repeats.has(last, at) for at in range(len(last))] == [True] * 50 + [False]
