"""Builds on an engine whose disk is full, that lacks memory, or that goes away in the middle of one."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project, steps
from tests.fakes.private_engine import SUDO, PrivateEngine
from tests.house import ME, House
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

SMALL_DISK = "[ -e disk ] || { truncate -s 300M disk; mkfs.ext4 -q disk; }; mkdir -p data; mount -o loop disk data"
BRIDGE = "--bridge=docker0"
"""Steps of a build are on it; it is none of the machine's."""
MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.fixture(scope="module")
def small(image: str) -> Iterator[PrivateEngine]:
    """An engine with room for 300 MB."""
    with PrivateEngine(SMALL_DISK, BRIDGE) as engine:
        engine.load(image)
        yield engine


@contextmanager
def built(engine: PrivateEngine, image: str) -> Iterator[Project]:
    """A tool that was built there."""
    with House(ME, DOCKER_HOST=engine.address) as house:
        project = Project(house, image, on_change="'wait'")
        assert project.run() == "first"
        yield project
        house.dx(["stop", "--all"])
        house.stop()
        if left := engine.docker("ps", "--all", "--quiet").split():
            engine.docker("rm", "--force", *left)


def images(engine: PrivateEngine, project: Project) -> set[str]:
    """The tool's, with a name or without."""
    label = f"label=dev.dx.tool={project.tool}"
    return set(engine.docker("image", "ls", "--quiet", "--no-trunc", "--filter", label).split())


def test_a_step_that_fills_the_disk(small: PrivateEngine, image: str) -> None:
    """The old build serves, and the disk is named; when the step is content with less, it is built."""
    with built(small, image) as project:
        before = images(small, project)
        steps(project, "RUN dd if=/dev/zero of=/big bs=1M count=1000")
        project.still("first", "No space left on device", "the engine's disk is full", "dx prune")
        assert project.builds()[0]["result"] == "cancelled"
        assert "No space left on device" in project.log(project.builds()[0])
        until(lambda: images(small, project) == before, "nothing is left of it")
        steps(project, "RUN echo second > /word")
        assert project.run() == "second"


def test_a_context_that_fills_the_disk(small: PrivateEngine, image: str) -> None:
    """The same."""
    with built(small, image) as project:
        before = images(small, project)
        with (project.path / "huge").open("wb") as file:
            file.truncate(2 << 30)
        project.still("first", "no space left on device", "the engine's disk is full")
        until(lambda: images(small, project) == before, "nothing is left of it")
        (project.path / "huge").unlink()
        small.docker("builder", "prune", "--force")
        project.write("second")
        assert project.run() == "second"


def test_a_disk_that_is_full_for_a_while(small: PrivateEngine, image: str) -> None:
    """When there is room the build is made, without an edit and without being asked."""
    filler = f"/proc/{small.pid}/root{small.root}/data/filler"
    with built(small, image) as project:
        try:
            fill = f"dd if=/dev/zero of={filler} bs=1M 2>/dev/null; dd if=/dev/zero of={filler}2 bs=4k 2>/dev/null; :"
            subprocess.run([*SUDO, "sh", "-c", fill], check=True, timeout=60)
            project.write("second")
            project.still("first", "the engine's disk is full")
            assert project.run() == "first"
        finally:
            subprocess.run([*SUDO, "rm", "-f", filler, f"{filler}2"], check=True, timeout=60)
        until(lambda: project.builds()[0]["result"] == "good", "it is built", deadline_s=BUILD_S)
        project.still("second")


@pytest.mark.skipif(not (MEMORY / "memory.limit_in_bytes").parent.exists(), reason="limits by cgroup v1")
def test_a_step_that_takes_too_much_memory(image: str) -> None:
    """Is killed by the kernel, and told so."""
    group = MEMORY / f"dx-test-{secrets.token_hex(4)}"
    make = f"mkdir {group}; echo 48000000 > {group}/memory.limit_in_bytes"
    subprocess.run([*SUDO, "sh", "-ec", make], check=True, timeout=60)
    try:
        with PrivateEngine("", BRIDGE, f"--cgroup-parent=/{group.name}") as engine:
            engine.load(image)
            with built(engine, image) as project:
                before = images(engine, project)
                steps(project, "RUN head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null")
                project.still("first", "killed (exit code 137)", "memory")
                until(lambda: images(engine, project) == before, "nothing is left of it")
    finally:
        tidy = f"find {group} -depth -type d -exec rmdir {{}} +"
        until(
            lambda: subprocess.run([*SUDO, "sh", "-c", tidy], capture_output=True, timeout=60).returncode == 0,
            "the group is gone",
        )


def test_an_engine_that_restarts_in_a_build(image: str) -> None:
    """The old build serves meanwhile; then the new one is made, without being asked."""
    with PrivateEngine("", BRIDGE) as engine:
        engine.load(image)
        with built(engine, image) as project:
            steps(project, f"ENV N={secrets.token_hex(4)}", "RUN sleep 3")
            project.put("word", "second\n")
            with project.house.popen(["run", project.tool], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
                until(lambda: "sleep 3" in project.log(project.builds()[0]), "it is at it", deadline_s=BUILD_S)
                engine.stop()
                try:
                    out, said = run.communicate(timeout=BUILD_S)
                    assert (run.returncode, out) == (0, b"first\n"), said
                    assert b"broken off" in said
                    assert project.run() == "first"
                finally:
                    engine.start()
            until(lambda: project.builds()[0]["result"] == "good", "it is built", deadline_s=BUILD_S)
            assert project.run() == "second"
            assert len(images(engine, project)) == 2
