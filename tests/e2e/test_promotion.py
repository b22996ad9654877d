"""Which build serves, where people go back, and define tools anew, while one is made."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project, steps, tidy
from tests.fakes.private_engine import SUDO
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


class Gate:
    """A step of a build that goes on until it is let go."""

    def __init__(self) -> None:
        self._word = str(secrets.randbelow(10**6) + 10**6)
        self.step = f"RUN sleep {self._word} || :"

    def is_reached(self) -> bool:
        """Whether a build is at the step."""
        return bool(self._processes())

    def reach(self) -> None:
        """Wait until one is."""
        until(self.is_reached, "the build is at its step", deadline_s=BUILD_S)

    def open(self) -> None:
        """Let the build go on, if it is still there."""
        if there := self._processes():
            subprocess.run([*SUDO, "kill", "-KILL", *there], capture_output=True, check=False)

    def _processes(self) -> list[str]:
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                words = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:-1] == [b"sleep", os.fsencode(self._word)]:
                found.append(each.name)
        return found


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def test_a_build_that_ends_after_somebody_went_back(project: Project, gate: Gate) -> None:
    """Is kept, and does not serve until the tool is unpinned."""
    project.write("second")
    project.becomes("second")
    steps(project, gate.step, "RUN echo third > /word")
    gate.reach()
    assert project.house.dx(["rollback", project.tool]).returncode == 0
    assert project.run() == "first"
    gate.open()
    kept = project.ended("good")
    assert project.run() == "first"
    assert (kept["current"], kept["pinned"]) == (False, False)
    assert f"dx unpin {project.tool}" in project.log(kept)
    tidy(project)
    assert project.house.dx(["unpin", project.tool]).returncode == 0
    project.becomes("third")
    assert len(project.builds()) == 3
