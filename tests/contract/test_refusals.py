"""What dx refuses, or cannot do: one line on stderr that says what to do, and a status of its own."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.twin import Outcome, Twin
from tests.house import House


def block_device() -> int:
    """A descriptor for some disk of this machine, opened by whoever runs the tests."""
    for name in sorted(os.listdir("/sys/class/block")):
        try:
            return os.open(f"/dev/{name}", os.O_RDONLY)
        except OSError:
            continue
    raise AssertionError("no block device can be opened here")


DOORS: dict[str, Any] = {
    "a directory": lambda place: os.open(place, os.O_RDONLY | os.O_DIRECTORY),
    "a block device": lambda place: block_device(),
    "a path without access": lambda place: os.open(b"/", os.O_PATH),
    "a file's path without access": lambda place: os.open(b"/etc/passwd", os.O_PATH),
}


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("door", DOORS)
def test_a_door_out_of_the_root_on_stdio(twin: Twin, door: str, stream: str) -> None:
    """Neither a directory nor a disk is handed to a tool."""
    if door == "a block device" and os.geteuid() != 0:
        door = "a directory"  # who may open a disk is no ordinary user
    place = twin.house.place()
    descriptor = DOORS[door](place)
    try:
        outcome = twin.do(["echo", "began"], place=place, **{stream: descriptor})
    finally:
        os.close(descriptor)
    if stream == "stderr":
        assert (outcome.status, outcome.out) == (125, b"")
    else:
        err = outcome.err.decode()
        assert (outcome.status, outcome.out or b"") == (125, b"")
        assert err.startswith(f"dx: descriptor {'01'[stream == 'stdout']} is ")
        assert err.count("\n") == 1


def test_a_directory_beside_stdio_is_not_handed_on(twin: Twin) -> None:
    """Above 2 it is left out: nobody asked for it."""
    outcome = twin.do(["sh", "-c", "ls /proc/self/fd/"], script='"$@" 7< / 8< /dev/null')
    assert outcome.status == 0
    assert b"7" not in outcome.out.split()


def prepared(twin: Twin, content: bytes | None, mode: int) -> Outcome:
    """Run a file of the current directory by path; None makes it a directory."""

    def prepare(place: bytes) -> None:
        path = Path(os.fsdecode(place)) / "program"
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        path.chmod(mode)

    place = twin.house.place()
    line = [str(twin.house.bin / "dx"), "run", "dx-test-busybox:latest", "./program"]
    prepare(place)
    twin.house.own(Path(os.fsdecode(place)) / "program")
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **twin.house.options({"cwd": place})
    ) as process:
        out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


@pytest.mark.parametrize(
    ("content", "mode", "status", "words"),
    [
        (b"#!/bin/sh\nexit 3\n", 0o644, 126, "not executable"),
        (None, 0o755, 126, "./program"),
        (b"no program at all", 0o755, 126, "not a program"),
        (b"", 0o755, 126, "not a program"),
        (b"#!/no/such/interpreter\n", 0o755, 127, "interpreter"),
    ],
    ids=["not executable", "a directory", "not a program", "an empty file", "no interpreter"],
)
def test_a_file_that_cannot_be_executed(twin: Twin, content: bytes | None, mode: int, status: int, words: str) -> None:
    """126 found but not to be executed, 127 not found, as a shell has it."""
    assert words in twin.refused(prepared(twin, content, mode), status)


def test_a_script_of_the_project_is_executed(twin: Twin) -> None:
    """By its path, with the image's interpreter."""
    outcome = prepared(twin, b"#!/bin/sh\necho script; exit 3\n", 0o755)
    assert (outcome.status, outcome.out, outcome.err) == (3, b"script\n", b"")


def refusal(house: House, *line: str, **options: Any) -> str:
    """What `dx run` says, with status 125 and nothing else."""
    done = house.run(line, **options)
    text: str = done.stderr.decode()
    assert (done.returncode, done.stdout) == (options.get("status", 125), b""), text
    assert text.startswith("dx: ")
    assert text.count("\n") == 1
    return text


def test_a_command_that_is_not_in_the_image(twin: Twin) -> None:
    """127, and the name."""
    assert "no-such-command" in twin.refused(twin.do(["no-such-command"]), 127)
    assert "not found in the image" in twin.refused(twin.do(["no-such-command"]), 127)


def test_a_tool_that_is_not_known(home: House) -> None:
    """With the nearest names, else where to find them."""
    assert "busy" in refusal(home, "bussy")
    assert "dx ls" in refusal(home, "entirely-different")


def test_a_shim_whose_tool_is_gone(home: House) -> None:
    """It says so, and never looks elsewhere."""
    done = subprocess.run([home.shim("gone-tool")], capture_output=True, timeout=60, **home.options({}))
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr == b"dx: gone-tool: no tool offers this command any more; run: dx reshim\n"


def test_neither_entrypoint_nor_arguments(home: House, image: str) -> None:
    """There is nothing to run."""
    assert "ENTRYPOINT" in refusal(home, image)


@pytest.mark.parametrize("line", [[], ["--no-such-option", "x"], ["-x", "y"], ["--env"]], ids=repr)
def test_a_usage_error(home: House, line: list[str]) -> None:
    """Before anything is asked of the daemon."""
    assert "dx run" in refusal(home, *line)


@pytest.mark.parametrize("name", ["", "../x", "UPPER:x:y", "a b", "/etc/passwd", "x\ny", "-"])
def test_a_name_that_is_none(home: House, name: str) -> None:
    """Neither a tool's nor an image's."""
    assert refusal(home, "--", name, "true")


def test_a_current_directory_that_is_gone(twin: Twin) -> None:
    """Said before anything begins."""
    outcome = twin.do(["true"], script='mkdir inner; cd inner; rmdir "$PWD"; exec "$@"')
    assert "directory is gone" in twin.refused(outcome)


def test_the_home_directory_as_a_whole_is_not_granted(twin: Twin) -> None:
    """It is full of secrets; the line says how to grant it all the same."""
    with twin.dx.popen(["pwd"], cwd=twin.house.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    text = twin.refused(Outcome(process.returncode, out, err))
    assert f"dx run --mount {twin.house.home}" in text


@pytest.mark.parametrize("where", ["runtime", "state", "root"])
def test_directories_of_dx_itself_are_not_granted(twin: Twin, where: str) -> None:
    """Whoever reaches the daemon's socket can have anything."""
    directory = getattr(twin.house, where)
    with twin.dx.popen(["pwd"], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    twin.refused(Outcome(process.returncode, out, err))


def test_a_mount_that_is_not_there(home: House, image: str) -> None:
    """An error before the tool starts, never an empty directory."""
    assert "/no/such/place" in refusal(home, "--mount", "/no/such/place", image, "true")
