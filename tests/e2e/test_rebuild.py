"""Images that follow their Dockerfiles: edits, broken ones, going back, and what dies in between."""

import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, Self

import pytest

from dx import Client
from tests.e2e.project import BUILD_S, PEAK_BYTES, Project, peak_bytes, waiting
from tests.house import House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

RUNNERS = 4
ROLLBACK_S = 5.0
"""Generous: it takes some milliseconds, which tests/bench measures, and other tests may have the processors."""


class Load:
    """Runs of a tool, some at a time, from beginning to end; none may fail or print what nobody built."""

    def __init__(self, project: Project, words: tuple[str, ...]) -> None:
        """Each run prints something that begins with one of the words."""
        self.runs = 0
        self._project = project
        self._words = tuple(each.encode() for each in words)
        self._failed: list[Any] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(RUNNERS)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()
        if kind is None:
            assert not self._failed, self._failed[0]

    def turns(self) -> None:
        """Wait until some more runs have ended."""
        target = self.runs + RUNNERS
        until(lambda: self.runs >= target or self._failed, "runs end")

    def _run(self) -> None:
        while not self._stop.is_set():
            done = self._project.house.run([self._project.tool], timeout=BUILD_S)
            if done.returncode or not done.stdout.startswith(self._words):
                self._failed.append(done)
            self.runs += 1


def test_an_edit_is_built_and_served_without_being_asked(project: Project) -> None:
    """Runs take the old build until the new one is ready, and no run has to come for that."""
    project.write("second")
    until(
        lambda: len(project.builds()) == 2 and project.builds()[0]["result"] == "good",
        "it is built",
        deadline_s=BUILD_S,
    )
    assert project.run() == "second"
    latest = project.builds()[0]
    assert latest["asked_by"] == "change"
    assert "word" in latest["cause"]
    assert latest["current"]


@waiting
def test_the_next_run_waits_for_the_new_build(project: Project) -> None:
    """Each time, and without building what is there already."""
    for word in ("second", "third", "second", "first"):
        project.write(word)
        assert project.run() == word
    assert len(project.builds()) == 3


def test_the_desktop_is_told(house: House, image: str) -> None:
    """By notify-send, where there is one."""
    told = house.root / "told"
    program = house.root / "n" / "notify-send"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {told}\n')
    program.chmod(0o755)
    house.env["PATH"] = f"{program.parent}:{house.env['PATH']}"
    project = Project(house, image)
    try:
        assert project.run() == "first"
        project.write("broken", broken=True)
        until(told.exists, "somebody was told", deadline_s=BUILD_S)
        until(lambda: "dx builds log" in told.read_text(), "of the log")
        assert f"The build of {project.tool} failed" in told.read_text()
    finally:
        project.close()


def test_a_broken_build_leaves_the_one_before(project: Project) -> None:
    """Which says so once in a terminal; the mended one serves at once."""
    project.write("broken", broken=True)
    until(lambda: project.builds()[0]["result"] == "failed", "it fails", deadline_s=BUILD_S)
    said = [project.house.run([project.tool]) for _ in range(3)]
    assert [each.stdout for each in said] == [b"first\n"] * 3
    assert project.tool.encode() in said[0].stderr
    assert b"dx builds log" in said[0].stderr
    assert said[0].stderr.count(b"\n") == 1
    assert [each.stderr for each in said[1:]] == [b"", b""]
    failed = project.builds()[0]
    log = project.house.dx(["builds", "log", str(failed["id"])]).stdout.decode()
    assert "RUN false" in log
    assert project.tool in project.house.dx(["ls"]).stderr.decode()
    project.write("mended")
    project.becomes("mended")
    assert project.house.run([project.tool]).stderr == b""
    assert len(set(project.images())) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "empty"), ("FROM\n", "Dockerfile"), ("FRM x\n", "Dockerfile:1"), (None, "there is no Dockerfile")],
    ids=["empty", "no base", "a misspelt instruction", "missing"],
)
@waiting
def test_a_bad_dockerfile(project: Project, text: str | None, said: str) -> None:
    """The one before serves, and the file is named."""
    if text is None:
        (project.path / "Dockerfile").unlink()
    else:
        project.put("Dockerfile", text)
    done = project.house.run([project.tool])
    assert (done.returncode, done.stdout) == (0, b"first\n")
    assert said.encode() in done.stderr
    project.write("mended")
    assert project.run() == "mended"


@pytest.mark.parametrize("project", [{"on_change": "'wait'", "smoke": "['-n']"}], indirect=True)
def test_a_build_that_does_not_do_what_it_is_tried_with(project: Project) -> None:
    """Never serves, and leaves no image."""
    before = project.images()
    project.put("Dockerfile", f'FROM {project.image}\nENTRYPOINT ["false"]\n')
    done = project.house.run([project.tool])
    assert (done.returncode, done.stdout) == (0, b"first\n")
    assert b"ended with status 1" in done.stderr
    assert project.images() == before


@pytest.mark.parametrize("project", [{"on_change": "'wait'", "smoke": "['-n']"}], indirect=True)
def test_a_trial_that_prints_without_end(project: Project) -> None:
    """Its last lines are told, and the rest costs nothing."""
    flood = 'yes "$(seq 50)" | head -c 300000000; echo the last; exit 1'
    project.put("Dockerfile", f'FROM {project.image}\nENTRYPOINT ["sh", "-c", {json.dumps(flood)}]\n')
    before = peak_bytes(project.house)
    done = project.house.run([project.tool])
    assert (done.returncode, done.stdout) == (0, b"first\n")
    assert peak_bytes(project.house) - before < PEAK_BYTES
    assert "the last" in project.log(project.ended("failed"))


def test_a_build_is_not_blamed_for_a_device_that_is_not_there(house: House, image: str) -> None:
    """It is tried again when that may have passed, and then serves."""
    device = Path(f"/dev/dx-{secrets.token_hex(4)}")
    null = os.stat("/dev/null")
    os.mknod(device, 0o666 | stat.S_IFCHR, null.st_rdev)
    try:
        project = Project(house, image, smoke="['-n']", devices=f"['{device}']")
        try:
            assert project.run() == "first"
            house.dx(["stop", "--all"])
            device.unlink()
            project.write("second")
            until(lambda: b"was broken off" in house.dx(["ls"]).stderr, "dx ls says why it does not follow")
            os.mknod(device, 0o666 | stat.S_IFCHR, null.st_rdev)
            project.becomes("second")
        finally:
            project.close()
    finally:
        device.unlink(missing_ok=True)


def test_from_a_clone_it_is_the_same_build(project: Project) -> None:
    """Nothing is built, wherever the files are and whenever they were written."""
    clone = project.path.parent / "clone"
    shutil.copytree(project.path, clone, symlinks=True)
    for each in (clone, *clone.iterdir()):
        project.house.own(each)
        os.utime(each, (1, 1))
    project.path = clone
    project.define()
    assert project.run() == "first"
    until(lambda: project.run() == "first" and len(project.builds()) == 1, "there is one build")


@pytest.mark.parametrize("project", [{"on_change": "'manual'"}], indirect=True)
def test_by_hand(project: Project) -> None:
    """Nothing is built until somebody asks."""
    project.rest()
    project.write("second")
    project.rest()
    assert project.run() == "first"
    done = project.house.dx(["add", project.tool, "--build", str(project.path), "--on-change", "manual", "--yes"])
    assert done.returncode == 0, done.stderr
    assert project.run() == "second"


def test_back_and_forth(project: Project) -> None:
    """An older build serves at once and stays, whatever is edited, until it is unpinned."""
    project.write("second")
    project.becomes("second")
    done = project.house.dx(["rollback", project.tool])
    assert done.returncode == 0, done.stderr
    assert project.run() == "first"
    project.write("third")
    project.rest()
    assert project.run() == "first"
    assert [each["pinned"] for each in project.builds()].count(True) == 1
    assert project.house.dx(["unpin", project.tool]).returncode == 0
    project.becomes("third")


def test_back_and_forth_under_load(project: Project) -> None:
    """With four runs at a time all the while: none fails, and each that begins after the rollback takes that build."""
    project.write("second")
    project.becomes("second")
    numbers = {word: build["id"] for word, build in zip(("second", "first"), project.builds(), strict=True)}
    client, times = Client(project.house.socket), []
    with Load(project, ("first", "second")) as load:
        for word in ("first", "second") * 10:
            load.turns()
            begun = time.monotonic()
            client.rollback(project.tool, numbers[word])
            times.append(time.monotonic() - begun)
            assert project.run() == word
    print(f"\n{load.runs} runs; rollback: median {median(times) * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms")
    assert max(times) < ROLLBACK_S


def test_no_run_fails_while_it_changes(project: Project) -> None:
    """Twenty edits, every other broken, with four runs at a time all the while."""
    with Load(project, ("first", "word")):
        for number in range(20):
            project.write(f"word {number}", broken=number % 2 == 0)
            time.sleep(0.3 + number % 3 * 0.3)  # the pace of the edits, some of which come while it builds
        until(lambda: project.run() == "word 19", "the last one serves", deadline_s=BUILD_S)


@waiting
@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
def test_a_run_that_comes_while_it_is_built_waits_for_that(project: Project, broken: bool) -> None:
    """Nobody has run it since the edit: what goes on was begun by the watcher."""
    more = "RUN false\n" if broken else ""
    before = project.builds()[0]["id"]
    project.put("word", "second\n")
    steps = f'RUN sleep 2\nCOPY word /word\n{more}ENTRYPOINT ["cat", "/word"]'
    project.put("Dockerfile", f"FROM {project.image}\n{steps}\n")
    until(lambda: project.builds()[0]["id"] > before, "it is being built", deadline_s=BUILD_S)
    if broken:
        project.still("first", "false", "the build before it serves")
    else:
        assert project.run() == "second"


def test_a_storm_of_changes(project: Project) -> None:
    """20,000 of them end in two builds at most."""
    before = len(project.builds())
    for number in range(20_000):
        (project.path / f"file{number % 100}").write_text(f"{number}")
    project.write("after")
    project.becomes("after")
    project.rest()
    # One that is given up as files changed before they were sent is none.
    assert len([each for each in project.builds() if each["result"] != "cancelled"]) - before <= 2


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.4, 0.8])
def test_a_daemon_that_dies_at_it(project: Project, after_s: float) -> None:
    """The old build serves, then the new one; nothing half made is left."""
    project.write("second")
    time.sleep(after_s)  # a moment of the build, of which any may be its last
    project.house.stop(signal.SIGKILL)
    assert project.run() in {"first", "second"}
    project.becomes("second")
    named = {docker("image", "inspect", "--format", "{{.Id}}", f"dx/{project.tool}:{tag}") for tag in project.tags()}
    until(lambda: set(project.images()) == named, "no image without a name is left", deadline_s=BUILD_S)
    assert all(each["result"] for each in project.builds())


def test_a_tool_that_is_built_on_another(house: House, image: str) -> None:
    """Follows it."""
    base = Project(house, image)
    top = Project(house, image)
    try:
        top.put("Dockerfile", f'FROM dx/{base.tool}\nCOPY word /mine\nENTRYPOINT ["cat", "/word", "/mine"]\n')
        house.define("".join(f"[tools.{each.tool}]\nbuild = '{each.path}'\nnetwork = 'none'\n" for each in (top, base)))
        assert top.run() == "first\nfirst"
        base.write("second")
        until(lambda: top.run() == "second\nfirst", "it follows", deadline_s=BUILD_S)
    finally:
        top.close()
        base.close()


def test_two_daemons_with_a_tool_of_one_name(project: Project, image: str) -> None:
    """Share what is the same, and neither moves nor removes what is the other's."""
    with House() as other:
        twin = Project(other, image)
        twin.tool = project.tool
        twin.define()
        assert twin.run() == "first"
        (found,) = twin.builds()  # which it has not made
        assert (found["cause"], found["duration_s"], found["current"]) == ("it was there already", None, True)
        for word in ("other", "another"):
            twin.write(word)
            twin.becomes(word)
        assert project.run() == "first"
        assert json.loads(project.house.dx(["prune", "--json"]).stdout)["images"] == 0
        assert json.loads(other.dx(["prune", "--json"]).stdout)["images"] == 0
        assert (project.run(), twin.run()) == ("first", "another")
        assert other.dx(["rollback", twin.tool]).returncode == 0  # to one that served neither at the time
        assert twin.run() == "other"
        other.dx(["stop", "--all"])


def test_prune_takes_what_nobody_needs(project: Project) -> None:
    """And never what serves, or is pinned."""
    for word in ("second", "third"):
        project.write(word)
        project.becomes(word)
    project.house.define(project.house.file.read_text() + "[daemon]\nkeep_builds = 1\n")
    project.house.stop()
    assert len(set(project.images())) == 3
    done = json.loads(project.house.dx(["prune", "--json"]).stdout)
    assert done["images"] == 2
    assert len(set(project.images())) == 1
    assert project.run() == "third"


def test_ctrl_c_of_an_add_ends_the_build_in_the_engine(house: House, image: str) -> None:
    """Nothing of it goes on, and the tool is not there."""
    place = Path(os.fsdecode(house.place("cancelled")))
    seconds = str(10_000 + secrets.randbelow(1_000_000))
    (place / "Dockerfile").write_text(f'FROM {image}\nRUN ["sleep", "{seconds}"]\n')
    child = house.popen(["add", "never", "--build", str(place)], stderr=subprocess.PIPE, start_new_session=True)
    until(lambda: _sleeps(seconds), "the build goes on", deadline_s=BUILD_S)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=BUILD_S)
    assert child.returncode == 130, err
    until(lambda: not _sleeps(seconds), "the build has ended")
    builds = json.loads(house.dx(["builds", "never", "--json"]).stdout)["builds"]
    assert [each["result"] for each in builds] == ["cancelled"]
    assert house.dx(["show", "never"]).returncode == 125


def _sleeps(seconds: str) -> bool:
    """Whether there is a process that sleeps so long, in whatever container."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if each.read_bytes().split(b"\0")[:-1][-2:] == [b"sleep", seconds.encode()]:
                return True
    return False
