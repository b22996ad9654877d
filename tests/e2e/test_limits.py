"""Bounds that a run meets, and that dx says which it was."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Held
from tests.house import DEADLINE_S, PEOPLE, House, Person

TOOLS = """
[tools.small]
image = "{image}"
memory = "32m"

[tools.bounded]
image = "{image}"
ulimits = {{ nofile = "20:30", core = 4096, fsize = 4096 }}

[daemon]
scratch_bytes = "8m"
"""
EAT = "dd if=/dev/zero of=/dev/null bs=200M count=1"
LINE = b"dx: killed: out of memory (limit 32m); raise the tool's memory\n"


@pytest.fixture(scope="module", params=PEOPLE, ids=lambda person: person.name)
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx of each person, with bounds that are soon met."""
    person: Person = request.param
    with House(person) as made:
        made.define(TOOLS.format(image=image))
        yield made


def test_a_run_that_is_killed_for_want_of_memory(house: House) -> None:
    """It dies of KILL, its shell of 137; dx says why, as the last line; the runs beside it go on."""
    with Held(house, "small", status=7) as other:
        other.begun()
        done = house.run(["small", "sh", "-c", f"exec {EAT}"])
        assert (done.returncode, done.stderr) == (-9, LINE)
        done = house.run(["small", "sh", "-c", f"{EAT}; exit $?"])
        assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (137, LINE)
        assert other.go().returncode == 7
    done = house.run(["small", "sh", "-c", f"{EAT}; exit 3"])
    assert done.returncode == 3
    assert done.stderr.endswith(LINE.replace(b"killed", b"something in the tool's container was killed"))


def test_nothing_is_said_of_memory_where_there_was_enough(house: House) -> None:
    """Of a run that was killed for another reason, that failed, or that lived through a kill."""
    for script, status in (("kill -9 $$", -9), ("exit 137", 137), ("exit 1", 1), (f"{EAT}; exit 0", 0)):
        done = house.run(["small", "sh", "-c", script])
        assert done.returncode == status
        assert b"dx:" not in done.stderr, done


def test_the_agent_is_the_last_to_be_killed(house: House) -> None:
    """A run's score is above that of what it hangs on."""
    done = house.run(["small", "cat", "/proc/1/oom_score_adj", "/proc/self/oom_score_adj"])
    monitor, own = map(int, done.stdout.split())
    assert monitor < own


@pytest.mark.parametrize(("filling", "why"), [
    ("dd if=/dev/zero of=/tmp/x bs=1M count=20", b"(8m)"),
    ("i=0; while echo > /tmp/$i; do i=$((i + 1)); done", b"(8m"),
])  # fmt: skip
def test_a_scratch_layer_that_is_full(house: House, image: str, filling: str, why: bytes) -> None:
    """ENOSPC to the tool, and a line that says whose; the next run has room again."""
    done = house.run([image, "sh", "-c", f"{filling}; false"])
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(b"dx: the run's scratch layer is full " + why)
    assert b"scratch_size" in last
    done = house.run([image, "sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=7 2>/dev/null; false"])
    assert (done.returncode, done.stderr) == (1, b"")


def test_python_says_it_too(house: House) -> None:
    """As a launcher on stderr, as a library in the process."""
    line = [*house.python, "run", "small", "sh", "-c", f"exec {EAT}"]
    done = subprocess.run(line, capture_output=True, timeout=DEADLINE_S, **house.options({}))
    assert (done.returncode, done.stderr) == (-9, LINE)
    program = """
import os, sys
from dx import Client
process = Client().popen(["small", "sh", "-c", sys.argv[1]])
print(process.wait(), process.notes)
"""
    line = [*house.python[:-2], "-c", program, f"exec {EAT}"]
    done = subprocess.run(line, capture_output=True, timeout=DEADLINE_S, **house.options({}))
    assert done.stdout.decode() == f"-9 [{LINE.decode().removeprefix('dx: ').rstrip()!r}]\n", done


def test_no_run_leaves_a_core(house: House, image: str) -> None:
    """Whatever the caller's limit is; where cores go is the machine's business, and it knows nothing of the program."""
    place = Path(house.place().decode())
    done = subprocess.run(
        ["sh", "-c", 'ulimit -c unlimited 2>/dev/null; exec "$@"', "sh", str(house.bin / "dx"), "run", image,
         "sh", "-c", "ulimit -Sc; ulimit -Hc; kill -SEGV $$"],
        capture_output=True, **house.options({"cwd": place}),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (-11, b"0\n0\n")
    assert list(place.iterdir()) == []


def test_the_ulimits_of_a_tool(house: House) -> None:
    """In place of the caller's, for the run and not for the agent beside it; a core where it is asked for."""
    options = house.options({"cwd": house.place()})
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 500; exec "$@"', "sh", str(house.bin / "dx"), "run", "bounded",
         "sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -f; dd if=/dev/zero of=/tmp/x bs=1k count=9"],
        capture_output=True, **options,
    )  # fmt: skip
    assert done.stdout == b"20\n30\n8\n8\n"
    assert done.returncode == -signal.SIGXFSZ
    done = house.run(["bounded", "sh", "-c", "exec 25< /dev/null"])
    assert done.returncode != 0
