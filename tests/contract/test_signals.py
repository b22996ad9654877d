"""Signals to the launcher, its death, and what becomes of the run's processes."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pytest

from tests.contract.twin import Side, Twin
from tests.house import DEADLINE_S

ENDING = [
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
]  # fmt: skip
FORWARDED = [*ENDING, signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH]
GRACE_S = 6.0
"""HUP at once, TERM after two seconds, KILL after five; then nothing is left."""


def line(stream: IO[bytes] | None) -> bytes:
    """The next line, within the deadline; of a stream without a buffer."""
    assert stream is not None
    assert select.select([stream], [], [], DEADLINE_S)[0], "nothing came"
    return stream.readline()


@contextmanager
def begun(side: Side, script: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A shell of the image that has said `ready`; at the end nothing of it is left on the host."""
    with side.popen(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=side.house.place(),
        bufsize=0,
        start_new_session=True,
    ) as process:
        try:
            assert line(process.stdout) == b"ready\n"
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end(process: "subprocess.Popen[bytes]") -> tuple[int, bytes, bytes]:
    """Its status and what it still wrote."""
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


@pytest.mark.parametrize("number", FORWARDED, ids=lambda number: signal.Signals(number).name)
def test_a_trap_sees_the_signal(twin: Twin, number: int) -> None:
    """A command that handles a signal is sent it, and goes on."""
    script = f"trap 'echo caught; kill -9 $!; exit 7' {number}; sleep 1000 & echo ready; wait"
    for side in (twin.native, twin.dx):
        with begun(side, script) as process:
            process.send_signal(number)
            assert end(process) == (7, b"caught\n", b"")


@pytest.mark.parametrize("number", ENDING, ids=lambda number: signal.Signals(number).name)
def test_a_signal_that_is_not_handled_ends_both(twin: Twin, number: int) -> None:
    """The run dies of it, and the launcher by the same. Of a shell they would not: it ignores SIGQUIT."""
    for side in (twin.native, twin.dx):
        with side.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdin is not None
            process.stdin.write(b"ready\n")
            assert line(process.stdout) == b"ready\n"
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == -number


def test_many_signals_in_their_turn(twin: Twin) -> None:
    """Each that is sent after the last was seen arrives."""
    script = 'trap "echo one" USR1; trap "echo two" USR2; sleep 1000 & echo ready; while :; do wait $!; done'
    for side in (twin.native, twin.dx):
        with begun(side, script) as process:
            for _ in range(20):
                process.send_signal(signal.SIGUSR1)
                assert line(process.stdout) == b"one\n"
                process.send_signal(signal.SIGUSR2)
                assert line(process.stdout) == b"two\n"
            process.terminate()
            assert process.wait(DEADLINE_S) == -signal.SIGTERM


def test_a_run_that_stops_stops_its_launcher(twin: Twin) -> None:
    """A shell sees the job stop, and continues it."""
    for side in (twin.native, twin.dx):
        with begun(side, "echo ready; kill -STOP $$; echo again; exit 5") as process:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            process.send_signal(signal.SIGCONT)
            assert end(process) == (5, b"again\n", b"")


def test_a_terminal_stop_that_is_not_handled(twin: Twin) -> None:
    """TSTP stops whoever leaves it to its default; natively only in a group that a shell could continue."""
    for side in (twin.native, twin.dx):
        with side.popen(
            ["sh", "-c", "echo ready; exec sleep 1000"],
            stdout=subprocess.PIPE,
            cwd=side.house.place(),
            bufsize=0,
            process_group=0,
        ) as process:
            try:
                assert line(process.stdout) == b"ready\n"
                process.send_signal(signal.SIGTSTP)
                _, status = os.waitpid(process.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
            finally:
                process.kill()


def test_a_signal_before_the_run_began(twin: Twin) -> None:
    """Whenever it comes, the command ends by it."""
    for _ in range(20):
        with twin.dx.popen(["sleep", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.terminate()
            assert end(process)[0] == -signal.SIGTERM


def test_background_processes_end_with_the_command(twin: Twin) -> None:
    """What a command leaves behind is killed, also in a session of its own; nobody waits for the pipe it holds."""
    script = "sleep 1000 & setsid sleep 1000 & (trap '' HUP TERM INT; sleep 1000) & echo ready; exit 4"
    with begun(twin.dx, script) as process:
        assert end(process) == (4, b"", b"")


def test_orphans_are_reaped(twin: Twin) -> None:
    """No zombie stays while a run goes on."""
    script = (
        "i=0; while [ $i -lt 200 ]; do (true & exec true); i=$((i+1)); done;"
        "while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do :; done; echo clean"
    )
    assert twin.do(["sh", "-c", script]).out == b"clean\n"


@pytest.mark.parametrize(
    ("script", "within_s"),
    [
        ("echo ready; exec sleep 1000", 1.9),
        ("sleep 1000 & setsid sleep 1000 & echo ready; wait", 1.9),
        ("trap 'echo hung up; exit' HUP; sleep 1000 & echo ready; wait", 1.9),
        ("trap '' HUP; trap 'exit' TERM; sleep 1000 & echo ready; wait", 4.9),
        ("trap '' HUP TERM; sleep 1000 & setsid sleep 1000 & echo ready; wait; wait", GRACE_S),
    ],
    ids=["a process", "children", "one that handles HUP", "one that ignores HUP", "one that ignores HUP and TERM"],
)
def test_a_killed_launcher_takes_the_run_with_it(twin: Twin, script: str, within_s: float) -> None:
    """The pipe's end comes when the last process of the run that could write to it is gone."""
    with begun(twin.dx, script) as process:
        assert process.stdout is not None
        process.kill()
        began = time.monotonic()
        while select.select([process.stdout], [], [], GRACE_S + 2)[0] and os.read(process.stdout.fileno(), 4096):
            pass
        took = time.monotonic() - began
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
    assert took < within_s


def test_a_terminated_launcher_waits_for_the_clean_up(twin: Twin) -> None:
    """TERM goes to the command, which may take its time; the launcher ends with its status."""
    script = 'trap "usleep 200000; echo cleaned; exit 9" TERM; sleep 1000 & echo ready; wait'
    with begun(twin.dx, script) as process:
        process.terminate()
        assert end(process) == (9, b"cleaned\n", b"")
