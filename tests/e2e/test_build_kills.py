"""The daemon is killed at any moment of a build, a promotion, a rollback or a prune: it is done or undone after."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from tests.e2e.project import BUILD_S, Project
from tests.fakes.real_buildx import with_buildx
from tests.house import DEADLINE_S, ME, Forwarder, House
from tests.waiting import until

pytestmark = pytest.mark.timeout(400)

BUILD = ["/build?", "/containers/create", "/start"]
"""Requests to the engine on the way of a build: itself, and the container of its trial."""
PROMOTION = ["/tag?", "tag=latest", "tag=is-"]
"""The first is that of its digest."""
ROLLBACK = ["tag=at-", "tag=latest", "tag=is-"]
PRUNE = ["/images/json", "/system/df", "DELETE /"]
ROUNDS = 15
SEED = 4


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Forwarder]:
    """The machine's, by a way on which requests can be caught."""
    with Forwarder(tmp_path / "e", ME) as engine:
        yield engine


@pytest.fixture
def house(request: pytest.FixtureRequest, engine: Forwarder, image: str, tmp_path: Path) -> Iterator[House]:
    more = with_buildx(tmp_path) if getattr(request, "param", "") == "buildx" else {}
    with House(ME, DOCKER_HOST=engine.address, **more) as house:
        yield house


def converges(project: Project, word: str) -> None:
    """The word serves in the end, one of those before until then, and nothing else is left."""
    project.becomes(word)
    until(project.is_tidy, "nothing half made is left", deadline_s=BUILD_S)
    assert len([tag for tag in project.tags() if tag.startswith("is-")]) == 1
    assert "Traceback" not in project.house.log


POINTS = [
    pytest.param(at, answered, (number + answered) % 2 == 1, id=f"{'after' if answered else 'before'} {at}")
    for number, at in enumerate([*BUILD, *PROMOTION])
    for answered in (False, True)
]


@pytest.mark.parametrize(("at", "answered", "edited"), POINTS)
def test_a_daemon_killed_at_a_point(project: Project, engine: Forwarder, at: str, answered: bool, edited: bool) -> None:
    """Before the engine is asked, or when it has done it and nobody knows; half the time with an edit meanwhile."""
    caught = engine.trap(at, answered=answered)
    project.write("second")
    assert caught.wait(DEADLINE_S), at
    project.house.stop(signal.SIGKILL)
    if edited:
        project.write("third")
    assert project.run() in {"first", "second"}
    converges(project, "third" if edited else "second")


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ROLLBACK)
def test_a_daemon_killed_at_a_rollback(project: Project, engine: Forwarder, at: str, answered: bool) -> None:
    """The build that is pinned is the one that serves, and none is where nobody had come so far."""
    project.write("second")
    project.becomes("second")
    caught = engine.trap(at, answered=answered)
    with project.house.popen(["rollback", project.tool], stdout=DEVNULL, stderr=DEVNULL) as going:
        assert caught.wait(DEADLINE_S), at
        project.house.stop(signal.SIGKILL)
        going.wait(DEADLINE_S)
    pinned = any(tag.startswith("at-") for tag in project.tags())
    assert pinned is (at != ROLLBACK[0] or answered)
    project.house.start()
    converges(project, "first" if pinned else "second")
    assert [each["pinned"] for each in project.builds()] == [False, pinned]
    assert project.house.dx(["unpin", project.tool]).returncode == 0
    converges(project, "second")


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", PRUNE)
def test_a_daemon_killed_at_prune(project: Project, engine: Forwarder, at: str, answered: bool) -> None:
    """What serves stays; what was to go goes with the next prune."""
    for word in ("second", "third"):
        project.write(word)
        project.becomes(word)
    project.house.define(project.house.file.read_text() + "[daemon]\nkeep_builds = 1\n")
    project.house.stop()
    caught = engine.trap(at, answered=answered)
    with project.house.popen(["prune"], stdout=DEVNULL, stderr=DEVNULL) as pruning:
        assert caught.wait(DEADLINE_S)
        project.house.stop(signal.SIGKILL)
        pruning.wait(DEADLINE_S)
    assert project.run() == "third"
    assert project.house.dx(["prune"]).returncode == 0
    assert len(set(project.images())) == 1
    converges(project, "third")


@pytest.mark.parametrize("house", ["api", "buildx"], indirect=True)
def test_a_daemon_killed_at_random_moments(project: Project) -> None:
    """Of builds that go on one after the other, some broken, and of prunes beside them."""
    dice = random.Random(SEED)
    good = {"first"}
    for number in range(ROUNDS):
        broken = number % 5 == 4
        project.write(f"word {number}", broken=broken)
        with project.house.popen(["prune"], stdout=DEVNULL, stderr=DEVNULL) as pruning:
            time.sleep(dice.uniform(0, 1.2))  # a moment of the build, of which any may be the daemon's last
            project.house.stop(signal.SIGKILL)
            pruning.wait(DEADLINE_S)
        good |= set() if broken else {f"word {number}"}
        assert project.run() in good
    project.write("last")
    converges(project, "last")
    assert not list(project.house.runtime.glob("builds/*"))
