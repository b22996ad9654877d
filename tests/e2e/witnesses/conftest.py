"""Real programs, in an image of this machine's own, and a dx for each person that has them as a tool."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundle import bundle
from tests.house import DEADLINE_S, PEOPLE, House

COMMANDS = ("gcc", "make", "git", "sqlite3", "curl", "tar", "flock")
"""What the tool offers."""
OTHERS = ("/bin/sh", "as", "ld")
SOURCES = Path(__file__).with_name("c")
"""A program to compile: what it includes and links with is in the image, too."""


def compiler_files() -> set[str]:
    """What the C compiler reads beside itself, for the sources."""
    sources = [str(each) for each in SOURCES.glob("*.c")]
    tools = {_said("gcc", f"-print-prog-name={each}").strip() for each in ("cc1", "collect2")}
    plugin = {_said("gcc", "-print-file-name=liblto_plugin.so").strip()}
    headers = re.findall(r"(/\S+)", _said("gcc", "-M", *sources))
    linked = _said("gcc", "-Wl,--trace", "-o", "/dev/null", *sources)
    opened = {line for line in linked.splitlines() if line.startswith("/") and not line.startswith("/tmp/")}
    scripts = {_said("gcc", f"-print-file-name={each}").strip() for each in ("libc.so", "libgcc_s.so")}
    return {*tools, *plugin, *headers, *opened, *scripts}


def _said(*line: str) -> str:
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout


@pytest.fixture(scope="session")
def programs() -> Iterator[str]:
    """The image."""
    tools = [each for each in compiler_files() if each.endswith(("/cc1", "/collect2"))]
    with bundle("dx-test-programs", programs=[*COMMANDS, *OTHERS, *tools], files=compiler_files()) as name:
        yield name


@pytest.fixture(scope="session", params=PEOPLE, ids=lambda person: person.name)
def home(request: pytest.FixtureRequest, image: str, programs: str) -> Iterator[House]:
    """A dx where the commands of the image have shims."""
    with House(request.param) as house:
        house.define(f"[tools.programs]\nimage = '{programs}'\ncommands = {[*COMMANDS]!r}\nenv = ['MAKEFLAGS']\n")
        for command in COMMANDS:
            house.shim(command)
        yield house
