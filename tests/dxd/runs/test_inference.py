"""What arguments open, over a real directory tree."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from dxd.errors import CannotGrant
from dxd.runs.grants import Place, Plan, plan
from dxd.tools.model import Mount, Paths


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A home with a project in it, and two directories elsewhere."""
    for name in ("home/project/in", "home/.ssh", "a/b", "there"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("home/file", "home/.ssh/key", "a/file", "a/b/file", "there/file", "there/x:y", "home/project/file"):
        (tmp_path / name).touch()
    return tmp_path


def planned(top: Path, *words: str, mounts: Iterable[Mount] = (), paths: Paths = Paths.AUTO, cwd: str = "") -> Plan:
    """The plan for arguments in which `%` is the directory."""
    args = [os.fsencode(word.replace("%", str(top))) for word in words]
    place = Place(os.fsencode(top / (cwd or "home/project")), os.fsencode(top / "home"), (os.fsencode(top / "dx"),))
    return plan(place, mounts=list(mounts), args=args, paths=paths)


def named(top: Path, *words: str) -> list[str]:
    """What is granted beside the project, from the directory on."""
    grants = planned(top, *words).grants
    made = sorted(os.fsdecode(each.target).removeprefix(f"{top}/") + "+" * bool(each.new) for each in grants)
    made.remove("home/project")
    return made


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["file", "in", "nothing", "-x", "--", "", "./file"], []),
        (["%/a/file"], ["a/file"]),
        (["../file"], ["home/file"]),
        (["%/a", "%/a/file", "%/a/b/file"], ["a"]),
        (["%/a/new", "%/a/file"], ["a+", "a/file"]),
        (["%/a/new", "%/a"], ["a"]),
        (["%/a/nothing/new"], []),
        (["%/a/file:%/there/file"], ["a/file", "there/file"]),
        (["%/a/file:%/there/nothing"], []),
        (["%/a/file:file"], ["a/file"]),
        (["host:%/a/file", "user@host:%/a", "%/a/nothing/x:y"], []),
        (["%/a/12:30"], ["a+"]),
        (["%/there/x:y"], ["there/x:y"]),
        (["file://%/a/file", "http://x/%/a/file"], []),
        (["--x=%/a/file", "y=%/there/new"], ["a/file", "there+"]),
        (["--x=%/a/file=%/a/b"], []),
        (["/no-such-directory-here", "s/x/y/", "/x/"], []),
        (["~/file"], ["home/file"]),
        (["%/a/b/../file"], ["a/file"]),
    ],
    ids=repr,
)
def test_what_is_named(top: Path, words: list[str], expected: list[str]) -> None:
    """The least that makes the name work."""
    assert named(top, *words) == expected


@pytest.mark.parametrize(
    "word", ["%/home", "..", "../", "%/home/new", "--o=%/home/new", "../new", "%/home/.ssh/key", "%/dx/s"]
)
def test_what_is_refused(top: Path, word: str) -> None:
    """Before anything begins."""
    (top / "dx").mkdir()
    (top / "dx" / "s").touch()
    with pytest.raises(CannotGrant, match="never granted unasked"):
        planned(top, word)
    assert len(planned(top, word, paths=Paths.PROJECT).grants) == 1


@pytest.mark.parametrize(
    "word", ["--home=%/home", "HOME=%/home", "~", "~/new", "%/a/file:%/home", "%", "%/x", "/", "/etc/x"]
)
def test_what_is_passed_over(top: Path, word: str) -> None:
    """A guess is no reason to fail; an image has names of its own; what was passed over is known."""
    (top / "dx").mkdir()
    assert all(each.source.endswith((b"project", b"file")) for each in planned(top, word).grants)


def test_a_mount_covers_what_lies_in_it(top: Path) -> None:
    """At its own place and at another."""
    mounts = [Mount(str(top / "a"), str(top / "a"), readonly=True), Mount("/tmp", str(top / "there"))]
    made = planned(top, "%/a/file", "%/a/new", "%/there/file", mounts=mounts)
    assert [os.path.basename(each.target) for each in made.grants] == [b"a", b"there", b"project"]


def test_links_are_made_only_where_they_are_not_seen_anyway(top: Path) -> None:
    """Those in grants are there with them."""
    (top / "home" / "project" / "link").symlink_to("../../a")
    (top / "link").symlink_to("a/b")
    made = planned(top, "link/file", "%/link/file", "%/a/../there/file")
    base = os.fsencode(top)
    assert dict(made.links) == {base + b"/link": b"a/b", base + b"/a": b""}


def test_a_name_by_which_it_was_entered(top: Path) -> None:
    """Is kept where it leads to the current directory."""
    (top / "link").symlink_to("home")
    cwd = os.fsencode(top / "home" / "project")
    for pwd, expected in (
        (os.fsencode(top / "link" / "project"), os.fsencode(top / "link" / "project")),
        (os.fsencode(top / "link"), cwd),
        (b"link/project", cwd),
        (os.fsencode(top) + b"/link/./project", cwd),
        (b"", cwd),
    ):
        made = plan(Place(cwd, os.fsencode(top / "home"), pwd=pwd), mounts=())
        assert (made.cwd, made.pwd) == (cwd, expected)
        assert made.links == (((os.fsencode(top / "link"), b"home"),) if expected != cwd else ())


def test_too_many(top: Path) -> None:
    """What the agent cannot take is an error, with what to do instead."""
    words = []
    for number in range(130):
        (top / "there" / f"{number}").touch()
        words.append(f"%/there/{number}")
    with pytest.raises(CannotGrant, match="130 paths") as error:
        planned(top, *words)
    assert "--mount" in error.value.hint
    assert len(planned(top, *words[:127]).grants) == 128


def test_nothing_of_the_host(top: Path) -> None:
    """A run begins at home then, which is its own."""
    made = planned(top, "%/a/file", paths=Paths.NONE)
    assert not made.grants
    assert made.cwd == made.pwd == os.fsencode(top / "home")
