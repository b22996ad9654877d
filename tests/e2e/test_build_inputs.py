"""What a build is made of is what it is named by, and every change of it is found, also one that nobody tells of."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project, tidy
from tests.fakes.real_buildx import with_buildx
from tests.house import ME, Forwarder, House
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

FILLING_BYTES = 32 << 20
"""Of a file that comes before the others: more than what is on its way to the engine at any moment."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Forwarder]:
    """The engine by way of a socket that can hold requests."""
    with Forwarder(tmp_path / "e", ME) as made:
        yield made


def write_silently(path: Path, text: str) -> None:
    """Change a file through a mapping and without closing it, of which the kernel tells nobody."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[: len(text)] = text.encode()


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
