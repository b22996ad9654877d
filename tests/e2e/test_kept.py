"""Roots that stay, and scratch layers on disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Held, one_line
from tests.house import PEOPLE, House, Person, docker, volumes_of
from tests.waiting import until

TOOLS = """
[tools.keeper]
image = "{image}"
user = "root"
root = "kept"

[tools.mine]
image = "{image}"
root = "kept"
caches = ["/var/cache/mine"]

[tools.roomy]
image = "{image}"
scratch = "disk"

[tools.tight]
image = "{image}"
scratch_size = "2m"
"""


@pytest.fixture(params=PEOPLE, ids=lambda person: person.name)
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx with tools whose roots differ, for each person."""
    person: Person = request.param
    with House(person) as made:
        made.define(TOOLS.format(image=image))
        yield made


def shell(house: House, tool: str, script: str, *options: str) -> str:
    """What a script in the tool prints; it has to succeed without a complaint."""
    done = house.run([*options, tool, "sh", "-ec", script], cwd=house.place())
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def test_a_kept_root_stays(house: House) -> None:
    """What is made, changed and removed; through the end of its container, and not for another tool."""
    shell(
        house,
        "keeper",
        "echo x > /etc/kept; rm /bin/ls; mkdir -p /opt/a/b; chown 5 /opt/a; echo y > /tmp/t; echo z > ~/h",
    )
    look = "cat /etc/kept /tmp/t ~/h; stat -c %u /opt/a; test ! -e /bin/ls"
    assert shell(house, "keeper", look) == "x\ny\nz\n5\n"
    assert house.dx(["stop", "keeper"]).returncode == 0
    assert shell(house, "keeper", look) == "x\ny\nz\n5\n"
    assert "No such file" in house.run(["mine", "cat", "/etc/kept"]).stderr.decode()
    assert shell(house, "mine", "echo mine > ~/f; echo c > /var/cache/mine/f; ls / | grep -c dx || true") == "0\n"
    assert shell(house, "mine", "cat ~/f /var/cache/mine/f") == "mine\nc\n"


def test_runs_share_a_kept_root_and_nothing_else(house: House, image: str) -> None:
    """At the same time, as on one machine: files at once, but no processes, shared memory or grants."""
    with Held(house, "keeper") as other:
        other.begun()
        shell(house, "keeper", "echo x > /etc/new; echo y > /dev/shm/new; set -- /proc/[0-9]*; test $# = 2")
        assert shell(house, "keeper", "cat /etc/new; ls /dev/shm") == "x\n"
        assert other.go().returncode == 0
    before = house.place()
    assert house.run(["keeper", "sh", "-c", "echo mine > f"], cwd=before).returncode == 0
    assert Path(os.fsdecode(before), "f").read_text() == "mine\n"
    assert shell(house, "keeper", f"ls -A {os.fsdecode(before)}") == ""


def test_reset_begins_anew(house: House) -> None:
    """Unless a run uses it; caches stay."""
    shell(house, "mine", "echo x > ~/f; echo c > /var/cache/mine/f")
    with Held(house, "mine") as other:
        other.begun()
        assert "in use by a run" in one_line(house.dx(["reset", "mine"]), "dx stop mine")
        assert other.go().returncode == 0
    until(lambda: house.dx(["reset", "mine"]).stdout == b"mine begins anew\n", "the run is seen to have ended")
    assert shell(house, "mine", "ls -A ~; cat /var/cache/mine/f") == "c\n"
    assert house.dx(["reset", "roomy"]).stdout == b"roomy has nothing kept\n"


def test_one_container_at_a_time_has_a_kept_root(house: House) -> None:
    """Runs with other options need another container: an idle one makes way, one with runs does not."""
    shell(house, "keeper", "echo x > /etc/kept")
    assert shell(house, "keeper", "cat /etc/kept", "--network", "none") == "x\n"
    with Held(house, "keeper") as other:
        other.begun()
        assert "in use by a run" in one_line(house.run(["--network", "none", "keeper", "true"]))
        assert other.go().returncode == 0


def test_another_image_has_another_layer(house: House, image: str) -> None:
    """A layer over other files would be neither; the one before is there again with its image."""
    name = "dx-test-kept:latest"
    docker("build", "--quiet", "--tag", name, "-", stdin=f"FROM {image}\nENV MARK=1\n".encode())
    try:
        shell(house, "mine", "echo x > ~/f")
        house.define(TOOLS.format(image=name))
        done = house.run(["mine", "sh", "-c", "ls -A ~"])
        assert (done.returncode, done.stdout) == (0, b"")
        assert b"the image of mine is another one, so its kept root begins anew" in done.stderr
        house.define(TOOLS.format(image=image))
        assert shell(house, "mine", "cat ~/f") == "x\n"
        assert house.dx(["reset", "mine"]).returncode == 0
        assert not [each for each in volumes_of(house.instance) if each.startswith("dx-root-")]
    finally:
        house.dx(["stop", "--all"])
        docker("image", "rm", "--force", name)


def test_a_scratch_layer_on_disk(house: House) -> None:
    """Fresh for each run, gone after it, and with the room of a disk."""
    shell(house, "roomy", "echo x > ~/new; dd if=/dev/zero of=/tmp/big bs=1M count=30 2> /dev/null; mkdir -p /tmp/a/b")
    assert (
        shell(house, "roomy", "ls -A ~; test ! -e /tmp/big; test ! -e /tmp/a; ls -A / | grep -c '[.]dx' || true")
        == "0\n"
    )
    (container,) = house.containers()
    mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Destination}} {{.Name}}\n{{end}}", container)
    (volume,) = [line.split()[1] for line in mounts.splitlines() if line.startswith("/.dx/s ")]
    place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))
    if os.access(place, os.R_OK):
        until(lambda: not list(place.iterdir()), "what runs wrote is removed")
    assert house.dx(["stop", "roomy"]).returncode == 0
    assert volume not in docker("volume", "ls", "--quiet").split()


def test_the_size_of_a_scratch_layer_is_the_tools(house: House) -> None:
    """And is named where it is reached."""
    done = house.run(["tight", "sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=3"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"dx: the run's scratch layer is full (2m); raise the tool's scratch_size"
