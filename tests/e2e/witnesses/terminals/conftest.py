"""Programs that have the whole screen or edit a line, in an image of this machine's own, and a dx for each person."""

import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.bundle import bundle
from tests.e2e.witnesses.terminals.screen import Pair
from tests.house import DEADLINE_S, PEOPLE, House

PROGRAMS = ("bash", "head", "less", "od", "script", "seq", "sh", "sleep", "stty", "top", "tty", "vim.tiny")
PYTHON = "/usr/bin/python3"
"""The distribution's, which everybody may execute."""
LOADED = """\
import curses, encodings, encodings.utf_8, readline, rlcompleter, sys, sysconfig, termios, tty
print(*(file for each in sys.modules.values() if (file := getattr(each, '__file__', None))), sep='\\n')
"""
"""Prints the files of the modules that its prompt and the tests use."""
OTHERS = [
    "/usr/lib/locale/C.utf8",
    *(path for each in ("/lib", "/usr/share") if os.path.exists(path := f"{each}/terminfo/x/xterm")),
]
"""The locale, and the terminal that both sides say they have."""


def modules() -> list[str]:
    """Their files, and the libraries that those load which are compiled."""
    files = _said(PYTHON, "-I", "-c", LOADED).split()
    compiled = [each for each in files if each.endswith(".so")]
    return [*files, *re.findall(r"(/\S+) \(0x", _said("ldd", *compiled))]


def _said(*line: str) -> str:
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout


@pytest.fixture(scope="session")
def screens() -> Iterator[str]:
    """The image."""
    with bundle("dx-test-screens", programs=[*PROGRAMS, PYTHON], files=[*modules(), *OTHERS]) as name:
        yield name


@pytest.fixture(scope="session", params=PEOPLE, ids=lambda person: person.name)
def pair(request: pytest.FixtureRequest, image: str, screens: str) -> Iterator[Pair]:
    """The native side and dx's, of each person."""
    with House(request.param) as house:
        house.start()
        yield Pair(house, screens)
