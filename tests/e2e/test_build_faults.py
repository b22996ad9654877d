"""What is wrong with a Dockerfile, its context or its build: the build before serves, and the message says what to do.

Afterwards no image without a name is left, no container of one, and nothing runs in the engine.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, Project, waiting
from tests.e2e.rig import is_stopped, stop_process
from tests.house import ME, PEOPLE, Forwarder, House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

TEXT = "some words of which there are very many in this log, and then some more of them"
LIMIT = "[daemon]\nbuild_limit_s = 3\n"
PEAK_BYTES = 64 << 20
"""What a build may add to the daemon's memory: some MiB of the context, the log's 4, and what Python keeps."""


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


def peak_bytes(house: House) -> int:
    """The most memory that the daemon had so far."""
    lines = Path(f"/proc/{house.daemon}/status").read_text(encoding="ascii").splitlines()
    return int(next(each for each in lines if each.startswith("VmHWM:")).split()[1]) * 1024


def steps(project: Project, *lines: str) -> None:
    """Replace the Dockerfile."""
    whole = (f"FROM {project.image}", "COPY word /word", *lines, 'ENTRYPOINT ["cat", "/word"]\n')
    project.put("Dockerfile", "\n".join(whole))


def tidy(project: Project) -> None:
    """See that nothing half made is left."""
    until(project.is_tidy, "nothing is left of it", deadline_s=BUILD_S)


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


@waiting
def test_a_large_context(project: Project) -> None:
    """Is told of by its biggest entries, sent as it is read, and built."""
    before = peak_bytes(project.house)
    (project.path / "data").mkdir()
    with (project.path / "data/huge").open("wb") as file:
        file.truncate(1200 << 20)
    project.house.own(project.path / "data")
    project.house.own(project.path / "data/huge")
    project.write("second")
    assert project.run() == "second"
    log = project.log(project.ended("good"))
    assert "the build context has 1200 MiB: data/huge (1200 MiB)" in log
    assert ".dockerignore" in log
    assert peak_bytes(project.house) - before < PEAK_BYTES


def test_a_huge_context_can_be_given_up(project: Project) -> None:
    """While it is read and while it is sent; a daemon that is told to stop does not wait for it."""
    huge = project.path / "huge"
    with huge.open("wb") as file:
        file.truncate(10 << 30)
    project.house.own(huge)
    with project.house.popen(["add", project.tool, "--build", str(project.path), "--yes"]) as adding:
        until(lambda: reads(project.house, huge), "it is read")
        adding.send_signal(signal.SIGINT)
        assert adding.wait(10) in {130, -signal.SIGINT}
    until(lambda: reads(project.house, huge), "the daemon reads it for itself")
    project.house.stop()  # in no more than DEADLINE_S, which reading it would take
    project.still()
    before = peak_bytes(project.house)
    until(lambda: project.builds()[0]["result"] is None, "it is being sent", deadline_s=120)
    until(lambda: "10240 MiB" in project.log(project.builds()[0]), "the log says how large it is")
    huge.unlink()
    project.write("second")
    project.becomes("second")
    assert peak_bytes(project.house) - before < PEAK_BYTES
    assert [each["result"] for each in project.builds()] == ["good", "cancelled", "good"]
    tidy(project)


def reads(house: House, file: Path) -> bool:
    """Whether the daemon has the file open."""
    for each in Path(f"/proc/{house.daemon}/fd").glob("*"):
        try:
            if os.readlink(each) == str(file):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("house", PEOPLE[-1:], indirect=True, ids=[PEOPLE[-1].name])
@pytest.mark.parametrize("kind", ["file", "directory"])
@waiting
def test_what_cannot_be_read(project: Project, kind: str) -> None:
    """Is named, and costs nothing where it is kept out; when it can be read it is built without an edit."""
    closed = project.path / "closed"
    closed.touch() if kind == "file" else closed.mkdir()
    project.house.own(closed)
    closed.chmod(0)
    project.write("second")
    project.still("first", str(closed), "Permission denied", ".dockerignore")
    project.put(".dockerignore", "closed\n")
    assert project.run() == "second"
    project.put(".dockerignore", "nothing\n")
    project.still("second", str(closed))
    closed.chmod(0o755)
    until(lambda: len(project.builds()) == 3, "it is built", deadline_s=BUILD_S)
    project.ended("good")
    project.still("second")
    tidy(project)


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


def test_a_file_saved_a_hundred_times(project: Project) -> None:
    """In five seconds: a handful of builds, as the edits come to rest for a moment, and the last content wins."""
    for number in range(100):
        project.put("word", f"{number}\n")
        time.sleep(0.05)  # the pace of the edits
    project.becomes("99")
    project.rest()
    assert len(project.builds()) <= 6
    tidy(project)


def test_a_dockerfile_written_in_pieces(project: Project) -> None:
    """What half of it amounts to never serves for long, nor without having been tried."""
    text = f'FROM {project.image}\nRUN echo second > /word\nENTRYPOINT ["cat", "/word"]\n'
    with (project.path / "Dockerfile").open("w") as file:
        for at in range(0, len(text), 8):
            file.write(text[at : at + 8])
            file.flush()
            done = project.house.run([project.tool])
            assert done.returncode in {0, 126, 127}, done
    project.becomes("second")
    tidy(project)


def test_names_and_things_of_every_kind(project: Project) -> None:
    """In a context: they are sent or left out as by Docker itself, and what is among them is followed."""
    here = project.path
    os.mkfifo(here / "fifo")
    (here / "loop").symlink_to("loop")
    (here / "up").symlink_to("..")
    (here / "nowhere").symlink_to("/nowhere")
    (here / os.fsdecode(b"caf\xe9 \xff")).write_text("bytes")
    (here / ("x" * 255)).write_text("long")
    deep = here
    for _ in range(14):
        deep /= "d" * 200
        deep.mkdir()
    (here / "was").mkdir()
    (here / "was/file").write_text("file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(here / "s"))
        steps(project, "COPY . /all/", "RUN ls /all > /word")
        until(lambda: "loop" in project.run(), "it is built", deadline_s=BUILD_S)
    seen = set(project.run().split("\n"))
    assert {"loop", "up", "nowhere", "x" * 255, "d" * 200, "was"} <= seen
    assert not {"fifo", "s"} & seen
    (here / "was").rename(here / "is")
    (here / "was").symlink_to("is")
    until(lambda: "is" in project.run().split("\n"), "it is followed", deadline_s=BUILD_S)
    (deep / "new").write_text("new")
    until(lambda: len(project.builds()) == 4, "it is followed to the bottom", deadline_s=BUILD_S)
    project.ended("good")
    tidy(project)


def test_a_daemon_that_misses_what_happens(project: Project) -> None:
    """It did not run while more changed than the kernel remembers for it."""
    pid = project.house.daemon
    assert pid is not None
    stop_process(pid)
    until(lambda: is_stopped(pid), "it is stopped")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(limit // 2 + 100):  # two events each
        (project.path / f"file{number % 100}").write_text("")
    project.write("second")
    os.kill(pid, signal.SIGCONT)
    project.becomes("second")
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
