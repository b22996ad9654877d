"""Tools of a project's dx.toml, with the real daemon and engine: nothing of it counts before it is trusted."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.house import House, docker
from tests.installation import python_for

PROJECT = """
[tools.greet]
image = "{image}"
commands = ["echo"]

[tools.made]
build = "tool"
"""
MADE = """
FROM {image}
LABEL dx-test={token}
ENTRYPOINT ["/bin/echo", "made one"]
"""


@pytest.fixture
def project(house: House, image: str) -> Iterator[Path]:
    """A clone of a project, with a Git directory of its own."""
    token = secrets.token_hex(4)
    yield clone(house, image, "demo", token)
    house.dx(["stop", "--all"])
    house.stop()
    if left := docker("images", "--quiet", "--no-trunc", "--filter", f"label=dx-test={token}").split():
        docker("image", "rm", "--force", *set(left))


def clone(house: House, image: str, name: str, token: str) -> Path:
    """The same for the same token, and for no other: what is built is what it is built from."""
    directory = Path(os.fsdecode(house.place(name)))
    (directory / ".git").mkdir()
    (directory / "tool").mkdir()
    (directory / "dx.toml").write_text(PROJECT.format(image=image))
    (directory / "tool" / "Dockerfile").write_text(MADE.format(image=image, token=token))
    return directory


def trust(house: House, project: Path) -> None:
    done = house.dx(["trust", str(project), "--yes"])
    assert done.returncode == 0, done.stderr


def append(project: Path, text: str) -> None:
    file = project / "dx.toml"
    file.write_text(file.read_text() + text)


def test_nothing_of_a_project_counts_before_it_is_trusted(house: House, project: Path) -> None:
    """Nothing runs or is built. Without a terminal the answer is no, as 126."""
    for command in ("echo", "made"):
        refused = house.run([command, "hello"], cwd=project)
        assert refused.returncode == 126, refused
        assert b"is not trusted" in refused.stderr
        assert f"dx trust {project}".encode() in refused.stderr
    assert json.loads(house.dx(["builds", "--json"]).stdout) == {"builds": []}
    listed = house.dx(["ls"], cwd=project)
    assert b"asks for what is not allowed yet" in listed.stderr
    asked = house.dx(["trust"], cwd=project)
    assert (asked.returncode, asked.stdout) == (126, b"")
    trust(house, project)
    assert house.dx(["ls"], cwd=project).stderr == b""
    assert house.run(["echo", "hello"], cwd=project).stdout == b"hello\n"
    assert house.run(["made", "hello"], cwd=project / "tool").stdout == b"made one hello\n"


def test_a_project_wins_inside_and_only_there(house: House, project: Path, image: str) -> None:
    """Of two tools of one name; a shim runs what PATH has next where its command is no tool."""
    house.define(f"""[tools.echo]\nimage = "{image}"\nentrypoint = ["/bin/echo", "mine"]\n""")
    trust(house, project)
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"
    outside = project.parent
    assert house.run(["echo", "1"], cwd=outside).stdout == b"mine 1\n"
    made = house.shim("made")
    assert made.is_symlink()
    inside = house.options({"cwd": project, "capture_output": True})
    assert subprocess.run([made, "x"], check=True, **inside).stdout == b"made one x\n"
    away = subprocess.run([made, "x"], check=False, **{**inside, "cwd": outside})
    assert away.returncode == 127
    assert f"made is a tool of {project} only".encode() in away.stderr
    native = outside / "native"
    native.mkdir()
    (native / "made").write_text('#!/bin/sh\necho "native $0 $1 ${DX_DEPTH-none}"\n')
    (native / "made").chmod(0o755)
    path = f"{made.parent}:{native}:/usr/bin:/bin"
    options = house.options({"cwd": outside, "env": {**house.env, "PATH": path}, "capture_output": True})
    there = subprocess.run([made.name, "x"], check=False, **options)
    assert there.stdout == f"native {native}/made x none\n".encode(), there.stderr


def test_what_a_project_asks_for_later_is_asked_again(house: House, project: Path, image: str) -> None:
    """Other tools go on; what it asks for less is allowed as it is, and has to be asked for again."""
    trust(house, project)
    append(project, f"""\n[tools.wide]\nimage = "{image}"\nentrypoint = "env"\nnetwork = "host"\nenv = ["TOKEN"]\n""")
    refused = house.run(["wide"], cwd=project)
    assert refused.returncode == 126
    assert b"asks for more than you have allowed" in refused.stderr
    assert b"use the host's network" in refused.stderr
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"
    trust(house, project)
    assert b"TOKEN=secret" in house.run(["wide"], cwd=project, env={**house.env, "TOKEN": "secret"}).stdout
    (project / "dx.toml").write_text((project / "dx.toml").read_text().replace('["TOKEN"]', "[]"))
    assert house.run(["wide"], cwd=project).returncode == 0
    listed = json.loads(house.dx(["trust", "--list", "--json"]).stdout)["projects"]
    assert [(each["directory"], each["new"]) for each in listed] == [(str(project), [])]


def test_mounts_and_builds_that_lead_out_are_asked_for(house: House, project: Path, image: str) -> None:
    """By a link in the project, too, whenever it is made."""
    secret = project.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    (project / "data").mkdir()
    append(project, f"""\n[tools.reads]\nimage = "{image}"\nentrypoint = ["ls", "/data"]\nmounts = ["data:/data"]\n""")
    trust(house, project)
    assert house.run(["reads"], cwd=project).returncode == 0
    (project / "data").rmdir()
    (project / "data").symlink_to(secret)
    refused = house.run(["reads"], cwd=project)
    assert refused.returncode == 126
    assert f"read and write {secret}".encode() in refused.stderr
    shutil.rmtree(project / "tool")
    (project / "tool").symlink_to(secret)
    assert f"be built from {project}/tool".encode() in house.run(["made"], cwd=project).stderr


def test_a_run_asks_on_its_terminal(house: House, project: Path) -> None:
    """What it asks is not in the run's output; no is 126, yes runs it."""
    launcher = str(Path(house.bin) / "dx")
    for answer, status in ((b"n", 126), (b"y", 0)):
        terminal = pexpect.spawn(
            "/bin/sh", ["-c", f"{launcher} run made on-terminal >out; echo status $?"], cwd=str(project),
            env=house.env, timeout=60,
        )  # fmt: skip
        terminal.expect(b"Allow that")
        terminal.sendline(answer)
        terminal.expect(rb"status (\d+)")
        assert int(terminal.match.group(1)) == status
        terminal.close()
    assert (project / "out").read_bytes() == b"made one on-terminal\n"


def test_a_run_by_python_asks_too(house: House, project: Path) -> None:
    """`python -m dx run` does what the launcher does: it asks, and is no tool where it is none."""
    command = [*python_for(house.person.uid), "-m", "dx", "run", "made"]
    options = house.options({"cwd": project, "capture_output": True, "stdin": subprocess.DEVNULL})
    assert subprocess.run(command, check=False, **options).returncode == 126
    line = f"{shlex.join(command)} again >out; echo status $?"
    terminal = pexpect.spawn("/bin/sh", ["-c", line], cwd=str(project), env=house.env, timeout=60)
    terminal.expect(b"Allow that")
    terminal.sendline(b"y")
    terminal.expect(b"status 0")
    terminal.close()
    assert (project / "out").read_bytes() == b"made one again\n"


def test_a_lock_of_a_project_is_its_own(house: House, project: Path) -> None:
    """Beside its dx.toml, by the names there; to check it the project has to be trusted, as on a machine of CI."""
    assert house.dx(["lock", "--check"], cwd=project).returncode == 125
    trust(house, project)
    (project / "dx.toml").write_text("[tools.made]\nbuild = 'tool'\n")
    (project / "tool" / "Dockerfile").write_text(f"FROM scratch\nLABEL token={project.parent.name}\nCMD ['/none']\n")
    missing = house.dx(["lock", "--check"], cwd=project)
    assert missing.returncode == 1
    assert f"there is no {project}/dx.lock".encode() in missing.stderr
    locked = house.dx(["lock"], cwd=project)
    assert (project / "dx.lock").is_file(), locked.stderr
    assert "[tools.made]" in (project / "dx.lock").read_text()
    assert not (house.file.parent / "dx.lock").exists()


def test_two_clones_share_a_build_and_nothing_else(house: House, project: Path, image: str) -> None:
    """The same inputs are one image; each clone is trusted, changed and taken back by itself."""
    other = Path(os.fsdecode(house.place("other")))
    shutil.copytree(project, other, dirs_exist_ok=True)
    trust(house, project)
    assert house.run(["made"], cwd=project).stdout == b"made one\n"
    assert house.run(["made"], cwd=other).returncode == 126
    trust(house, other)
    assert house.run(["made"], cwd=other).stdout == b"made one\n"
    builds = json.loads(house.dx(["builds", "--json"]).stdout)["builds"]
    assert [each["cause"] for each in builds] == ["it was there already", "the first build"]
    assert len({each["image_id"] for each in builds}) == 1
    file = other / "tool" / "Dockerfile"
    file.write_text(file.read_text().replace("one", "two"))
    # A project's tools wait for their new build.
    assert house.run(["made"], cwd=other).stdout == b"made two\n"
    assert house.run(["made"], cwd=project).stdout == b"made one\n"
    assert house.dx(["builds", "made"], cwd=other).stdout.count(b"current") == 1
    names = [set(house.dx(["ls", "--names"], cwd=each).stdout.split()) for each in (project, other, other.parent)]
    assert names == [{b"greet", b"made"}, {b"greet", b"made"}, set()]
    whole = house.dx(["ls", "--all", "--names"]).stdout.split()
    assert len(whole) == 4
    assert house.dx(["trust", str(other), "--revoke"]).returncode == 0
    assert house.run(["made"], cwd=other).returncode == 126
    assert house.dx(["prune"]).returncode == 0
    assert house.run(["made"], cwd=project).stdout == b"made one\n"


def test_consent_is_kept_by_the_daemon_and_lost_with_its_history(house: House, project: Path) -> None:
    """A daemon that starts again knows it; without the file it asks again, whatever else there is."""
    trust(house, project)
    house.stop()
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"
    house.stop()
    state = Path(house.env["DX_STATE_DIR"])
    for each in state.glob("history.db*"):
        each.unlink()
    assert house.run(["echo", "1"], cwd=project).returncode == 126


def test_a_file_of_another_user_is_passed_over_with_a_note(house: House, project: Path, image: str) -> None:
    """Unless its project is named: somebody may have put it above a directory of yours (CVE-2022-24765)."""
    house.define(f"""[tools.echo]\nimage = "{image}"\nentrypoint = ["/bin/echo", "mine"]\n""")
    os.chown(project / "dx.toml", 54321, 54321)
    first = house.run(["echo", "1"], cwd=project)
    assert first.stdout == b"mine 1\n"
    assert b"belongs to uid 54321 and is not read" in first.stderr
    assert house.run(["echo", "1"], cwd=project).stderr == b""
    trust(house, project)
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"


def test_a_broken_file_of_a_project_that_is_trusted_is_an_error(house: House, project: Path, image: str) -> None:
    """Its tools of before go on; another command would be a guess. One that nobody trusts has no say."""
    house.define(f"""[tools.cat]\nimage = "{image}"\nentrypoint = ["/bin/echo", "mine"]\n""")
    append(project, "\n[tools\n")
    assert house.run(["cat", "1"], cwd=project).stdout == b"mine 1\n"
    (project / "dx.toml").write_text((project / "dx.toml").read_text().replace("\n[tools\n", ""))
    trust(house, project)
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"
    append(project, "\n[tools\n")
    assert house.run(["echo", "1"], cwd=project).stdout == b"1\n"
    broken = house.run(["cat", "1"], cwd=project)
    assert broken.returncode == 125
    assert f"{project}/dx.toml".encode() in broken.stderr


def test_what_a_project_says_cannot_write_to_the_terminal(house: House, project: Path, image: str) -> None:
    """What is refused is shown before anything is trusted, by the launcher and by `dx trust`."""
    hostile = '"\\u001b]0;owned\\u0007*"'
    append(project, f"""\n[tools.evil]\nimage = "{image}"\nenv = [{hostile}]\n""")
    for words in (["run", "evil"], ["trust", "--json"], ["trust"], ["ls"]):
        shown = house.dx(words, cwd=project)
        assert b"\x1b" not in shown.stdout + shown.stderr
    assert b"\\x1b]0;owned" in house.run(["evil"], cwd=project).stderr


def test_a_project_says_nothing_about_the_daemon(house: House, project: Path) -> None:
    """Its settings are the user's."""
    append(project, "\n[daemon]\nidle_s = 1\n")
    refused = house.dx(["trust"], cwd=project)
    assert refused.returncode == 125
    assert b"the user's own dx.toml" in refused.stderr
