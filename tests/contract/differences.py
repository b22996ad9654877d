"""What is truly different through one of dx's doors: each is expected by the suite, and is a line of a reference page.

A test that is named here has to fail through that door; once it passes there, its line has to go.
"""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "differences.md"
BEGIN, END = "<!-- written by tests/contract/differences.py -->\n", "<!-- to here -->\n"


@dataclass(frozen=True)
class Difference:
    """One, with the tests that show it."""

    door: str
    """Through which it is so: the parameter of the fixture `twin`."""
    tests: tuple[str, ...]
    """Patterns of test ids without the door and the person: "NAME[CASE]"."""
    what: str
    native: str
    here: str
    why: str
    always: bool = True
    """Or only for some, or at times."""


_OUTSIDE_ROOT = ("test_a_door_out_of_the_root_on_stdio[a block device-*]",) * (os.geteuid() != 0)
"""Without a disk to open that test takes a directory instead."""

DIFFERENCES = [
    Difference(
        "python",
        ("test_nobody_could_tell[SIGPIPE ignored]", "test_nobody_could_tell[signals, some ignored]"),
        "SIGPIPE or SIGXFSZ ignored by the caller",
        "ignored in the command too",
        "the default action in the run",
        "Python ignores both before it runs a line, so nobody can tell whether the caller did",
    ),
    Difference(
        "python",
        (
            "test_a_door_out_of_the_root_on_stdio[a directory-*]",
            "test_a_door_out_of_the_root_on_stdio[a path without access-*]",
            *_OUTSIDE_ROOT,
        ),
        "a directory on stdin, stdout or stderr",
        "refused by dx, with status 125 and one line",
        "refused by Python, with status 1 and words of its own",
        "Python does not start with such a stream",
    ),
    Difference(
        "portable",
        (
            "test_nobody_could_tell[flags of *]",
            "test_nobody_could_tell[std* by its name]",
            "test_only_some_descriptors_are_the_terminal[*]",
            "test_the_size_of_a_terminal_that_is_only_stdin[*]",
        ),
        "what stdin, stdout and stderr are",
        "the caller's own files, terminals and pipes, with their flags, sizes and names",
        "pipes of the run's own, which carry the same bytes; a terminal only where stdin and stdout both are it, and "
        "dx says in one line where stdout alone is",
        "no descriptor can be handed to another machine",
        always=False,
    ),
    Difference(
        "portable",
        (
            "test_nobody_could_tell[process substitution]",
            "test_nobody_could_tell[to a process substitution]",
            "test_nobody_could_tell[descriptor*]",
            "test_the_descriptors_of_a_run[*]",
        ),
        "descriptors above 2 that the caller left open",
        "the same in the run",
        "not there, and dx says which in one line",
        "others may read them as well, a jobserver's for example, and reading ahead would take from those",
        always=False,
    ),
    Difference(
        "portable",
        ("test_nobody_could_tell[no space]", "test_nobody_could_tell[stdout truncated by another]"),
        "writing to stdout",
        "the tool hears at once that it failed, or that the file is another",
        "the bytes arrive a moment later; where they cannot be written the tool gets SIGPIPE, dx says why, and a "
        "status of 0 becomes 125",
        "the writer is the launcher",
        always=False,
    ),
    Difference(
        "portable",
        ("test_what_of_the_agent_can_be_seen[*]",),
        "in /proc/net/unix of a run",
        "the path of a socket that is the daemon's",
        "the paths of two that are the agent's own",
        "the agent is handed none",
    ),
]

DIFFERENCES += [
    Difference(
        door,
        ("test_a_file[*xff*]", "test_the_current_directory_keeps_its_name[*xff*]"),
        "a path that is not UTF-8",
        "granted like any other",
        "refused, with status 125 and one line",
        "the engine mounts it, and its API is JSON",
    )
    for door in ("bind", "portable")
]

DOORS = {
    "run": "`dx run`",
    "shim": "a shim",
    "python": "`python -m dx run`",
    "bind": "grants that the engine mounts",
    "portable": "an engine out of reach",
}


def of(item: pytest.Item) -> Difference | None:
    """The difference that a test is known to show."""
    call = getattr(item, "callspec", None)
    door = call.params.get("twin") if call else None
    if call is None or door is None:
        return None
    doors = (door, item.config.getoption("--rung"))
    name = getattr(item, "originalname", item.name)
    case = call.id.removeprefix(f"{door}-").partition("-")[2]  # after the person
    for each in DIFFERENCES:
        if each.door in doors and any(_matches(f"{name}[{case}]", pattern) for pattern in each.tests):
            return each
    return None


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def table() -> str:
    """All of them, for the reference."""
    rows = ["| through | what | natively and by the launcher | there | why |", "| --- | --- | --- | --- | --- |"]
    rows += [f"| {DOORS[each.door]} | {each.what} | {each.native} | {each.here} | {each.why} |" for each in DIFFERENCES]
    return "\n".join([*rows, ""])


def page() -> str:
    """The reference page as it has to be."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{head}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
