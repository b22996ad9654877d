"""What takes the place of a step that a machine refuses: found when a container starts, and shown with its reason."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.private_engine import PrivateEngine
from tests.house import ME, PEOPLE, House, Person
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

DEEP = """
mkdir -p data a b
mount -t tmpfs layers a
mkdir -p a/l a/u a/w a/m a/u2 a/w2
mount -t overlay -o lowerdir=a/l,upperdir=a/u,workdir=a/w one a/m
mkdir -p a/l2
mount -t overlay -o lowerdir=a/m:a/l2,upperdir=a/u2,workdir=a/w2 two data"""
"""The engine's data on as many overlays as the kernel lets lie on each other: one more it refuses."""


def ladder(house: House) -> dict[str, dict[str, str]]:
    """What `dx doctor` says of each step."""
    return {each["step"]: each for each in json.loads(house.dx(["doctor", "--json"]).stdout)["ladder"]}


def root_that_was_fresh(house: House, image: str, **how: Any) -> "subprocess.CompletedProcess[bytes]":
    """A run that leaves something behind in its root, and fails where another one has."""
    return house.run([image, "sh", "-c", "test ! -e /tmp/left && echo > /tmp/left && echo fresh"], **how)


@pytest.fixture(params=PEOPLE, ids=lambda person: person.name)
def once(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx whose containers take one run only."""
    person: Person = request.param
    with House(person, DX_FORCE="single-use") as house:
        house.define(f"[tools.box]\nimage = '{image}'\n[tools.kept]\nimage = '{image}'\nroot = 'kept'\n")
        house.start()
        yield house


def test_each_run_has_a_container_of_its_own(once: House, image: str) -> None:
    """And the ones that wait for the next are never used twice."""
    for _ in range(6):
        done = root_that_was_fresh(once, image)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"fresh\n", b"")
    runs = json.loads(once.dx(["ps", "--all", "--json"]).stdout)["runs"]
    assert len({each["container"] for each in runs}) == 6
    until(lambda: len(once.containers()) == 2, "two wait for the next runs, and no other is left")
    until(lambda: _states(once) == ["ready", "ready"], "they are ready")


def test_many_at_once(once: House, image: str) -> None:
    """None waits for a container that another one gets."""
    with ThreadPoolExecutor(12) as pool:
        runs = list(pool.map(lambda _: root_that_was_fresh(once, image), range(12)))
    assert [(each.returncode, each.stdout, each.stderr) for each in runs] == [(0, b"fresh\n", b"")] * 12
    until(lambda: len(once.containers()) == 2, "what they used is gone")


def test_a_run_whose_daemon_is_killed(once: House, image: str) -> None:
    """Goes on; the next daemon gives its container to nobody, and removes it after the run."""
    script = "test ! -e /tmp/left && echo > /tmp/left && echo begun && read line && echo $line"
    with once.popen(["run", image, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stdout.readline() == b"begun\n"
        once.stop(signal.SIGKILL)
        once.start()
        for _ in range(4):
            assert root_that_was_fresh(once, image).stdout == b"fresh\n"
        assert run.communicate(b"ended\n", 60)[0] == b"ended\n"
    assert run.returncode == 0
    until(lambda: len(once.containers()) == 2, "its container is gone, and two wait")


def test_nothing_of_dx_is_seen(once: House) -> None:
    """But where the tool has a cache a directory that is closed, and empty."""
    assert once.run(["box", "sh", "-c", "test ! -e /.dx"]).returncode == 0
    once.define(once.file.read_text().replace("[tools.box]", "[tools.box]\ncaches = ['/cache']"))
    done = once.run(["box", "sh", "-c", "touch /cache/x && stat -c %a /.dx && ls -A /.dx | wc -l"])
    assert (done.returncode, done.stdout) == (0, b"0\n0\n")


def test_a_kept_root_is_refused(once: House) -> None:
    """It would be an overlay, too."""
    done = once.run(["kept", "true"])
    assert done.returncode == 125
    assert b"a kept root needs an overlay" in done.stderr


def test_a_scratch_size_that_bounds_nothing(once: House) -> None:
    """Is said at the first run."""
    line = b"dx: the scratch_size of box bounds nothing on this machine; see: dx doctor\n"
    once.define(once.file.read_text().replace("[tools.box]", "[tools.box]\nscratch_size = '1m'"))
    said = [once.run(["box", "true"]).stderr for _ in range(2)]
    assert said == [line, b""]


def test_doctor_names_what_is_forced(once: House, image: str) -> None:
    """Each step, also before the first run."""
    assert ladder(once)["root"]["way"] == ""
    root_that_was_fresh(once, image)
    found = ladder(once)
    assert [found[step]["way"] for step in ("root", "grants", "reach", "launcher")] == [
        "single-use", "mounts", "socket", "c",
    ]  # fmt: skip
    assert "DX_FORCE" in found["root"]["reason"]
    assert "unset DX_FORCE" in found["root"]["cure"]


def test_a_rung_that_there_is_not(image: str) -> None:
    """Is named, with those that there are."""
    with House(DX_FORCE="single-use,best") as house:
        done = house.run([image, "true"])
        assert done.returncode == 125
        assert b"DX_FORCE" in done.stderr + house.dx(["daemon", "logs"]).stdout


@pytest.mark.skipif(ME.uid != 0, reason="mounts overlays")
def test_a_kernel_that_refuses_the_overlay(image: str) -> None:
    """Is found out by the agent, and runs have fresh roots all the same."""
    with PrivateEngine(DEEP, "--storage-driver", "vfs") as engine:
        engine.load(image)
        with House(DOCKER_HOST=engine.address) as house:
            house.define(f"[tools.box]\nimage = '{image}'\nnetwork = 'none'\n")
            for _ in range(4):
                done = root_that_was_fresh(house, "box")
                assert (done.returncode, done.stdout, done.stderr) == (0, b"fresh\n", b"")
            root = ladder(house)["root"]
            assert root["way"] == "single-use"
            assert "the kernel refuses an overlay" in root["reason"]
            assert "data-root" in root["cure"]


@pytest.mark.skipif(ME.uid != 0, reason="hides directories")
def test_an_engine_that_does_not_see_our_files(image: str) -> None:
    """As one in a virtual machine, which has the home directory but nothing of /run: found out at the first start."""
    with House() as house:
        hidden = f"mount -t tmpfs hidden {house.runtime}"
        with PrivateEngine(hidden) as engine:
            engine.load(image)
            house.env["DOCKER_HOST"] = engine.address
            house.define(f"[tools.box]\nimage = '{image}'\nnetwork = 'none'\n")
            place = Path(os.fsdecode(house.place()))
            for turn in range(2):
                done = house.run(["box", "sh", "-c", "cat; pwd > file"], cwd=place, input=b"passed on\n")
                assert (done.returncode, done.stdout, done.stderr) == (0, b"passed on\n", b"")
                assert (place / "file").read_text() == f"{place}\n"
                found = ladder(house)
                assert [found[step]["way"] for step in ("root", "grants", "reach", "launcher")] == [
                    "overlay", "bind", "portable", "python",
                ]  # fmt: skip
                assert "does not see the files of this machine" in found["reach"]["reason"]
                if turn == 0:
                    house.stop(signal.SIGKILL)
            house.stop()


def _states(house: House) -> list[str]:
    return sorted(each["state"] for each in json.loads(house.dx(["ps", "--json"]).stdout)["containers"])
