"""A warm container dies, hangs, is replaced or is in the way: runs are told in one line, and the next one works."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from dx import protocol
from tests.e2e.rig import Held, ask, init_of, live, one_line, processes, warm
from tests.house import DEADLINE_S, House, docker
from tests.waiting import until


def stop_init(container: str) -> None:
    """Stop the agent and nothing else."""
    os.kill(init_of(container), signal.SIGSTOP)


def kill_init(container: str) -> None:
    """Kill the agent, and so all that is in the container."""
    os.kill(init_of(container), signal.SIGKILL)


def pause(container: str) -> None:
    """Freeze everything in it."""
    docker("pause", container)


def remove(container: str) -> None:
    """As someone does by hand."""
    docker("rm", "--force", container)


@pytest.mark.parametrize("hang", [stop_init, pause])
def test_a_hung_agent(house: House, image: str, hang: Callable[[str], None]) -> None:
    """Each of many runs that come then gets a fresh container, the same one; the old one is removed."""
    assert house.run([image, "true"]).returncode == 0
    (old,) = house.containers()
    hang(old)
    begun = time.monotonic()
    doors = [str(house.bin / "dx")], house.python  # the launcher, and Python in its place
    runs = [
        subprocess.Popen([*doors[status % 2], "run", image, "sh", "-c", f"exit {status}"], **house.options({}))
        for status in range(10)
    ]
    assert [run.wait(30) for run in runs] == list(range(10))
    assert time.monotonic() - begun < 12
    until(lambda: old not in house.containers(), "the hung container is removed")
    assert len(house.containers()) == 1
    assert len(list(house.runtime.glob("a/*.sock"))) == 1, "its socket is removed too"


@pytest.mark.parametrize("end", [kill_init, remove])
def test_a_container_that_ends_under_its_runs(house: House, image: str, end: Callable[[str], None]) -> None:
    """They fail with one line and 125; the daemon counts them lost; the next run is in a new container."""
    with Held(house, image) as one, Held(house, image) as other:
        one.begun()
        other.begun()
        ids = {run["id"] for run in until(lambda: two_running(house), "both runs are known")}
        (old,) = house.containers()
        end(old)
        for held in (one, other):
            assert held.process.wait(20) == 125
            out, err = held.process.communicate()
            assert out == b""
            assert err.decode().startswith("dx: the container of this run was stopped")
            assert err.count(b"\n") == 1
    assert house.run([image, "sh", "-c", "exit 4"]).returncode == 4
    until(lambda: {ask(house, f"/v1/runs/{each}")["state"] for each in ids} == {"lost"}, "both are lost")
    until(lambda: len(house.containers()) == 1, "the old container is gone")
    assert house.containers() != [old]


def two_running(house: House) -> list[dict[str, object]]:
    runs = [run for run in live(house) if run["state"] == "running"]
    return runs if len(runs) == 2 else []


@pytest.fixture
def tag(image: str) -> Iterator[str]:
    """A tag of a test's own for the image."""
    name = f"dx-test-moves-{os.getpid()}:latest"
    docker("tag", image, name)
    yield name
    docker("rmi", "--force", name)


def retag(tag: str, mark: str) -> None:
    """Build another image and give it the tag."""
    docker("build", "--quiet", "--tag", tag, "-", stdin=f"FROM {tag}\nENV MARK={mark}\n".encode())


def test_a_tag_that_moves(house: House, tag: str) -> None:
    """New runs use the new image at once; a run in the old one goes on, and then its container goes."""

    def mark() -> bytes:
        return house.run([tag, "sh", "-c", "echo $MARK"]).stdout

    assert mark() == b"\n"
    (old,) = house.containers()
    with Held(house, tag, 5) as held:
        held.begun()
        retag(tag, "second")
        until(lambda: mark() == b"second\n", "a new run is in the new image", deadline_s=3)
        assert old in house.containers()
        assert {each["state"] for each in warm(house) if each["id"] == old} == {"draining"}
        assert held.go().returncode == 5
    until(lambda: old not in house.containers(), "the old container is removed")
    retag(tag, "third")
    until(lambda: mark() == b"third\n", "the tag may move again", deadline_s=3)
    until(lambda: len(house.containers()) == 1, "an idle container is removed at once")


def test_idle_containers_go(house: House, image: str) -> None:
    """After `idle_s` without a run, and not while there is one."""
    house.define("[daemon]\nidle_s = 0.5\n")
    with Held(house, image, 6) as held:
        held.begun()
        end = time.monotonic() + 1.5
        until(lambda: time.monotonic() > end, "three times idle_s are over")
        assert len(house.containers()) == 1
        assert held.go().returncode == 6
    until(lambda: not house.containers(), "it is removed")
    assert not list(house.runtime.glob("a/*"))
    assert house.run([image, "sh", "-c", "exit 7"]).returncode == 7


TOOL = """
[tools.{name}]
image = "{image}"
network = "none"
pids = {pids}
"""


def test_the_one_unused_for_longest_makes_room(house: House, image: str) -> None:
    """`max_warm` holds; what runs is not removed for it."""
    names = ("a", "b", "c")
    tools = "".join(TOOL.format(name=name, image=image, pids=100 + at) for at, name in enumerate(names))
    house.define(tools + "[daemon]\nmax_warm = 2\n")
    used = {}
    for name in ("a", "b"):
        assert house.run([name, "true"]).returncode == 0
        used[name] = next(each["id"] for each in warm(house) if each["tools"] == [name])
    assert house.run(["a", "true"]).returncode == 0
    assert house.run(["c", "true"]).returncode == 0
    until(lambda: len(house.containers()) == 2, "the third takes the place of one")
    assert used["b"] not in house.containers()
    assert used["a"] in house.containers()
    with Held(house, "a") as held:
        held.begun()
        for name in ("b", "c", "b"):
            assert house.run([name, "true"]).returncode == 0
        assert used["a"] in house.containers()
        assert held.go().returncode == 0


@pytest.mark.parametrize("door", ["launcher", "python"])
def test_a_refusal_that_comes_before_the_run_is_asked_for_is_heard(house: House, image: str, door: str) -> None:
    """As of an agent that can start no monitor: it closes the connection without reading."""
    assert house.run([image, "true"]).returncode == 0
    path = next(house.runtime.glob("a/*.sock"))
    path.unlink()
    refusal = protocol.frame(protocol.FAILED, protocol.U32.pack(125) + b"no more today")

    def refuse(agent: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with agent.accept()[0] as launcher:
                    launcher.sendall(refusal)

    line = [str(house.bin / "dx")] if door == "launcher" else house.python
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen(64)
        refusing = threading.Thread(target=refuse, args=[agent])
        refusing.start()
        try:
            for _ in range(20):
                done = subprocess.run(
                    [*line, "run", image, "true"], capture_output=True, timeout=DEADLINE_S, **house.options({})
                )
                assert (done.returncode, done.stderr) == (125, b"dx: no more today\n")
        finally:
            agent.shutdown(socket.SHUT_RDWR)
            refusing.join()


def test_a_run_that_takes_the_process_limit(house: House, image: str) -> None:
    """Another run in its container is told of the limit in one line; nothing else of it is left."""
    house.define(TOOL.format(name="few", image=image, pids=8))
    with Held(house, "few") as held:
        held.begun()
        script = "sleep 1000 & sleep 1000 & sleep 1000 & wait"  # with both shells, their monitors and the agent: 8
        full = house.popen(["run", "few", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert full.stdout is not None
        container = house.containers()[0]
        until(lambda: len(processes(container)) >= 7, "the limit is reached")
        one_line(house.run(["few", "true"]), "process limit", "pids")
        full.kill()
        full.communicate(timeout=20)
        assert held.go().returncode == 0
    until(lambda: not processes(container), "nothing is left")
    assert house.run(["few", "true"]).returncode == 0
