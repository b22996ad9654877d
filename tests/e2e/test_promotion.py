"""Which build serves, where people go back, and define tools anew, while one is made."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dx import Client
from tests.e2e.project import BUILD_S, Project, steps, tidy
from tests.fakes.private_engine import SUDO
from tests.house import BUSYBOX, ME, Forwarder, House
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


class Gate:
    """A step of a build that goes on until it is let go."""

    def __init__(self) -> None:
        self._seconds = str(secrets.randbelow(10**6) + 10**6)
        self.step = f"RUN sleep {self._seconds} || :"

    def is_reached(self) -> bool:
        """Whether a build is at the step."""
        return bool(sleepers(self._seconds))

    def reach(self) -> None:
        """Wait until one is."""
        until(self.is_reached, "the build is at its step", deadline_s=BUILD_S)

    def open(self) -> None:
        """Let the build go on, if it is still there."""
        if there := sleepers(self._seconds):
            subprocess.run([*SUDO, "kill", "-KILL", *there], capture_output=True, check=False)


def sleepers(seconds: str) -> list[str]:
    """The processes that sleep so long, in whatever container."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (each / "cmdline").read_bytes().split(b"\0")[:-1] == [b"sleep", seconds.encode()]:
                found.append(each.name)
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Forwarder]:
    """The machine's, by a way on which requests can be refused."""
    with Forwarder(tmp_path / "e", ME) as engine:
        yield engine


@pytest.fixture
def house(engine: Forwarder) -> Iterator[House]:
    with House(ME, DOCKER_HOST=engine.address) as house:
        yield house


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


def other(project: Project, word: str) -> Project:
    """Other files, from which the same tool may be built."""
    made = Project(project.house, project.image)
    made.tool = project.tool
    made.write(word)
    project.define()
    return made


def test_a_tool_that_is_defined_anew_while_it_is_built(project: Project, gate: Gate) -> None:
    """The build of what it was is given up, and never serves."""
    steps(project, gate.step, "RUN echo second > /word")
    gate.reach()
    there = other(project, "other")
    done = project.house.dx(["add", project.tool, "--build", str(there.path), "--network", "none", "--yes"])
    assert done.returncode == 0, done.stderr
    assert project.run() == "other"
    until(lambda: not gate.is_reached(), "the step has ended", deadline_s=BUILD_S)
    tidy(project)
    assert [each["result"] for each in project.builds()] == ["good", "cancelled", "good"]
    assert project.run() == "other"


@pytest.mark.parametrize("project", [{"on_change": "'wait'"}], indirect=True)
def test_a_run_after_an_edit_of_the_definition(project: Project, gate: Gate) -> None:
    """Waits for the build of that definition, and for none that goes on."""
    project.put(
        "Dockerfile", f'FROM {project.image}\nARG word=none\nRUN echo $word > /word\nENTRYPOINT ["cat", "/word"]\n'
    )
    assert project.run() == "none"
    steps(
        project, "ARG word=none", f"RUN [ $word != none ] || {gate.step.removeprefix('RUN ')}", "RUN echo $word > /word"
    )
    with project.house.popen(["run", project.tool], stdout=subprocess.PIPE) as waiting:
        gate.reach()
        text, plain = project.house.file.read_text(), f"build = '{project.path}'"
        assert plain in text
        project.house.define(
            text.replace(plain, f"build = {{ context = '{project.path}', args = {{ word = 'second' }} }}")
        )
        assert project.run() == "second"
        assert waiting.communicate(timeout=BUILD_S)[0] == b"second\n"


def test_two_who_define_a_tool(project: Project, gate: Gate) -> None:
    """The last one has its way; the other is told so, or has the same."""
    first, last = other(project, "of the first"), other(project, "of the last")
    steps(first, gate.step)
    words = ["add", project.tool, "--network", "none", "--yes", "--build"]
    with project.house.popen([*words, str(first.path)], stdout=subprocess.DEVNULL) as waiting:
        gate.reach()
        done = project.house.dx([*words, str(last.path)])
        assert done.returncode == 0, done.stderr
        assert waiting.wait(BUILD_S) == 0
    assert project.run() == "of the last"
    assert str(last.path) in project.house.file.read_text()


@pytest.mark.parametrize("project", [{"on_change": "'wait'", "smoke": "['-n']"}], indirect=True)
def test_a_run_that_comes_while_a_build_is_tried(project: Project) -> None:
    """Has what was written before it, and the trial of the build before that is given up."""
    slow = str(secrets.randbelow(10**6) + 10**6)
    script = f'FROM {project.image}\nENTRYPOINT ["sh", "-c", "[ \\"$1\\" != -n ] || exec sleep {slow}", "sh"]\n'
    project.put("Dockerfile", script)
    with project.house.popen(["run", project.tool], stdout=subprocess.PIPE) as waiting:
        until(lambda: sleepers(slow), "it is tried", deadline_s=BUILD_S)
        project.write("third")
        assert project.run() == "third"
        assert waiting.communicate(timeout=BUILD_S)[0] == b"third\n"
    tidy(project)


def test_a_check_of_the_lock_takes_no_change_away(project: Project) -> None:
    """What was edited just before is built all the same."""
    shutil.copy(BUSYBOX, project.path)
    text = 'FROM scratch\nCOPY busybox word /\nENTRYPOINT ["/busybox", "cat", "/word"]\n'
    project.put("Dockerfile", text)
    done = project.house.dx(["lock"])
    assert done.returncode == 0, done.stderr
    client = Client(project.house.socket)  # which is soon enough
    for word in ("second", "third", "fourth"):
        project.put("word", f"{word}\n")
        (*_, said) = client.lock(check=True)
        assert said["complaints"]
        project.becomes(word)


def test_an_image_that_goes_while_it_is_promoted(project: Project, engine: Forwarder) -> None:
    """Is promoted or built again without another edit, and the reason is told until then."""
    project.write("second")
    project.becomes("second")
    engine.refuse(b"tag=is-", "No such image", "404 Not Found")
    project.write("first")
    until(lambda: b"is gone" in project.house.run([project.tool]).stderr, "it is told", deadline_s=BUILD_S)
    project.becomes("first")
    assert project.house.run([project.tool]).stderr == b""


def test_the_way_back_after_files_went_back(project: Project) -> None:
    """Leads to what served just before, though that was built later, and from there to nothing."""
    project.write("second")
    project.becomes("second")
    project.write("first")
    project.becomes("first")
    assert len(project.builds()) == 2
    assert project.house.dx(["rollback", project.tool]).returncode == 0
    assert project.run() == "second"
    done = project.house.dx(["rollback", project.tool])
    assert b"has no build before this one" in done.stderr
    assert project.run() == "second"
    assert project.house.dx(["unpin", project.tool]).returncode == 0
    project.becomes("first")


def test_the_way_back_to_a_build_of_another_dx(project: Project) -> None:
    """It is listed, though it was not made here."""
    with House() as second:
        twin = Project(second, project.image)
        twin.tool = project.tool
        twin.define()
        assert twin.run() == "first"
        twin.write("theirs")
        twin.becomes("theirs")
        project.write("theirs")
        project.becomes("theirs")
        project.write("ours")
        project.becomes("ours")
        assert project.house.dx(["rollback", project.tool]).returncode == 0
        assert project.run() == "theirs"
        second.dx(["stop", "--all"])


@pytest.mark.parametrize("by_hand", [False, True], ids=["dx rm", "dx.toml"])
def test_a_pin_ends_with_its_tool(project: Project, by_hand: bool) -> None:
    """Another tool of that name begins anew; the builds stay."""
    project.write("second")
    project.becomes("second")
    assert project.house.dx(["rollback", project.tool]).returncode == 0
    if by_hand:
        project.house.define("")
    else:
        assert project.house.dx(["rm", project.tool]).returncode == 0
    until(lambda: not [each for each in project.tags() if each.startswith("at-")], "it is not pinned any more")
    there = other(project, "other")
    project.house.define("")
    done = project.house.dx(["add", project.tool, "--build", str(there.path), "--network", "none"])
    assert done.returncode == 0, done.stderr
    assert project.run() == "other"
    assert len(set(project.images())) == 3


def test_a_pinned_tool_that_is_to_follow(project: Project) -> None:
    """Says so, and how to have it follow; nothing is built, and its definition stays."""
    project.write("second")
    project.becomes("second")
    assert project.house.dx(["rollback", project.tool]).returncode == 0
    there = other(project, "other")
    for words in (["add", project.tool, "--build", str(there.path), "--yes"], ["upgrade", project.tool]):
        done = project.house.dx(words)
        assert done.returncode == 125
        assert b"is pinned" in done.stderr
        assert f"dx unpin {project.tool}".encode() in done.stderr
        assert b"up to date" not in done.stdout
    assert project.run() == "first"
    assert str(there.path) not in project.house.file.read_text()
    assert len(project.builds()) == 2
