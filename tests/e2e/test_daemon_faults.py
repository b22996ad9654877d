"""The daemon is killed, or missing: runs go on, and one daemon comes back however many ask for it."""

import os
import random
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.agent.link import Agent, stdio
from tests.e2e.rig import Held, ask, kill_daemon, live, processes, warm
from tests.house import DEADLINE_S, House
from tests.waiting import until


def test_a_hundred_runs_outlive_their_daemon(house: House, image: str) -> None:
    """SIGKILL while they run: each ends with its own status, and the daemon that comes next knows them all."""
    with ExitStack() as stack:
        runs = [stack.enter_context(Held(house, image, status)) for status in range(100)]
        for run in runs:
            run.begun()
        known = {run["id"] for run in until(lambda: _running(house, 100), "all runs are known to run")}
        before = house.daemon
        kill_daemon(house)

        ended = {status: runs[status].go().returncode for status in range(0, 100, 2)}
        assert ended == {status: status for status in range(0, 100, 2)}

        assert house.run([image, "true"]).returncode == 0, "the next run starts a daemon"
        assert house.daemon not in (None, before)
        going = until(lambda: _running(house, 50), "the new daemon knows the runs that still go on")
        assert {run["id"] for run in going} < known
        assert len(house.containers()) == 1, "the container was adopted, not made anew"

        ended = {status: runs[status].go().returncode for status in range(1, 100, 2)}
        assert ended == {status: status for status in range(1, 100, 2)}
        until(lambda: not live(house), "the new daemon sees them end")
        assert processes(house.containers()[0]) == []


def _running(house: House, count: int) -> list[dict[str, object]]:
    runs = [run for run in live(house) if run["state"] == "running"]
    return runs if len(runs) == count else []


def test_launchers_do_not_notice_that_the_daemon_is_killed(house: House, image: str) -> None:
    """A hundred, eight at a time, while the daemon is killed again and again: each ends with its own status."""
    assert house.run([image, "true"]).returncode == 0

    def run(status: int) -> tuple[int, int, bytes]:
        if status % 20 == 10:
            kill_daemon(house)
        done = house.run([image, "sh", "-c", f"exit {status}"])
        return status, done.returncode, done.stderr

    with ThreadPoolExecutor(8) as pool:
        wrong = [each for each in pool.map(run, range(100)) if each[0] != each[1]]
    assert not wrong
    assert len(house.containers()) == 1


def test_a_lease_is_good_though_its_daemon_died_and_another_came_before_the_agent_has_looked(
    house: House, image: str
) -> None:
    """Its launcher was told of it."""
    agent = Agent(house, image)
    os.kill(agent.pid, signal.SIGSTOP)
    start = agent.lease("sh", "-c", "exit 7")
    with socket.socket(socket.AF_UNIX) as other, stdio() as fds:
        other.connect(str(agent.socket.with_suffix(".ctl")))
        kill_daemon(house)
        os.kill(agent.pid, signal.SIGCONT)
        reply = agent.start(start, fds)
    assert os.waitstatus_to_exitcode(reply.status or 0) == 7, reply


def test_a_hundred_launchers_start_one_daemon(house: House, image: str) -> None:
    """At once, with none there: all succeed, and one daemon has served them all."""
    assert house.daemon is None
    with ExitStack() as stack:
        launchers = [
            stack.enter_context(house.popen(["run", image, "sh", "-c", f"exit {status}"], stderr=subprocess.PIPE))
            for status in range(100)
        ]
        ended = {}
        for status, launcher in enumerate(launchers):
            _, said = launcher.communicate(timeout=DEADLINE_S)
            ended[status] = (launcher.returncode, said)
    assert ended == {status: (status, b"") for status in range(100)}
    assert house.log.count('"event": "ready"') == 1
    until(lambda: len(ask(house, "/v1/runs?state=finished")["runs"]) == 100, "it was the daemon of all of them")
    assert len(house.containers()) == 1


def test_a_killed_launcher_leaves_nothing(house: House, image: str) -> None:
    """SIGKILL at random moments, before the run and in it: within six seconds no process of any run is left."""
    assert house.run([image, "true"]).returncode == 0
    container = house.containers()[0]
    chance = random.Random(2)
    launchers = []
    for _ in range(50):
        script = "trap '' HUP TERM; sleep 1000 & while :; do sleep 1000; done"
        launcher = house.popen(["run", image, "sh", "-c", script], stderr=subprocess.DEVNULL)
        launchers.append(launcher)
        try:
            launcher.wait(chance.choice((0, 0.0005, 0.001, 0.002, 0.004, 0.01)))
        except subprocess.TimeoutExpired:
            launcher.send_signal(signal.SIGKILL)
    assert {launcher.wait(DEADLINE_S) for launcher in launchers} == {-signal.SIGKILL}
    until(lambda: not processes(container), "nothing is left in the container", deadline_s=6)
    until(lambda: not [run for run in live(house) if run["state"] == "running"], "the daemon saw them end")
    assert [each["id"] for each in warm(house)] == [container]
    assert house.run([image, "true"]).returncode == 0
