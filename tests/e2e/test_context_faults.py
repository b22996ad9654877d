"""Build contexts that are huge, cannot be read, hold what is no file, or change all the time."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.project import BUILD_S, PEAK_BYTES, Project, peak_bytes, steps, tidy, waiting
from tests.e2e.rig import is_stopped, stop_process
from tests.house import PEOPLE, House
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


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


@pytest.mark.parametrize("house", PEOPLE[-1:], indirect=True, ids=[PEOPLE[-1].name])
@pytest.mark.parametrize("kind", ["closed", "closed above", "loop"])
@waiting
def test_a_context_that_cannot_be_entered(project: Project, kind: str) -> None:
    """The old build serves and the context is named; when it can be entered, it is built by itself."""
    project.write("second")
    aside = project.path.with_name("aside")
    if kind == "loop":
        project.path.rename(aside)
        project.path.symlink_to(project.path.name)
    closed = project.path.parent if kind == "closed above" else project.path
    if kind != "loop":
        closed.chmod(0)
    said = "symbolic links" if kind == "loop" else "Permission denied"
    try:
        project.still("first", f"cannot read {project.path}", said, "mend it")
    finally:
        if kind == "loop":
            project.path.unlink()
            aside.rename(project.path)
        else:
            closed.chmod(0o755)
    until(lambda: len(project.builds()) == 2, "it is built", deadline_s=BUILD_S)
    project.ended("good")
    project.still("second")
    tidy(project)


@waiting
def test_a_dockerfile_that_is_a_symlink(project: Project) -> None:
    """Is told of by the name that the user knows."""
    elsewhere = project.path.with_name("elsewhere")
    (project.path / "Dockerfile").rename(elsewhere)
    (project.path / "Dockerfile").symlink_to(elsewhere)
    project.still("first")
    elsewhere.write_text(f"FROM {project.image}\nRUM true\n")
    project.still("first", f"{project.path}/Dockerfile:2: ")
    assert ".Dockerfile" not in project.log(project.builds()[0])


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
