"""Which images dx removes: those that it made and nothing needs, and none that somebody made of them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project
from tests.fakes.real_buildx import with_buildx
from tests.house import BUSYBOX, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=["classic", "buildx"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables that have `docker build` use it."""
    return with_buildx(tmp_path) if request.param == "buildx" else {"DOCKER_BUILDKIT": "0"}


def build(builder: dict[str, str], text: str, *options: str) -> str:
    """The id of an image that somebody makes by hand."""
    done = subprocess.run(
        ["docker", "build", "--quiet", *options, "-"],
        input=text.encode(), capture_output=True, env={**os.environ, **builder}, timeout=BUILD_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def children(project: Project, builder: dict[str, str]) -> dict[str, str]:
    """Images that somebody builds on the tool's, by what they are: they have all of its labels."""
    mine = f"{project.tool}-mine"
    base = f"FROM dx/{project.tool}\n"
    return {
        "tagged": build(builder, base + "ENV MINE=1\n", "--tag", f"{mine}:1", "--tag", f"{mine}:2"),
        "in dx's own repository": build(builder, base + "ENV MINE=2\n", "--tag", f"dx/{project.tool}:mine"),
        "without a tag": build(builder, base + "ENV MINE=3\n"),
        "with labels alone": build(builder, base, "--label", "mine=4"),
    }


def keep_one(project: Project) -> None:
    """Have a prune leave only what serves."""
    project.house.define(project.house.file.read_text() + "[daemon]\nkeep_builds = 1\n")
    project.house.stop()


def edits(project: Project, *words: str) -> None:
    """Have builds come after those that there are."""
    for word in words:
        project.write(word)
        project.becomes(word)


def test_images_that_are_built_on_a_build_stay(project: Project, builder: dict[str, str]) -> None:
    """Whatever becomes of that: through prunes, starts of the daemon, and builds that end badly."""
    theirs = children(project, builder)
    keep_one(project)
    edits(project, "second", "third")
    project.write("broken", broken=True)
    project.ended("failed")
    project.house.stop(signal.SIGKILL)
    assert project.run() == "third"
    project.rest()  # images without a place are looked for by then
    assert project.house.dx(["prune"]).returncode == 0
    left = set(project.images())
    assert {what: image in left for what, image in theirs.items()} == dict.fromkeys(theirs, True)
    assert set(docker("image", "ls", "--format", "{{.Tag}}", f"{project.tool}-mine").split()) == {"1", "2"}
    assert "mine" in project.tags()
    assert len(left - set(theirs.values())) == 1


def test_a_name_that_somebody_gave_a_build_stays(project: Project) -> None:
    """With the image; the names that dx gave it go."""
    name = f"{project.tool}-kept:1"
    image = docker("image", "inspect", "--format", "{{.Id}}", f"dx/{project.tool}")
    docker("tag", image, name)
    docker("tag", image, f"dx/{project.tool}:kept")
    keep_one(project)
    edits(project, "second")
    assert project.house.dx(["prune"]).returncode == 0
    assert docker("image", "inspect", "--format", "{{.RepoTags}}", image) == f"[dx/{project.tool}:kept {name}]"
    assert docker("run", "--rm", "--network", "none", name) == "first"
    docker("image", "rm", name)


def test_a_build_that_a_container_has_stays(project: Project) -> None:
    """Also where that is nobody's of dx, and does not run."""
    image = docker("image", "inspect", "--format", "{{.Id}}", f"dx/{project.tool}")
    container = docker("create", "--network", "none", f"dx/{project.tool}")
    try:
        keep_one(project)
        edits(project, "second")
        assert project.house.dx(["prune"]).returncode == 0
        assert image in project.images()
    finally:
        docker("rm", container)
    assert project.house.dx(["prune"]).returncode == 0
    assert image not in project.images()


def test_an_image_that_has_the_name_of_a_build_by_hand_is_none(project: Project) -> None:
    """It was never tried: the build takes its name back, and serves."""
    project.write("second")
    project.becomes("second")
    digest = project.builds()[0]["digest"]
    project.write("third")
    project.becomes("third")
    docker("tag", project.image, f"dx/{project.tool}:{digest[:12]}")
    project.write("second")
    project.becomes("second")
    assert (
        docker(
            "image",
            "inspect",
            "--format",
            '{{index .Config.Labels "dev.dx.build"}}',
            f"dx/{project.tool}:{digest[:12]}",
        )
        == digest
    )


def test_old_builds_go_by_themselves(project: Project) -> None:
    """When a new one serves: images, logs and what history has of them, broken ones too, and the log says so."""
    keep_one(project)
    edits(project, "second")
    project.write("broken", broken=True)
    project.ended("failed")
    edits(project, "third")
    until(lambda: len(set(project.images())) == 1, "the old images are gone", deadline_s=BUILD_S)
    until(lambda: len(project.builds()) == 2, "so is the history", deadline_s=BUILD_S)
    assert [each["result"] for each in project.builds()] == ["good", "failed"]
    assert len(list(project.house.state.glob("builds/*.log"))) == 2
    assert "old builds are removed" in project.house.log
    assert project.run() == "third"


def test_an_old_build_that_a_run_still_has_goes_soon_after_that(project: Project) -> None:
    keep_one(project)
    with project.house.popen(["run", project.tool, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"first\n"
        edits(project, "second")
        until(lambda: len(project.builds()) == 1, "history has let go of the first")
        assert len(set(project.images())) == 2
        running.communicate()
    until(lambda: len(set(project.images())) == 1, "the old image is gone", deadline_s=BUILD_S)


def test_what_is_locked_is_kept(project: Project) -> None:
    """Though another build serves, for whoever has the lock."""
    shutil.copy(BUSYBOX, project.path)
    lines = ("FROM scratch", "COPY busybox /bin/busybox", "COPY word /", 'ENTRYPOINT ["/bin/busybox", "cat", "/word"]')
    project.put("Dockerfile", "\n".join(lines))
    project.put("word", "locked\n")
    project.becomes("locked")
    assert project.house.dx(["lock"]).returncode == 0
    locked = project.builds()[0]["image_id"]
    keep_one(project)
    for word in ("second", "third"):
        project.put("word", f"{word}\n")
        project.becomes(word)
    until(lambda: len(set(project.images())) == 2, "what is neither goes", deadline_s=BUILD_S)
    assert locked in project.images()


def test_the_builds_of_a_tool_that_is_no_more_go_in_their_time(project: Project) -> None:
    """What served too; while the tool is there that stays, however old it is."""
    project.house.define(project.definition() + "[daemon]\nkeep_days = 0\n")
    project.house.stop()
    assert project.house.dx(["prune"]).returncode == 0
    assert len(set(project.images())) == 1
    project.house.define("[daemon]\nkeep_days = 0\n")
    assert project.house.dx(["stop", "--all"]).returncode == 0
    assert project.house.dx(["prune"]).returncode == 0
    assert (project.images(), project.builds()) == ([], [])
