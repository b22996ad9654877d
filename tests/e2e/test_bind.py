"""Where launchers cannot open grants, a container has them from its start."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ME, PEOPLE, STRANGER, House, Person

REFUSED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1")
open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program that may make no namespaces, and that owns none which has any mounts."""


@pytest.fixture(params=PEOPLE, ids=lambda person: person.name)
def bound(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx whose daemon takes it that no launcher can open grants."""
    person: Person = request.param
    with House(person, DX_FORCE="bind") as house:
        house.define(f'[tools.box]\nimage = "{image}"\n')
        yield house


def write(house: House, path: Path, text: str) -> Path:
    """Make a file of the house's person's."""
    path.write_text(text)
    house.own(path)
    return path


def output(house: House, *arguments: str, cwd: Path) -> str:
    """Of a run that goes well."""
    done = house.run(["box", *arguments], cwd=cwd)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_a_run_sees_and_writes_what_it_was_granted(bound: House) -> None:
    """Under the same names, as its caller, and what is beside it not."""
    project, other = (Path(os.fsdecode(bound.place(name))) for name in ("project", "other"))
    named = write(bound, other / "named", "seen")
    write(bound, other / "beside", "not seen")
    script = 'pwd; cat "$1"; echo new > made; ls "${1%/*}"; test ! -e /.dx'
    assert output(bound, "sh", "-c", script, "sh", str(named), cwd=project) == f"{project}\nseennamed\n"
    assert (project / "made").read_text() == "new\n"
    assert (project / "made").stat().st_uid == bound.person.uid
    assert named.read_text() == "seen"


def test_a_read_only_grant_is_read_only(bound: House) -> None:
    """Though the container has it for writing."""
    project, other = (Path(os.fsdecode(bound.place(name))) for name in ("project", "other"))
    done = bound.run(["--mount", f"{other}:ro", "box", "sh", "-c", f"touch {other}/x"], cwd=project)
    assert done.returncode == 1
    assert b"Read-only file system" in done.stderr
    assert not list(other.iterdir())


def test_runs_with_the_same_grants_share_a_container(bound: House) -> None:
    """Those with others have another."""
    first, second = (Path(os.fsdecode(bound.place(name))) for name in ("first", "second"))
    for _ in range(2):
        output(bound, "true", cwd=first)
    assert len(bound.containers()) == 1
    output(bound, "true", cwd=second)
    assert len(bound.containers()) == 2


def test_what_was_made_anew_is_seen_anew(bound: House) -> None:
    """A file that another took the place of, as editors do, and a directory that was removed and made again."""
    project, other = (Path(os.fsdecode(bound.place(name))) for name in ("project", "other"))
    named = write(bound, other / "named", "old")
    assert output(bound, "cat", str(named), cwd=project) == "old"
    write(bound, other / "next", "new").rename(named)
    assert output(bound, "cat", str(named), cwd=project) == "new"
    shutil.rmtree(project)
    project.mkdir()
    write(bound, project / "file", "again")
    assert output(bound, "cat", "file", cwd=project) == "again"


@pytest.mark.skipif(ME.uid != 0, reason="only root can mount")
def test_a_mount_that_came_later_is_told_of(bound: House) -> None:
    """The container is older, and does not have it; a new one does."""
    project = Path(os.fsdecode(bound.place("a project")))
    below = project / "below"
    below.mkdir()
    assert output(bound, "ls", "below", cwd=project) == ""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(below)], check=True)
    try:
        write(bound, below / "file", "seen")
        done = bound.run(["box", "ls", "below"], cwd=project)
        assert (done.returncode, done.stdout) == (0, b"")
        assert done.stderr.startswith(b"dx: the container is older than what is mounted at /")
        assert done.stderr.endswith(b"/a project/below, and lacks it; run: dx stop box\n")
        assert bound.dx(["stop", "box"]).returncode == 0
        assert output(bound, "ls", "below", cwd=project) == "file\n"
    finally:
        bound.dx(["stop", "--all"])
        subprocess.run(["umount", str(below)], check=True)


def test_a_name_that_the_engine_cannot_be_told_is_refused(bound: House) -> None:
    """Before the tool starts, and by name."""
    done = bound.run(["box", "true"], cwd=bound.place(b"\xff"))
    assert done.returncode == 125
    assert b"cannot be granted; here the engine has to mount it" in done.stderr


@pytest.mark.skipif(ME.uid != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("door", ["launcher", "python"])
def test_a_launcher_that_may_not_open_grants_gets_a_container_that_has_them(image: str, door: str) -> None:
    """Nothing is shown of it, and the lease that was of no use is void."""
    with House(STRANGER) as house:
        house.define(f'[tools.box]\nimage = "{image}"\n')
        project = Path(os.fsdecode(house.place("project")))
        write(house, project / "file", "seen")
        house.start()
        line = [str(house.bin / "dx")] if door == "launcher" else house.python
        command = ["-c", REFUSED, *line, "run", "box", "sh", "-c", "cat file; id -u"]
        done = subprocess.run(
            ["/usr/bin/python3", *command], capture_output=True, timeout=60, **house.options({"cwd": project})
        )
        assert done.stderr == b""
        assert (done.returncode, done.stdout) == (0, f"seen{STRANGER.uid}\n".encode())
        states = [each["state"] for each in json.loads(house.dx(["ps", "--all", "--json"]).stdout)["runs"]]
        assert sorted(states) == ["finished", "lost"]
