"""A Git repository that a run sees: what the user's own git would execute is not the run's to write."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.contract.twin import Twin
from tests.house import House

HARMLESS = (
    'cd "$1"; cat .git/config; echo x > .git/index; mkdir .git/refs/heads/topic; mv .git/index .git/other; '
    "ls -A .git .git/hooks; echo x > file; mkdir d; mv d e"
)


def repository(place: bytes) -> None:
    """As `git init` leaves it, as far as git asks for it to be one; hooks too."""
    git = Path(os.fsdecode(place)) / ".git"
    (git / "objects").mkdir(parents=True)
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "hooks").mkdir()
    (git / "hooks" / "pre-commit.sample").write_text("#!/bin/sh\n")
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text("[core]\n\tbare = false\n")


@pytest.mark.parametrize("where", ["the project", "an argument"])
def test_what_git_does_is_possible(twin: Twin, where: str) -> None:
    """All but hooks and configuration can be written."""
    place = twin.house.place("repo")
    cwd = place if where == "the project" else twin.house.place()
    twin.same(["sh", "-c", HARMLESS, "sh", place], place=place, prepare=repository, cwd=cwd)


@pytest.mark.parametrize("where", ["the project", "an argument", "its .git", "below it"])
@pytest.mark.parametrize(
    "attempt",
    [
        "echo evil >> .git/config",
        "echo evil > .git/new && mv -f .git/new .git/config",
        "rm -f .git/config",
        "echo evil > .git/hooks/post-checkout",
        "chmod +x .git/hooks/pre-commit.sample",
        "rm -r .git/hooks",
        "mv .git/hooks .git/aside",
        "mv .git aside",
        "ln -sf /tmp/x .git/config",
    ],
)
def test_what_git_would_execute_is_not_writable(twin: Twin, attempt: str, where: str) -> None:
    """Neither by writing nor by putting something else in its place."""
    place = twin.house.place("repo")
    outside = twin.house.place()
    (below := Path(os.fsdecode(outside)) / "x").mkdir()
    twin.house.own(below)
    how: dict[str, Any] = {"place": place, "prepare": repository, "cwd": outside}
    word = place
    if where == "the project":
        how["cwd"] = place
    elif where == "its .git":
        word = place + b"/.git"
    elif where == "below it":
        how["cwd"] = place + b"/.git/refs"
    outcome = twin.do(["sh", "-c", f'cd "${{1%/.git}}"; {attempt}', "sh", word], **how)
    assert outcome.status not in (0, 125), outcome
    assert outcome.files[b".git/config"].content == b"[core]\n\tbare = false\n"
    assert sorted(name for name in outcome.files if name.startswith(b".git/hooks")) == [
        b".git/hooks",
        b".git/hooks/pre-commit.sample",
    ]
    assert outcome.files[b".git/hooks/pre-commit.sample"].mode == "-rw-r--r--"


def test_hooks_that_are_missing_are_not_the_runs_to_make(twin: Twin) -> None:
    """An empty directory takes their place."""

    def prepare(place: bytes) -> None:
        repository(place)
        hooks = Path(os.fsdecode(place)) / ".git" / "hooks"
        (hooks / "pre-commit.sample").unlink()
        hooks.rmdir()

    place = twin.house.place("repo")
    outcome = twin.do(["sh", "-c", "mkdir -p .git/hooks; echo evil > .git/hooks/x"], place=place, prepare=prepare)
    assert outcome.status != 0
    assert outcome.files[b".git/hooks"].uid == twin.person.uid
    assert b".git/hooks/x" not in outcome.files


def test_a_bare_repository(twin: Twin) -> None:
    """Named by an argument, it is guarded as well."""

    def prepare(place: bytes) -> None:
        repository(place)
        top = Path(os.fsdecode(place))
        for each in (top / ".git").iterdir():
            each.rename(top / each.name)
        (top / ".git").rmdir()

    place = twin.house.place("bare.git")
    line = 'echo x > "$1/FETCH_HEAD" && echo evil > "$1/config" || echo evil > "$1/hooks/update" || echo kept'
    outcome = twin.do(["sh", "-c", line, "sh", place], place=place, prepare=prepare, cwd=twin.house.place())
    assert outcome.out == b"kept\n"
    assert b"FETCH_HEAD" in outcome.files


def test_a_tool_that_is_allowed_to(home: House, image: str) -> None:
    """`git = "write"`, for a tool or for one run."""
    place = Path(os.fsdecode(home.place("repo")))
    repository(os.fsencode(place))
    for at, directories, files in os.walk(place):
        for name in (*directories, *files):
            home.own(Path(at) / name)
    line = ["sh", "-c", "echo mine > .git/hooks/update && echo mine >> .git/config && mv .git/hooks .git/h"]
    assert home.run([image, *line], cwd=place).returncode != 0
    assert home.run(["--git", "write", image, *line], cwd=place).returncode == 0
    assert (place / ".git" / "h" / "update").read_text() == "mine\n"


@pytest.mark.parametrize("how", ["--explain", "DX_DEBUG"])
def test_a_run_explains_what_it_sees(home: House, image: str, how: str) -> None:
    """On stderr, before it begins: each grant with its reason; `--explain` also what is not granted."""
    top = Path(os.fsdecode(home.place()))
    repository(os.fsencode(top / "repo"))
    for name in ("a\nfile", "other"):
        (top / name).touch()
        home.own(top / name)
    (top / "link").symlink_to("other")
    options = ["--explain"] if how == "--explain" else []
    environ = {**home.env, "DX_DEBUG": "other,grants"} if how == "DX_DEBUG" else home.env
    done = home.run(
        [*options, "--mount", f"{top}/other:/opt/it:ro", image, "ls", top / "a\nfile", "--x=../link", "/etc/passwd"],
        cwd=top / "repo", env=environ,
    )  # fmt: skip
    lines = [line.removeprefix("dx: ") for line in done.stderr.decode().splitlines() if line.startswith("dx: ")]
    told = [
        f"grant {top}/other at /opt/it (read-only): mounts, or --mount",
        f"grant {top}/repo (read and write): the current directory",
        f'grant {top}/repo/.git (read and write): git = "read"',
        f'grant {top}/repo/.git/config (read-only): git = "read"',
        f'grant {top}/repo/.git/hooks (read-only): git = "read"',
        f"grant {top}/a\\nfile (read and write): argument 2",
        f"grant {top}/other (read and write): a part of the argument 3",
        f"link {top}/link to other: on the way to what is named",
    ]
    more = [
        "no grant for /etc/passwd (argument 4): that name is the image's own",
        f"it begins in {top}/repo",
    ]
    assert sorted(lines) == sorted(told + more * (how == "--explain"))
