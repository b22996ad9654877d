"""The log of a build, as a file that stays small."""

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dxd.store.logfile import MAX_LINE_BYTES, LogFile, chunks


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "builds" / "7.log"


def content(path: Path) -> str:
    return b"".join(chunks(path)).decode()


def test_lines_are_in_the_file_in_order(worker: ThreadPoolExecutor, path: Path) -> None:
    """One call may have several."""
    file = LogFile(path, worker.submit)
    file.tell("one")
    file.tell("two\nthree\n")
    file.tell("")
    file.close().result(20)
    assert content(path) == "one\ntwo\nthree\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_there_from_the_beginning_and_grows_with_the_build(worker: ThreadPoolExecutor, path: Path) -> None:
    """Somebody may look while it goes on."""
    file = LogFile(path, worker.submit)
    worker.submit(lambda: None).result(20)
    assert content(path) == ""
    file.tell("one")
    worker.submit(lambda: None).result(20)
    assert content(path) == "one\n"
    file.close().result(20)


def test_of_a_long_one_the_head_and_the_tail_stay(worker: ThreadPoolExecutor, path: Path) -> None:
    """With a line between them that says how much is missing."""
    file = LogFile(path, worker.submit, max_bytes=200)
    for number in range(100):
        file.tell(f"line {number:04}")
    assert file.tail().endswith(b"line 0099\n")
    file.close().result(20)
    lines = content(path).splitlines()
    assert lines[0:10] == [f"line {number:04}" for number in range(10)]
    assert lines[10] == "... 800 bytes are left out here ..."
    assert lines[11:] == [f"line {number:04}" for number in range(90, 100)]


def test_what_just_fits_is_whole(worker: ThreadPoolExecutor, path: Path) -> None:
    """The tail is put behind the head without a mark."""
    file = LogFile(path, worker.submit, max_bytes=200)
    for number in range(20):
        file.tell(f"line {number:04}")
    file.close().result(20)
    assert content(path).splitlines() == [f"line {number:04}" for number in range(20)]


def test_a_line_without_an_end_is_cut(worker: ThreadPoolExecutor, path: Path) -> None:
    """And what is no text is told all the same."""
    file = LogFile(path, worker.submit)
    file.tell("x" * 1_000_000)
    file.tell("half \udcff")
    file.close().result(20)
    assert content(path) == "x" * MAX_LINE_BYTES + "\nhalf \\udcff\n"


def test_a_disk_that_takes_nothing_costs_the_log_only(worker: ThreadPoolExecutor, path: Path) -> None:
    """/dev/full stands for it; neither telling nor closing raises."""
    path.parent.mkdir()
    full = os.open("/dev/full", os.O_WRONLY)
    file = LogFile(path, worker.submit)
    worker.submit(lambda: None).result(20)
    assert file._fd is not None
    os.dup2(full, file._fd)
    file.tell("one")
    file.tell("two")
    file.close().result(20)
    os.close(full)
    assert not path.exists(), "an empty log would say that the build said nothing"


def test_no_link_is_followed(worker: ThreadPoolExecutor, path: Path, tmp_path: Path) -> None:
    """Where somebody put one, there is no log."""
    path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.symlink_to(victim)
    file = LogFile(path, worker.submit)
    file.tell("one")
    file.close().result(20)
    assert victim.read_text() == "mine"


def test_lines_that_come_while_the_disk_is_slow_are_written_at_once(path: Path) -> None:
    """One job takes all that waits."""
    jobs: list[Callable[[], object]] = []

    def later(job: Callable[[], object]) -> "Future[Any]":
        jobs.append(job)
        return Future()

    file = LogFile(path, later)
    for number in range(100):
        file.tell(str(number))
    assert len(jobs) == 2
    for each in jobs:
        each()
    assert content(path) == "".join(f"{number}\n" for number in range(100))
    file.close()
    jobs[-1]()
