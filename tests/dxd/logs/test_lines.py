"""Entries into lines, and how grave they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.logs import level, moment, record
from dxd.logs.lines import MAX_LINE_BYTES, Lines
from dxd.logs.model import Instance, Level, Line, Progress, ns_of, stamp_of
from tests.dxd.logs.made import ONE, T0_S, TWO, WEB, at, entry


def joined(*frames: bytes, instance: Instance = ONE, lines: Lines | None = None) -> list[Line]:
    output = record.Output(0, Progress(), b"".join(frames))
    return list((lines or Lines(WEB, levels=True)).feed(instance, output))


def test_pieces_are_one_line() -> None:
    """Whatever comes in between from the other stream."""
    told = joined(entry(1, b"a"), entry(1, b"b"), entry(2, b"other\n", stderr=True), entry(1, b"c\n"), entry(3, b"d\n"))
    assert [(each.time, each.data, each.whole) for each in told] == [
        (at(2), b"other", True),
        (at(1), b"abc", True),
        (at(3), b"d", True),
    ]


def test_a_line_without_its_end_is_told_when_another_comes_or_the_container_ends() -> None:
    lines = Lines(WEB)
    assert joined(entry(1, b"prompt> "), lines=lines) == []
    told = joined(entry(2, b"next\n"), entry(3, b"last"), lines=lines)
    assert [(each.data, each.whole) for each in told] == [(b"prompt> ", False), (b"next", True)]
    assert joined(entry(4, b"b\n"), instance=TWO, lines=lines)[0].data == b"b"
    assert list(lines.flush(TWO.container)) == []
    assert [each.data for each in lines.flush(ONE.container)] == [b"last"]
    assert list(lines.flush()) == []


def test_a_line_of_ten_megabytes_is_one_and_a_longer_one_comes_in_pieces() -> None:
    piece = b"x" * (1 << 20)
    told = joined(*[entry(1, piece)] * 10, entry(1, b"end\n"))
    assert [(len(each.data), each.whole) for each in told] == [((10 << 20) + 3, True)]
    told = joined(*[entry(1, piece)] * 17, entry(1, b"end\n"))
    assert [(len(each.data), each.whole) for each in told] == [(MAX_LINE_BYTES, False), ((1 << 20) + 3, True)]


@given(st.lists(st.binary(max_size=20).map(lambda each: each.replace(b"\n", b"")), max_size=20), st.integers(1, 5))
def test_lines_are_the_bytes_that_were_printed(data: list[bytes], size: int) -> None:
    """However they were cut into pieces."""
    frames = []
    for number, each in enumerate(data):
        whole = each + b"\n"
        frames += [entry(number, whole[at : at + size]) for at in range(0, len(whole), size)]
    assert [each.data for each in joined(*frames)] == data


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"level":"error","msg":"x"}', Level.ERROR),
        (b'{"ts":1,"log.level":"WARN"}', Level.WARN),
        (b'{"severity": "CRITICAL"}', Level.ERROR),
        (b'{"level":30,"time":1531171074631}', Level.INFO),
        (b'{"level":60}', Level.ERROR),
        (b'{"level":3}', Level.ERROR),
        (b'{"level":7}', Level.DEBUG),
        (b"time=2026 level=warning msg=x", Level.WARN),
        (b'lvl=dbug level="debug"', Level.DEBUG),
        (b"2026-11-24 10:00:00 ERROR something", Level.ERROR),
        (b"[WARN] x", Level.WARN),
        (b"2026/11/24 10:00:00 [error] 7#7: *1 open() failed", Level.ERROR),
        (b"WARNING: x", Level.WARN),
        (b"warning: unused variable", Level.WARN),
        (b"E1124 10:00:00.000000       1 main.go:1] x", Level.ERROR),
        (b"1:M 24 Nov 2026 10:00:00.000 # Warning: no config", Level.WARN),
        (b"1:M 24 Nov 2026 10:00:00.000 * Ready", Level.INFO),
        (b"2026-11-24 10:00:00.000 UTC [1] LOG:  database system is ready", Level.INFO),
        (b"2026-11-24 10:00:00.000 UTC [1] FATAL:  role does not exist", Level.ERROR),
        (b"Traceback (most recent call last):", Level.ERROR),
        (b"\x1b[32mINFO\x1b[0m:     started", Level.INFO),
        (b"no errors were found, info is below", None),
        (b"the level is low", None),
        (b"", None),
        (b"\xff\xfe\x00", None),
        (b'GET /errors?level=high HTTP/1.1" 200', None),
    ],
)
def test_levels_are_guessed(line: bytes, expected: Level | None) -> None:
    assert level.guess(line + b"\n") is expected


def test_a_stack_trace_is_as_grave_as_its_first_line() -> None:
    told = joined(entry(1, b"ERROR broken\n"), entry(2, b"\tat main\n"), entry(3, b"done\n"), entry(4, b"  what\n"))
    assert [each.level for each in told] == [Level.ERROR, Level.ERROR, None, None]


@given(st.binary(max_size=60), st.binary(max_size=500))
def test_no_line_is_too_strange_to_guess(start: bytes, rest: bytes) -> None:
    assert level.guess(start + b" level=" + rest) in {None, *Level}


@given(st.integers(1, 4_102_444_800 * 10**9))
def test_a_stamp_is_its_nanoseconds(time_ns: int) -> None:
    assert ns_of(stamp_of(time_ns)) == time_ns


@pytest.mark.parametrize(
    "stamp", [b"", b"x" * 30, b"2026-99-99T00:00:00.000000000Z", b"1960-01-01T00:00:00.000000000Z"]
)
def test_a_stamp_that_is_none_is_the_first(stamp: bytes) -> None:
    assert ns_of(stamp) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", -10),
        ("1m30s", -90),
        ("1.5h", -5400),
        ("1d", -86400),
        ("1w", -7 * 86400),
        ("250ms", -0.25),
        (f"{T0_S}", 0),
        (f"{T0_S}.5", 0.5),
        ("2027-01-15T08:00:00Z", 0),
        ("2027-01-15T08:00:00.000000007Z", 7e-9),
        ("2027-01-15 09:00:00+01:00", 0),
        ("2027-01-15T08:01Z", 60),
    ],
)
def test_moments_are_read(text: str, seconds: float) -> None:
    assert moment.parse(text, T0_S * 10**9) == stamp_of(T0_S * 10**9 + round(seconds * 10**9))
