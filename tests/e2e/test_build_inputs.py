"""What a build is made of is what it is named by, and every change of it is found, also one that nobody tells of."""

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project, tidy, waiting
from tests.fakes.real_buildx import with_buildx
from tests.house import ME, Forwarder, House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

FILLING_BYTES = 32 << 20
"""Of a file that comes before the others: more than what is on its way to the engine at any moment."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Forwarder]:
    """The engine by way of a socket that can hold requests."""
    with Forwarder(tmp_path / "e", ME) as made:
        yield made


@pytest.fixture
def base(project: Project) -> Iterator[str]:
    """A name that the tool is built on."""
    name = f"dx-test-{project.tool}:base"
    renew(name, project.image, "one")
    project.put("Dockerfile", f'FROM {name}\nENTRYPOINT ["sh", "-c", "echo $WORD"]\n')
    project.becomes("one")
    yield name
    project.close()
    for each in docker("image", "ls", "--quiet", "--filter", f"label=dx.test.base={name}").split():
        subprocess.run(["docker", "image", "rm", "--force", each], capture_output=True)


def renew(name: str, image: str, word: str, *, tag: bool = True) -> str:
    """Build an image with that word, which gets the name or none; its id."""
    text = f"FROM {image}\nENV WORD={word}\nLABEL dx.test.base={name}\n"
    return docker("build", "--quiet", *(["--tag", name] if tag else []), "-", stdin=text.encode())


def load(name: str, image: str, word: str) -> None:
    """Have the engine load an image under the name that others had before."""
    before = docker("image", "inspect", "--format", "{{.Id}}", name)
    renew(name, image, word)
    saved = subprocess.check_output(["docker", "save", name])
    docker("tag", before, name)
    docker("load", "--quiet", stdin=saved)


MOVES = {
    "build": renew,
    "tag": lambda name, image, word: docker("tag", renew(name, image, word, tag=False), name),
    "load": load,
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_a_base_that_moves_is_followed(project: Project, base: str, move: Callable[[str, str, str], object]) -> None:
    """By itself, and back without building."""
    first = docker("image", "inspect", "--format", "{{.Id}}", base)
    move(base, project.image, "two")
    project.becomes("two")
    builds = len(project.builds())
    assert project.builds()[0]["asked_by"] == "change"
    assert project.builds()[0]["cause"] == f"base {base}"
    docker("tag", first, base)
    project.becomes("one")
    project.rest()
    assert len(project.builds()) == builds


@waiting
def test_a_run_waits_for_the_build_on_a_base_that_has_moved(project: Project, base: str) -> None:
    """Which it learns of from the engine, when that has answered whoever moved it."""
    for word in ("two", "three"):
        new = renew(base, project.image, word, tag=False)
        docker("tag", new, base)
        assert project.run() == word


def test_a_base_that_is_removed_changes_nothing(project: Project, base: str) -> None:
    """It is not pulled, and what is built on it serves."""
    project.rest()
    docker("image", "rm", "--force", base)
    project.rest()
    assert project.run() == "one"
    assert project.house.run([project.tool]).stderr == b""
    renew(base, project.image, "two")
    project.becomes("two")


def test_names_that_dx_gives_are_no_news(project: Project) -> None:
    """Not even to a tool that is built on its own build before."""
    project.put("Dockerfile", f'FROM dx/{project.tool}\nCOPY word /word\nENTRYPOINT ["cat", "/word"]\n')
    project.put("word", "second\n")
    project.becomes("second")
    project.rest()
    builds = len(project.builds())
    project.rest()
    assert len(project.builds()) == builds


def test_what_no_event_tells_of_is_found(project: Project) -> None:
    """A file of the context that is another name of one outside, which is written there; a write through a mapping."""
    outside = project.path.with_name("outside")
    os.link(project.path / "word", outside)
    project.rest()
    outside.write_text("second\n")
    project.becomes("second")
    with outside.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        project.rest()
        mapped[:6] = b"thirds"
        project.becomes("thirds")


@pytest.fixture
def few_watches(house: House) -> Iterator[None]:
    """Its daemon may watch no more than a handful of directories: the limit of a user namespace, which is its alone."""
    house.stop()
    limited = f"echo 4 > /proc/sys/user/max_inotify_watches && exec {house.bin / 'dxd'}"
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "sh", "-c", limited], **house.options({})
    ) as process:
        try:
            until(lambda: house.daemon, "it listens")
            yield
        finally:
            process.terminate()


def test_what_cannot_be_watched_is_told_of_and_followed(project: Project, few_watches: None) -> None:
    """By `dx status` and `dx doctor`, with what helps; a build that failed is told of by both."""
    house = project.house
    project.write("second", broken=True)
    until(lambda: len(project.builds()) == 2, "it is found by looking", deadline_s=BUILD_S)
    project.ended("failed")
    shown, doctor = house.dx(["status"]).stdout.decode(), house.dx(["doctor"]).stdout.decode()
    for each in (shown, doctor):
        assert f"changes of {project.path} are found late" in each
        assert f"{project.tool}: its new build failed" in each
    assert "sysctl fs.inotify.max_user_watches=" in doctor
    project.write("third")
    project.becomes("third")


def given_up(project: Project) -> bool:
    """Whether a build was, because its files had changed."""
    return any("changed before they were sent" in each["error"] for each in project.builds())


@pytest.mark.parametrize("builder", ["api", "buildx"])
def test_a_file_that_changes_between_looking_and_sending(
    engine: Forwarder, image: str, builder: str, tmp_path: Path
) -> None:
    """Nothing is built of it under the other content's name, so that going back to that builds what it says."""
    environ = with_buildx(tmp_path) if builder == "buildx" else {}
    with House(ME, **environ, DOCKER_HOST=engine.address) as house:
        project = Project(house, image)
        try:
            (project.path / "filling").write_bytes(bytes(FILLING_BYTES))
            assert project.run() == "first"
            caught, release = engine.hold("/grpc" if builder == "buildx" else "/build?")
            project.write("second")
            assert caught.wait(BUILD_S)
            with (project.path / "word").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                mapped[:6] = b"silent"
                release()
                until(lambda: given_up(project), "it is given up", deadline_s=BUILD_S)
            project.becomes("silent")
            project.write("second")
            project.becomes("second")
            tidy(project)
        finally:
            project.close()
