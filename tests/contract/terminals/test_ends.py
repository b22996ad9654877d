"""The end that is not the command's own: the launcher killed, the terminal hung up, the container taken away."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.contract.terminals.terminal import FRESH, PROMPT, Terminal, scripted, shell, terminal
from tests.contract.twin import Native, Run, Twin
from tests.e2e.rig import processes
from tests.house import House, docker
from tests.waiting import until

GONE_S = 6.0
"""HUP, TERM after two seconds, KILL after five."""
READ = ["sh", "-c", "stty -echo; trap '' HUP TERM; echo ready; cat"]
"""Changes the modes, and does not go easily."""


def children(pid: int) -> list[int]:
    """The pids of a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_sane(it: Terminal) -> bool:
    """Whether the terminal's modes are those that it began with."""
    return it.modes() == FRESH


def launcher_of(it: Terminal) -> int:
    """The launcher below a script or a shell on the terminal; its guard is a child of it."""
    (pid,) = until(lambda: children(it.child.pid), "the launcher has started")
    return pid


def is_gone(house: House) -> bool:
    """No process of a run is left in any container of the house."""
    return not any(processes(each) for each in house.containers())


def left_on_host(it: Terminal) -> list[str]:
    """What still has the terminal's session."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == it.child.pid and fields[0] != "Z":
                found.append(each.name)
    return found


@contextmanager
def raw(twin: Twin, argv: list[str] = READ) -> Iterator[Terminal]:
    """A command below a script that outlives it, when the launcher has made the terminal raw."""
    with scripted(twin.dx, '"$@"; echo status $?; read it', argv) as it:
        it.see("ready\r\n")
        until(lambda: not is_sane(it), "the terminal is raw")
        yield it


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGXCPU])
def test_a_killed_launcher_leaves_a_sane_terminal(twin: Twin, number: int) -> None:
    """Its guard puts the modes back, the run is ended, the guard goes."""
    with raw(twin) as it:
        os.kill(launcher_of(it), number)
        it.see(f"status {128 + number}\r?\n")
        until(lambda: is_sane(it), "the modes are put back")
        until(lambda: is_gone(twin.house), "the run is gone", deadline_s=GONE_S)
        assert left_on_host(it) == [str(it.child.pid)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
def test_a_signal_to_the_launcher_is_the_command_s(twin: Twin, number: int) -> None:
    """It dies of it, so does the launcher, and the terminal is sane when that is seen."""
    with raw(twin, ["sh", "-c", "echo ready; exec sleep 1000"]) as it:
        os.kill(launcher_of(it), number)
        try:
            it.see(f"status {128 + number}\r\n")
        except pexpect.TIMEOUT:
            pytest.fail(what_hangs(twin, it))
        assert is_sane(it)


def what_hangs(twin: Twin, it: Terminal) -> str:
    """The state of each process of a run, and of what is on its terminal, signals included."""
    inside = [line.split()[0] for each in twin.house.containers() for line in processes(each)]
    files = [Path(f"/proc/{pid}/status") for pid in [*left_on_host(it), *inside]]
    return "\n".join(
        " ".join(
            line for line in each.read_text().splitlines() if line.startswith(("Name", "Pid", "State", "Sig", "Shd"))
        )
        for each in files
        if each.exists()
    )


def test_a_launcher_killed_below_a_shell(twin: Twin) -> None:
    """The shell has its own modes back, and they stay."""
    with shell(twin.dx, READ) as it:
        it.type('"${RUN[@]}"\r')
        it.see("ready\r\n")
        os.kill(launcher_of(it), signal.SIGKILL)
        it.see(re.escape(PROMPT))
        for _ in range(5):
            it.type("echo o''k\r")
            it.see("ok\r\n" + re.escape(PROMPT))
        it.type("stty -a >/dev/null; exit\r")
        it.child.expect("exit")


def test_a_stopped_launcher_is_killed(twin: Twin) -> None:
    """The run that was stopped with it is ended, too."""
    with shell(twin.dx, ["sh", "-c", "echo ready; cat"]) as it:
        it.type('"${RUN[@]}"\r')
        it.see("ready\r\n")
        it.type("\x1a")
        it.see("Stopped[^\r]*\r\n" + re.escape(PROMPT))
        os.kill(launcher_of(it), signal.SIGKILL)
        until(lambda: is_gone(twin.house), "the run is gone", deadline_s=GONE_S)


@pytest.mark.parametrize("argv", [READ, ["sh", "-c", "echo ready; cat"], ["sh", "-c", "echo ready; exec sleep 1000"]])
def test_the_terminal_hangs_up(twin: Twin, argv: list[str]) -> None:
    """Nothing of the run stays, and nothing on the host."""
    with terminal(twin.dx, argv) as it:
        it.see("ready\r\n")
        it.child.ptyproc.fileobj.close()
        until(lambda: not left_on_host(it), "the launcher and its guard are gone", deadline_s=GONE_S)
        until(lambda: is_gone(twin.house), "the run is gone", deadline_s=GONE_S)


def test_a_hang_up_is_told_to_the_command(twin: Twin) -> None:
    """A command that handles HUP can still clean up; after that its terminal reads as ended."""
    place = twin.house.place()
    script = "trap 'echo hung up >said; cat >>said; echo end >>said; exit' HUP; echo ready; while :; do read it; done"
    it = Terminal(twin.dx, twin.dx.line(["sh", "-c", script]), cwd=place)
    try:
        it.see("ready\r\n")
        it.child.ptyproc.fileobj.close()
        said = Path(os.fsdecode(place)) / "said"
        until(lambda: said.exists() and said.read_text() == "hung up\nend\n", "it has said so")
    finally:
        it.close()


def test_the_container_is_taken_away(image: str) -> None:
    """The terminal is sane before dx says what happened."""
    with House() as house:
        twin = Twin(Native("native", house), Run("run", house, image))
        with raw(twin) as it:
            docker("kill", *house.containers())
            shown = it.see("status 125\r\n")
            assert b"\r\ndx: the container of this run was stopped" in b"\r\n" + shown
            assert is_sane(it)


def test_a_daemon_that_is_killed_is_not_missed(image: str) -> None:
    """Keys and output pass as before: nobody is in between."""
    with House() as house:
        twin = Twin(Native("native", house), Run("run", house, image))
        with terminal(twin.dx, ["sh", "-c", "echo ready; cat"]) as it:
            it.see("ready\r\n")
            house.stop(signal.SIGKILL)
            it.type("still\r")
            it.see("still\r\nstill\r\n")
            it.type("\x04")
            assert it.end().status == 0


def test_no_descriptor_of_the_terminal_is_left_in_the_run(twin: Twin) -> None:
    """0 to 2, and nothing else."""
    with terminal(twin.dx, ["sh", "-c", "ls /proc/self/fd"]) as it:
        assert it.end().shown.split() == [b"0", b"1", b"2", b"3"], "the last is the listing's own"


def test_output_that_nobody_reads_in_time_is_not_lost(twin: Twin) -> None:
    """The run ends with much of it on the way; all of it arrives."""
    with terminal(twin.dx, ["sh", "-c", "seq 3000; exit 3"]) as it:
        until(lambda: is_gone(twin.house), "the run has ended")
        seen = it.end()
    assert seen.status == 3
    assert seen.shown.split() == [str(each).encode() for each in range(1, 3001)]


def test_a_flood_and_ctrl_c(twin: Twin) -> None:
    """A command that writes without end is interrupted at once."""
    with terminal(twin.dx, ["yes"]) as it:
        it.see("y\r\ny\r\n")
        it.type("\x03")
        assert it.end().signal == signal.SIGINT
