"""What is wrong with a Dockerfile, its context or its build: the build before serves, and the message says what to do.

Afterwards no image without a name is left, no container of one, and nothing runs in the engine.
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, PEAK_BYTES, Project, peak_bytes, steps, tidy, waiting
from tests.house import ME, Forwarder, House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

TEXT = "some words of which there are very many in this log, and then some more of them"
LIMIT = "[daemon]\nbuild_limit_s = 3\n"


@pytest.fixture
def limited(project: Project) -> Project:
    """One whose daemon gives builds three seconds."""
    with project.house.file.open("a") as file:
        file.write(LIMIT)
    project.house.stop()
    return project


def processes(word: str) -> list[str]:
    """Those of this machine, so of the engine's builds too, that have the word as an argument."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"\0{word}\0" in (each / "cmdline").read_text(errors="replace"):
                found.append(each.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("what", ["exec sleep {}", "yes {}"], ids=["silent", "endless output"])
@waiting
def test_a_build_that_does_not_end(limited: Project, what: str) -> None:
    """Is ended in the engine at the limit; its log is kept, and it is not tried again by itself."""
    word = str(secrets.randbelow(10**9) + 10**9)
    before = limited.images()
    steps(limited, f"RUN {what.format(word)}")
    limited.still("first", "took more than 3 s", "dx builds log")
    failed = limited.ended("failed")
    assert "took more than 3 s" in failed["error"]
    assert word in limited.log(failed)
    assert "took more than 3 s" in limited.log(failed)
    until(lambda: not processes(word), "the step has ended")
    assert limited.images() == before
    limited.rest()
    assert len(limited.builds()) == 2
    tidy(limited)


@waiting
def test_a_step_that_is_killed(project: Project) -> None:
    """As the kernel does it where memory runs out."""
    steps(project, "RUN sh -c 'kill -9 $$'; exit $?")  # not the first process itself, which nothing kills from inside
    project.still("first", "kill -9", "killed (exit code 137)", "memory")
    tidy(project)


@waiting
def test_a_log_of_a_gigabyte(project: Project) -> None:
    """BuildKit cuts what a step prints, and says so; what is left is kept."""
    before = peak_bytes(project.house)
    flood = [f"RUN yes '{number} {TEXT}' | head -c 150000000" for number in range(7)]
    steps(project, f"ENV N={secrets.token_hex(4)}", *flood, "RUN echo the end; false")
    project.still("first", "the end")
    log = project.log(project.ended("failed"))
    assert len(log) < 5 << 20
    assert log.index(f"0 {TEXT}") < log.index("clipped") < log.index("the end")
    assert peak_bytes(project.house) - before < PEAK_BYTES


def test_a_long_log_of_the_classic_builder(image: str, tmp_path: Path) -> None:
    """Which cuts nothing: of 200 MB the daemon leaves out the middle, and says so."""
    with Forwarder(tmp_path / "e", ME) as engine, House(ME, DOCKER_HOST=engine.address) as house:
        project = Project(house, image, on_change="'wait'")
        try:
            assert project.run() == "first"
            before = peak_bytes(house)
            engine.refuse(b"version=2", "buildkit is only supported with experimental mode")
            steps(
                project, f"ENV N={secrets.token_hex(4)}", f"RUN yes '{TEXT}' | head -c 200000000; echo the end; false"
            )
            project.still("first", "the end")
            log = project.log(project.ended("failed"))
            assert 3 << 20 < len(log) < 5 << 20
            assert log.index(TEXT) < log.index("bytes are left out here") < log.index("the end")
            assert peak_bytes(house) - before < PEAK_BYTES
            tidy(project)
        finally:
            project.close()


@pytest.fixture
def base(project: Project) -> Iterator[str]:
    """Another name for the image that it is built on."""
    name = f"dx-test-base-{secrets.token_hex(4)}:1"
    docker("tag", project.image, name)
    yield name
    if docker("image", "ls", "--quiet", name):
        docker("image", "rm", name)


@waiting
def test_a_base_that_has_vanished(project: Project, base: str) -> None:
    """Is told of by name; when it is there again it is built on, without an edit."""
    project.image = base
    project.write("second")
    assert project.run() == "second"
    docker("image", "rm", base)
    project.write("third")
    project.still("second", base, "cannot be pulled")
    docker("tag", "dx-test-busybox:latest", base)
    until(lambda: project.builds()[0]["asked_by"] == "change", "it is built", deadline_s=BUILD_S)
    project.ended("good")
    project.still("third")
    tidy(project)


@pytest.mark.parametrize("how", ["its names", "the image", "a name moved"])
def test_an_image_that_is_removed_by_hand(project: Project, how: str) -> None:
    """The next run builds it again and says nothing but what the tool prints."""
    if how == "a name moved":
        (mark,) = (tag for tag in project.tags() if tag.startswith("is-"))
        docker("tag", project.image, f"dx/{project.tool}:{mark}")
    else:
        if how == "the image":
            project.house.dx(["stop", "--all"])
        docker("image", "rm", "--force", *(f"dx/{project.tool}:{tag}" for tag in project.tags()))
    assert project.run() == "first"
    assert project.run() == "first"
    tidy(project)


@waiting
def test_two_edits_during_a_build(project: Project) -> None:
    """Each ends the build before it; who waits gets the last."""
    steps(project, f"ENV N={secrets.token_hex(4)}", "RUN sleep 2")
    with project.house.popen(["run", project.tool], stdout=subprocess.PIPE) as run:
        for number in (2, 3):
            until(lambda: len(project.builds()) == number, "it is begun", deadline_s=BUILD_S)  # noqa: B023
            until(lambda: "sleep 2" in project.log(project.builds()[0]), "it is at it")
            project.put("word", f"word {number}\n")
        out, _ = run.communicate(timeout=BUILD_S)
    assert out == b"word 3\n"
    assert [each["result"] for each in project.builds()] == ["good", "cancelled", "cancelled", "good"]
    tidy(project)


@waiting
def test_a_failed_build_whose_dockerfile_is_deleted(project: Project) -> None:
    """It is the missing file that is told of then; with the old one back all is well, and nothing is built."""
    old = (project.path / "Dockerfile").read_text()
    steps(project, "RUN false")
    project.still("first", "RUN false")
    (project.path / "Dockerfile").unlink()
    project.still("first", "there is no Dockerfile", "create it")
    project.put("Dockerfile", old)
    project.still("first")
    assert project.house.dx(["ls"]).stderr == b""
    assert [each["result"] for each in project.builds()] == ["failed", "good"]
    tidy(project)


@waiting
def test_whoever_waits_goes_away(project: Project) -> None:
    """The build is ended, and then made without them."""
    steps(project, f"ENV N={secrets.token_hex(4)}", "RUN sleep 2")
    project.put("word", "second\n")
    with project.house.popen(["run", project.tool], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        until(lambda: len(project.builds()) == 2, "it is begun", deadline_s=BUILD_S)
        run.kill()
    until(lambda: len(project.builds()) == 3, "it is begun again", deadline_s=BUILD_S)
    assert project.ended("good")["asked_by"] == "change"
    assert [each["result"] for each in project.builds()] == ["good", "cancelled", "good"]
    assert project.run() == "second"
    tidy(project)


@pytest.fixture
def full(project: Project) -> Iterator[Path]:
    """The daemon's state directory, on a file system of its own of which nothing is left."""
    project.house.stop()
    state = project.house.state
    sudo = [] if ME.uid == 0 else ["sudo", "-n"]
    options = f"size=1m,uid={ME.uid},gid={ME.gid},mode=0700"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "dx-test", state], check=True, timeout=60)
    try:
        filler = state / "filler"
        with suppress(OSError), filler.open("wb", 0) as file:
            while file.write(bytes(4096)):
                pass
        yield filler
        project.house.stop()
    finally:
        subprocess.run([*sudo, "umount", state], check=True, timeout=60)


@waiting
def test_a_full_state_directory(full: Path, project: Project) -> None:
    """Costs history and logs for as long as it is full, and nothing else."""
    for word in ("second", "third"):
        project.write(word)
        assert project.run() == word
    steps(project, "RUN false")
    project.still("third", "RUN false")
    assert [each["result"] for each in project.builds()] == ["failed", "good", "good"]
    done = project.house.dx(["builds", "log", str(project.builds()[0]["id"])])
    assert (done.returncode, done.stderr.count(b"\n")) == (125, 1)
    assert b"has no log" in done.stderr
    full.unlink()
    project.write("fourth")
    assert project.run() == "fourth"
    project.house.stop()
    assert [each["result"] for each in project.builds()] == ["good", "failed", "good", "good"]
    assert "COPY word" in project.log(project.builds()[0])
    assert "Traceback" not in project.house.log
    tidy(project)
