"""`git` from an image, in a repository of this machine: what one leaves behind the other takes up."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.house import DEADLINE_S, House


@pytest.fixture
def repository(home: House) -> Path:
    """A new one, whose owner is known by its own configuration."""
    place = Path(os.fsdecode(home.place()))
    native(home, place, "init", "--quiet", "--initial-branch=main")
    native(home, place, "config", "user.name", "Somebody")
    native(home, place, "config", "user.email", "somebody@example.org")
    return place


def native(home: House, place: Path, *arguments: str) -> str:
    """What this machine's git prints."""
    options = home.options({"cwd": place})
    done = subprocess.run(["git", *arguments], **options, capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b""), done
    return str(done.stdout, "utf-8")


def inside(home: House, place: Path, *arguments: str) -> str:
    """What the image's git prints."""
    done = home.run(["git", *arguments], cwd=place)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def write(home: House, path: Path, text: str) -> None:
    """A file of the person's."""
    path.write_text(text)
    home.own(path)


def test_commits_of_both_are_one_history(home: House, repository: Path) -> None:
    """Objects, index and refs are the person's, and whole."""
    write(home, repository / "a", "one\n")
    inside(home, repository, "add", ".")
    inside(home, repository, "commit", "--quiet", "--message", "From inside")
    assert native(home, repository, "status", "--porcelain") == ""
    write(home, repository / "a", "two\n")
    assert inside(home, repository, "diff", "--stat") == native(home, repository, "diff", "--stat") != ""
    native(home, repository, "commit", "--quiet", "--all", "--message", "From outside")
    inside(home, repository, "checkout", "--quiet", "-b", "side", "HEAD~1")
    write(home, repository / "b", "three\n")
    inside(home, repository, "add", "b")
    inside(home, repository, "commit", "--quiet", "--message", "Beside")
    inside(home, repository, "checkout", "--quiet", "main")
    inside(home, repository, "merge", "--quiet", "--no-edit", "side")
    log = native(home, repository, "log", "--format=%an %s").splitlines()
    assert sorted(log) == [
        "Somebody Beside",
        "Somebody From inside",
        "Somebody From outside",
        "Somebody Merge branch 'side'",
    ]
    inside(home, repository, "gc", "--quiet")
    native(home, repository, "fsck", "--strict")
    owners = {path.lstat().st_uid for path in repository.rglob("*")}
    assert owners == {home.person.uid}


def test_a_commit_from_below_the_root(home: House, repository: Path) -> None:
    """The project is found from any of its directories, by git and by dx."""
    below = repository / "x" / "y"
    below.mkdir(parents=True)
    for path in (below.parent, below):
        home.own(path)
    write(home, below / "c", "c\n")
    inside(home, below, "add", "c")
    inside(home, below, "commit", "--quiet", "--message", "Below")
    assert native(home, repository, "ls-files") == "x/y/c\n"


def test_a_hook_is_run_in_the_image(home: House, repository: Path) -> None:
    """With the repository's own directory, and its word counts."""
    hook = repository / ".git" / "hooks" / "pre-commit"
    write(home, hook, "#!/bin/sh\ntest -d /busybox || exit 3\ntest -e allowed || { echo no >&2; exit 1; }\n")
    hook.chmod(0o755)
    write(home, repository / "a", "one\n")
    inside(home, repository, "add", "a")
    done = home.run(["git", "commit", "--message", "x"], cwd=repository)
    assert (done.returncode, done.stderr) == (1, b"no\n")
    write(home, repository / "allowed", "")
    inside(home, repository, "commit", "--quiet", "--message", "x")
    assert native(home, repository, "log", "--format=%s") == "x\n"


def test_many_at_once_take_turns_by_the_lock(home: House, repository: Path) -> None:
    """Of commits at the same time each is made, or says what kept it; the repository stays whole.

    That is another's lock, or the file for the message, which all share and another has just emptied.
    """
    native(home, repository, "commit", "--quiet", "--allow-empty", "--message", "first")
    line = ["run", "git", "commit", "--quiet", "--allow-empty", "--message", "x"]
    started = [home.popen(line, cwd=repository, stderr=subprocess.PIPE) for _ in range(8)]
    made = 0
    for process in started:
        _, err = process.communicate(timeout=DEADLINE_S)
        made += process.returncode == 0
        assert process.returncode == 0 or b"lock" in err or b"empty commit message" in err, err
    assert made >= 1
    native(home, repository, "fsck", "--strict")
    assert native(home, repository, "log", "--format=%s").split().count("x") == made
