"""The files of one service: whole after any crash, bounded, compressed."""

import os
import shutil
import stat
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dxd.engine.model import ContainerId
from dxd.logs import record
from dxd.logs.keeper import Keeper
from dxd.logs.model import Instance, Mark, MarkKind
from dxd.logs.segment import pack, path_of
from tests.dxd.logs.made import ALL, ONE, TWO, WEB, at, entry, keep, lines, marks, opened, read


def test_what_is_kept_is_read_byte_for_byte(tmp_path: Path) -> None:
    """Any bytes, the empty line too."""
    keeper = opened(tmp_path / "web")
    data = [b"", bytes(range(10)), bytes(range(11, 256)), b"\xff\x00\r", b"last"]
    keep(keeper, [entry(number, each + b"\n") for number, each in enumerate(data)])
    assert lines(read({WEB: keeper})) == data
    assert stat.S_IMODE((tmp_path / "web").stat().st_mode) == 0o700
    assert stat.S_IMODE(path_of(tmp_path / "web", 1).stat().st_mode) == 0o600
    keeper.close()


def test_how_far_it_has_come_is_known_after_a_restart(tmp_path: Path) -> None:
    """And a file that is not full is written on."""
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"a\n"), entry(2, b"b\n", stderr=True)])
    keep(keeper, [entry(3, b"c\n")], TWO)
    before = keeper.progress(ONE.container), keeper.progress(TWO.container)
    keeper.close()
    again = opened(tmp_path)
    assert (again.progress(ONE.container), again.progress(TWO.container)) == before
    assert again.segments() == [1]
    keep(again, [entry(1, b"a\n"), entry(2, b"b\n", stderr=True), entry(4, b"d\n")])
    assert lines(read({WEB: again})) == [b"a", b"b", b"c", b"d"]
    again.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6), seed=st.integers(0, 10**6))
def test_a_write_that_was_cut_anywhere_is_cut_off_and_taken_again(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    """At every byte of the last record: what was before it is there, once, and what is asked for again is new."""
    directory = tmp_path_factory.mktemp("cut")
    frames = [entry(number, b"%d%s\n" % (number, b"x" * size)) for number, size in enumerate(sizes)]
    keeper = opened(directory)
    for each in frames[:-1]:
        keep(keeper, [each])
    begin = keeper.end.offset
    keep(keeper, frames[-1:])
    end = keeper.end.offset
    keeper.close()
    whole = path_of(directory, 1).read_bytes()
    introduced = begin + len(record.encode(record.Introduced(0, ONE))) if len(frames) == 1 else begin
    for cut in {begin, begin + 1, end - 1, begin + seed % (end - begin), begin + (seed // 7) % (end - begin)}:
        path_of(directory, 1).write_bytes(whole[:cut])
        again = opened(directory)
        keep(again, frames)
        told = read({WEB: again})
        again.close()
        assert lines(told) == [each[39:-1] for each in frames]
        assert marks(told) == ([] if cut in (begin, introduced) else ["torn"])


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_first_segment_that_was_cut_anywhere(tmp_path: Path, cut: int) -> None:
    """Also where the crash came before anything was whole in it."""
    keeper = opened(tmp_path)
    frames = [entry(number, b"line %d\n" % number) for number in range(3)]
    for each in frames:
        keep(keeper, [each])
    keeper.close()
    data = path_of(tmp_path, 1).read_bytes()
    path_of(tmp_path, 1).write_bytes(data[:cut])
    again = opened(tmp_path)
    keep(again, frames)
    assert lines(read({WEB: again})) == [b"line 0", b"line 1", b"line 2"]
    again.close()


@settings(max_examples=40, deadline=None)
@given(where=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_bit_that_flips_costs_what_comes_after_it_in_that_file_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, where: int, bit: int
) -> None:
    directory = tmp_path_factory.mktemp("flip")
    keeper = opened(directory, 1 << 19)
    frames = [entry(number, b"%05d%s\n" % (number, os.urandom(2000).replace(b"\n", b" "))) for number in range(60)]
    for each in frames:
        keep(keeper, [each])
    assert keeper.segments() == [1, 2]
    path = path_of(directory, 1)
    data = bytearray(path.read_bytes())
    data[where % len(data)] ^= 1 << bit
    path.write_bytes(data)
    told = read({WEB: keeper})
    keeper.close()
    expected = [each[39:-1] for each in frames]
    assert "damaged" in marks(told)
    got = lines(told)
    assert [each for each in expected if each in set(got)] == got
    assert got[-1] == expected[-1]


def test_segments_are_dropped_by_the_budget_and_compressed_when_they_are_old(tmp_path: Path) -> None:
    """The newest stays as it is; what is read is the same before and after."""
    now = [time.time()]
    keeper = opened(tmp_path, 1 << 20, lambda: now[0])
    expected = []
    for number in range(300):
        data = b"%d %s" % (number, b"x" * 1000)
        expected.append(data)
        keep(keeper, [entry(number, data + b"\n")])
    before = keeper.segments()
    assert len(before) == 3
    for number in before:
        os.utime(path_of(tmp_path, number), (now[0], now[0]))
    assert keeper.tidy() == pytest.approx(5.0, abs=0.01)
    assert not list(tmp_path.glob("*.gz"))
    now[0] += 6
    assert keeper.tidy() is None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["00000001.log.gz", "00000002.log.gz", "00000003.log"]
    assert lines(read({WEB: keeper})) == expected
    for number in range(300, 2000):
        keep(keeper, [entry(number, os.urandom(1000).hex().encode() + b"\n")])
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= (1 << 20) + (1 << 17)
    assert keeper.segments()[0] > 2
    keeper.close()


@pytest.mark.parametrize("state", ["unfinished", "both", "packed"])
def test_a_crash_while_compressing(tmp_path: Path, state: str) -> None:
    """Leaves one of them, and the same lines."""
    keeper = opened(tmp_path, 1 << 19)
    for number in range(80):
        keep(keeper, [entry(number, b"%d%s\n" % (number, b"x" * 1000))])
    expected = lines(read({WEB: keeper}))
    keeper.close()
    raw = path_of(tmp_path, 1).read_bytes()
    if state == "unfinished":
        (tmp_path / "00000001.log.gz.tmp").write_bytes(b"half")
    else:
        pack(tmp_path, 1)
        if state == "both":
            path_of(tmp_path, 1).write_bytes(raw)
    again = opened(tmp_path, 1 << 19)
    assert lines(read({WEB: again})) == expected
    assert not list(tmp_path.glob("*.tmp"))
    assert len(list(tmp_path.glob("00000001*"))) == 1
    again.close()


def test_a_compressed_one_is_what_gunzip_reads(tmp_path: Path) -> None:
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"hello\n")])
    keeper.close()
    raw = path_of(tmp_path, 1).read_bytes()
    pack(tmp_path, 1)
    assert zlib.decompress(path_of(tmp_path, 1, packed=True).read_bytes(), 31) == raw


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path) -> None:
    """/dev/full stands for it; when there is room again, it goes on."""
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"a\n")])
    full, real = os.open("/dev/full", os.O_WRONLY), os.dup(keeper._fd)
    os.dup2(full, keeper._fd)
    end = keeper.end
    with pytest.raises(OSError, match="No space"):
        keep(keeper, [entry(2, b"b\n")])
    assert keeper.end == end
    assert keeper.progress(ONE.container) is not None
    os.dup2(real, keeper._fd)
    os.close(full)
    os.close(real)
    keep(keeper, [entry(1, b"a\n"), entry(2, b"b\n")])
    assert lines(read({WEB: keeper})) == [b"a", b"b"]
    keeper.close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "victim").write_text("mine")
    path_of(tmp_path / "web", 1).symlink_to(tmp_path / "victim")
    keeper = opened(tmp_path / "web")
    keep(keeper, [entry(1, b"a\n")])
    keeper.close()
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_directory_that_somebody_removed(tmp_path: Path) -> None:
    """What was in it is gone; from the next segment on it is there again."""
    keeper = opened(tmp_path / "web", 1 << 19)
    keep(keeper, [entry(1, b"a\n")])
    shutil.rmtree(tmp_path / "web")
    for number in range(2, 6):
        keep(keeper, [entry(number, b"%d%s\n" % (number, b"x" * 50_000))])
    assert lines(read({WEB: keeper}))[-1].startswith(b"5x")
    keeper.close()


def test_a_container_that_is_gone_is_forgotten_and_many_are_bounded(tmp_path: Path) -> None:
    keeper = opened(tmp_path, 1 << 19)
    for number in range(300):
        keep(keeper, [entry(number, b"x" * 500 + b"\n")], Instance(ContainerId(f"{number:064}"), "web"))
    keeper.forget(ContainerId(f"{299:064}"))
    assert keeper.progress(ContainerId(f"{299:064}")) is None
    keep(keeper, [entry(400, b"y" * 70000 + b"\n")], ONE)
    keeper.close()
    again = Keeper(tmp_path, max_bytes=ALL)
    again.open()
    known = [number for number in range(300) if again.progress(ContainerId(f"{number:064}"))]
    assert len(known) <= 201
    assert 298 in known
    again.close()


def test_whose_end_is_not_told_is_known_over_segments_and_restarts(tmp_path: Path) -> None:
    """One that printed again after that has another end."""
    keeper = opened(tmp_path, 1 << 19)
    others = [Instance(ContainerId(f"{number:064}"), "web") for number in range(3)]
    for each in others:
        keep(keeper, [entry(1, b"a\n")], each)
    for each in others[:2]:
        keeper.mark(Mark(MarkKind.ENDED, "why", at(2), each))
    keep(keeper, [entry(3, b"b\n")], others[0])
    assert keeper.untold() == [others[0], others[2]]
    keep(keeper, [entry(4, b"x" * 70000 + b"\n")], others[2])
    keep(keeper, [entry(5, b"y" * 70000 + b"\n")], others[2])
    for _ in range(2):
        keeper.close()
        keeper = opened(tmp_path, 1 << 19)
        assert sorted(keeper.untold(), key=str) == [others[0], others[2]]
    keeper.close()


def test_marks_are_among_the_lines(tmp_path: Path) -> None:
    keeper = opened(tmp_path)
    keep(keeper, [entry(1, b"a\n")])
    keeper.mark(Mark(MarkKind.GAP, "why", at(2), ONE))
    keep(keeper, [entry(1, b"a\n"), entry(3, b"b\n")])
    told = read({WEB: keeper})
    assert [type(each).__name__ for each in told] == ["Line", "Told", "Line"]
    assert marks(told) == ["gap"]
    keeper.close()
