"""What a tool keeps from run to run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.test_signals import begun, end
from tests.contract.twin import Run
from tests.e2e.rig import one_line
from tests.house import PEOPLE, House, Person, docker, volumes_of

TOOLS = """
[tools.keeper]
image = "{image}"
caches = ["~/.cache/keeper", "/var/cache/keeper", "/var/cache/keeper/deep"]

[tools.other]
image = "{image}"
caches = ["/var/cache/keeper"]
"""


@pytest.fixture(params=PEOPLE, ids=lambda person: person.name)
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx with two tools that have caches, for each person."""
    person: Person = request.param
    with House(person) as made:
        made.define(TOOLS.format(image=image))
        yield made


def caches(house: House) -> list[list[str]]:
    """Tool and path of each."""
    listed = json.loads(house.dx(["cache", "ls", "--json"]).stdout)["caches"]
    return [[each["tool"], each["path"]] for each in listed]


def test_a_cache_stays_and_all_else_goes(house: House) -> None:
    """From run to run, from container to container; each tool has its own, and it is the user's."""
    script = (
        "cd; for each in .cache/keeper /var/cache/keeper /var/cache/keeper/deep . /tmp; do echo x >> $each/kept; done"
    )
    for _ in range(2):
        done = house.run(["keeper", "sh", "-c", script])
        assert (done.returncode, done.stderr) == (0, b"")
    assert house.dx(["stop", "keeper"]).returncode == 0
    script = "cd; cat .cache/keeper/kept /var/cache/keeper/kept /var/cache/keeper/deep/kept | wc -l; ls -A . /tmp; "
    done = house.run(["keeper", "sh", "-c", script + "stat -c '%u %g %a' .cache .cache/keeper /var/cache/keeper/kept"])
    uid, gid = house.person.uid, house.person.gid
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == ["6", ".:"]
    assert lines[-3:] == [f"{uid} {gid} 755", f"{uid} {gid} 755", f"{uid} {gid} 644"]
    assert "kept" not in lines
    done = house.run(["other", "ls", "-A", "/var/cache/keeper"])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_run_sees_of_its_volumes_the_caches_only(house: House) -> None:
    """Neither the agent's directory nor a way to what is mounted there; no setuid, no devices."""
    done = house.run(["keeper", "sh", "-c", "ls -A /; ls /.dx; grep ' /var/cache/keeper ' /proc/self/mountinfo"])
    assert ".dx" not in done.stdout.decode().split()
    assert b"No such file" in done.stderr
    options = done.stdout.decode().splitlines()[-1].split()[5].split(",")
    assert {"rw", "nosuid", "nodev"} <= set(options)


def test_caches_are_listed_and_removed(house: House) -> None:
    """By tool, or one alone; warm containers do not keep them, runs do."""
    home = f"{house.home}/.cache/keeper"
    assert caches(house) == []
    for tool in ("keeper", "other"):
        assert house.run([tool, "touch", "/var/cache/keeper/kept"]).returncode == 0
    deep = "/var/cache/keeper/deep"
    assert caches(house) == [["keeper", home], ["keeper", "/var/cache/keeper"], ["keeper", deep], [
        "other", "/var/cache/keeper"]]  # fmt: skip
    assert house.dx(["cache", "rm", "keeper", deep]).stdout == f"keeper begins anew at {deep}\n".encode()
    assert [deep in each for each in caches(house)] == [False] * 3
    assert "no cache at /x" in one_line(house.dx(["cache", "rm", "keeper", "/x"]))
    with begun(Run("run", house, "other"), "echo ready; exec sleep 1000") as process:
        assert "in use by a run" in one_line(house.dx(["cache", "rm", "other"]), "dx stop other")
        process.terminate()
        end(process)
    assert house.dx(["cache", "rm", "other"]).returncode == 0
    for tool, content in (("other", b""), ("keeper", b"deep\nkept\n")):
        done = house.run([tool, "ls", "-A", "/var/cache/keeper"])  # named, and yet nothing of the host's
        assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


def test_a_cache_in_a_grant_needs_a_directory(house: House, image: str) -> None:
    """As with node_modules: the place is yours to make, what is in it is the cache."""
    place = Path(house.place("project").decode())
    house.define(f'[tools.keeper]\nimage = "{image}"\ncaches = ["{place}/modules"]\n')
    line = one_line(house.run(["keeper", "true"], cwd=place))
    assert f"mkdir -p {place}/modules" in line
    assert list(place.iterdir()) == []
    (place / "modules").mkdir()
    house.own(place / "modules")
    done = house.run(["keeper", "sh", "-c", "echo x > modules/in; ls modules"], cwd=place)
    assert (done.returncode, done.stdout) == (0, b"in\n")
    assert list((place / "modules").iterdir()) == []
    assert house.run(["keeper", "cat", "modules/in"], cwd=place).stdout == b"x\n"


def test_volumes_tell_whose_they_are(house: House) -> None:
    """To those who ask the engine."""
    assert house.run(["other", "true"]).returncode == 0
    (name,) = volumes_of(house.instance)
    labels = json.loads(docker("volume", "inspect", "--format", "{{json .Labels}}", name))
    assert labels == {
        "dev.dx.instance": house.instance,
        "dev.dx.volume": "cache",
        "dev.dx.tool": "other",
        "dev.dx.path": "/var/cache/keeper",
    }
