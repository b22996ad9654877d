"""What a run holds and what it can see: its caller's descriptors, and nothing of the agent's."""

import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.test_signals import end
from tests.contract.twin import Twin

LIST = "for each in /proc/self/fd/*; do echo ${each##*/} $(readlink $each); done"
"""The shell's own, so nothing is opened for it but the directory, which is gone when it is looked at."""


def listed(out: bytes) -> dict[int, str]:
    """Descriptors by number, and what each is."""
    lines = [line.split(None, 1) for line in out.decode().splitlines()]
    return {int(line[0]): line[1] for line in lines if len(line) == 2}


def test_the_descriptors_of_a_run(twin: Twin) -> None:
    """Its three, and of what the caller left open pipes, sockets and files; no directory, no device, none of ours."""
    place = Path(os.fsdecode(twin.house.place()))
    (place / "file").write_text("x")
    twin.house.own(place / "file")
    with ExitStack() as stack:
        pipe, other_end = os.pipe()
        opened = {
            "file": os.open(place / "file", os.O_RDONLY),
            "directory": os.open(place, os.O_RDONLY | os.O_DIRECTORY),
            "device": os.open("/dev/null", os.O_RDWR),
            "path": os.open(place / "file", os.O_PATH),
            "pipe": pipe,
            "memory": os.memfd_create("memory"),
        }
        for fd in (*opened.values(), other_end):
            stack.callback(os.close, fd)
        process = twin.dx.popen(
            ["sh", "-c", LIST],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place,
            pass_fds=tuple(opened.values()),
        )  # fmt: skip
        status, out, err = end(process)
    assert (status, err) == (0, b"")
    seen = listed(out)
    assert set(seen) == {0, 1, 2, opened["file"], opened["pipe"], opened["memory"]}, (seen, opened)
    assert seen[0] == "/dev/null"
    assert all(re.match(r"pipe:\[\d+\]$", seen[number]) for number in (1, 2, opened["pipe"]))


def test_more_descriptors_than_a_run_may_hold(twin: Twin) -> None:
    """As many as one message carries; beyond, dx says so."""
    with ExitStack() as stack:
        ends = [fd for _ in range(130) for fd in os.pipe()]
        for fd in ends:
            stack.callback(os.close, fd)
        process = twin.dx.popen(
            ["true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=twin.house.place(), pass_fds=tuple(ends)
        )
        status, _, err = end(process)
    assert status == 125
    assert b"descriptors" in err


@pytest.mark.parametrize(
    "look",
    [
        "cat /proc/1/environ",
        "cat /proc/1/maps",
        "head -c 1 /proc/1/mem",
        "cat /proc/1/auxv",
        "cat /proc/1/stack",
        "cat /proc/1/syscall",
        "cat /proc/1/io",
        "readlink /proc/1/fd/0",
        "readlink /proc/1/fd/3",
        "cat /proc/1/fd/3",
        "ls -L /proc/1/fd/3/",
        "ls /proc/1/fdinfo/",
        "ls /proc/1/map_files/",
        "ls /proc/1/cwd/",
        "ls /proc/1/root/",
        "readlink /proc/1/exe",
        "readlink /proc/1/ns/mnt",
        "cat /proc/1/task/1/environ",
        "nsenter -t 1 -m true",
        "ls /.dx",
    ],
)
def test_what_of_the_agent_is_hidden(twin: Twin, look: str) -> None:
    """Its memory, its descriptors, its root. Root may open the directory of its maps, and finds none in it."""
    outcome = twin.do(["sh", "-c", look])
    assert outcome.status not in (125, 126, 127), outcome
    assert outcome.out == b""
    assert outcome.status != 0 or look == "ls /proc/1/map_files/"


def test_what_of_the_agent_can_be_seen(twin: Twin) -> None:
    """One process, the monitor, with the figures that the kernel shows of any; no mount, no socket within reach.

    The kernel counts the daemon's end of the control link to the container's network and shows where it once listened.
    """
    script = "set -- /proc/[0-9]*; echo $#; cat /proc/1/comm; cat /proc/net/unix; cat /proc/self/mountinfo"
    out = twin.do(["sh", "-c", script]).out.decode()
    count, name, rest = out.split("\n", 2)
    assert (count, name) == ("2", "agent")  # with the shell
    met = re.compile(rf" {re.escape(str(twin.house.runtime))}/r/[0-9a-f]{{12}}/s$", re.MULTILINE)
    assert len(met.findall(rest)) == 1
    rest = met.sub("", rest)
    for word in (str(twin.house.runtime), "/.dx", "dxd.sock", "bin/agent"):
        assert word not in rest, rest
