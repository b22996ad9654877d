"""Hundreds of ends at random moments, of a launcher or of its terminal: nothing is left, and terminals are sane."""

import os
import random
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.terminals.terminal import Terminal
from tests.contract.terminals.test_ends import GONE_S, children, is_gone, is_sane, left_on_host
from tests.contract.twin import Python, Run, Side
from tests.e2e.rig import init_of
from tests.house import ME, House
from tests.waiting import until

AT_ONCE = 20
HANG_UP = 0
ENDS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, HANG_UP]
SCRIPTS = [
    "echo ready; exec cat",
    "stty raw -echo; echo ready; exec cat",
    "trap '' HUP TERM INT; echo ready; cat; sleep 1000",
    "setsid sleep 1000 & sleep 1000 & exec yes",
]


@dataclass(frozen=True)
class Door:
    """A way into dx."""

    side: type[Run | Python]
    rounds: int
    latest_ms: float
    """Of the moments: from the start to well after a run has begun."""
    rung: str = ""


DOORS = {
    "run": Door(Run, 10, 40),
    "python": Door(Python, 4, 150),
    "portable": Door(Run, 2, 300, "portable"),
}


def mounts_and_sockets(container: str) -> tuple[int, int]:
    """Of the agent: how many mounts it sees and descriptors it has."""
    pid = init_of(container)
    return len(Path(f"/proc/{pid}/mounts").read_text().splitlines()), len(os.listdir(f"/proc/{pid}/fd"))


def end(it: Terminal, how: int) -> None:
    """The launcher is a child of the script that the terminal was made for."""
    if how == HANG_UP:
        it.child.ptyproc.fileobj.close()
        return
    for pid in until(lambda: children(it.child.pid), "the script has begun the launcher"):
        with suppress(ProcessLookupError):
            os.kill(pid, how)


def check(it: Terminal, how: int, what: str) -> None:
    """Nobody is left but the script, and that only on a terminal that is there; the terminal is sane."""
    left = [] if how == HANG_UP else [str(it.child.pid)]
    until(lambda: left_on_host(it) == left, f"the launcher and its guard are gone {what}", deadline_s=GONE_S)
    if left:
        until(lambda: is_sane(it), f"the terminal is sane {what}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_ends_at_random(image: str, door: Door) -> None:
    """KILL, TERM and HUP to the launcher, and hang-ups, from before the run begins to after."""
    dice = random.Random(3)
    with House(ME, **({"DX_FORCE": door.rung} if door.rung else {})) as house:
        side: Side = door.side("side", house, image)
        place = house.place()  # one for all, since an engine out of reach has a container for each
        assert house.run([image, "true"], cwd=place).returncode == 0
        (container,) = house.containers()
        before = mounts_and_sockets(container)
        for number in range(door.rounds):
            batch = []
            for _ in range(AT_ONCE):
                how, script = dice.choice(ENDS), dice.choice(SCRIPTS)
                if "trap ''" in script and how in (signal.SIGTERM, signal.SIGHUP):
                    how = signal.SIGKILL  # natively, too, it would stay
                line = ["/bin/bash", "-c", '"$@"; read it', "bash", *side.line(["sh", "-c", script])]
                it = Terminal(side, line, cwd=place)
                select.select([], [], [], dice.uniform(0.0, door.latest_ms) / 1000)
                end(it, how)
                batch.append((it, how, script))
            try:
                for it, how, script in batch:
                    check(it, how, f"after {how} of {script!r} in round {number}")
                until(lambda: is_gone(house), f"no process of a run is left in round {number}", deadline_s=GONE_S)
            finally:
                for it, _, _ in batch:
                    it.close()
        until(lambda: mounts_and_sockets(container) == before, "no mount and no descriptor is left")
        assert house.containers() == [container]
        assert house.run([image, "echo", "well"], cwd=place).stdout == b"well\n"
