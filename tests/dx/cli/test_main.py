"""What every verb has in common: help, usage errors, and what happens to the output."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dx.cli import MODULES
from tests.dx.installed import Dx
from tests.fakes.daemon import State

VERBS = [*MODULES]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(dx: Dx, verb: str) -> None:
    """Without a daemon."""
    done = dx(verb, "--help")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"usage: dx {verb}")
    assert f"dx {verb}" in done.out.split("examples:")[1]
    assert dx("help", verb).out == done.out


def test_help_lists_every_verb(dx: Dx) -> None:
    """And no arguments are a question too."""
    done = dx("help")
    assert done.status == 0
    for verb in ["run", *VERBS]:
        assert f"\n  {verb} " in done.out
    assert dx().out == dx("--help").out == done.out
    assert max(len(line) for line in done.out.splitlines()) <= 100


@pytest.mark.parametrize("topic", ["environment", "exit-status", "tools", "compose"])
def test_help_has_topics(dx: Dx, topic: str) -> None:
    """Named in the list."""
    assert topic in dx("help").out
    assert len(dx("help", topic).out.splitlines()) > 5


def test_run_is_handed_to_the_launcher(dx: Dx) -> None:
    """Its help as well."""
    assert dx("run", "--help").out == "help of run\n"
    assert dx("help", "run").out == "help of run\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sho"], "dx: there is no verb 'sho'; did you mean show or stop or"),
        (["rnu"], "dx: there is no verb 'rnu'; did you mean run or trust or prune?"),
        (["qqqqq"], "dx: there is no verb 'qqqqq'; see dx help"),
        (["a\x1b[31m"], "dx: there is no verb 'a\\x1b[31m'; see dx help"),
        (["ls", "--nmaes"], "dx: ls: unrecognized arguments: --nmaes; see: dx ls --help"),
        (["ls", "--na"], "dx: ls: unrecognized arguments: --na; see: dx ls --help"),
        (["help", "qqqqq"], "dx: help: there is no verb or topic 'qqqqq'; see dx help"),
        (["rm"], "dx: rm: the following arguments are required: NAME; see: dx rm --help"),
    ],
)
def test_a_usage_error_is_one_line_and_125(dx: Dx, arguments: list[str], line: str) -> None:
    """It says what to do."""
    done = dx(*arguments)
    assert (done.status, done.out) == (125, "")
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1


def test_without_a_home_it_says_what_to_set(dx: Dx) -> None:
    """And 125."""
    environ = {key: value for key, value in dx.environ.items() if not key.startswith(("DX_", "HOME"))}
    done = subprocess.run([dx.program, "ls"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (125, "dx: HOME is not set; set it, or DX_STATE_DIR\n")


def test_version(dx: Dx) -> None:
    """In any spelling."""
    assert dx("version").out == dx("--version").out == "dx 0.1.0\n"


def run(dx: Dx, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a shell, with redirections; the status of dx is what counts."""
    script = f'set -o pipefail; "$@" {redirections}'
    return subprocess.run(
        ["bash", "-c", script, "bash", str(dx.program), *arguments],
        env=dx.environ,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("arguments", [["help"], ["ls"], ["ls", "--json"], ["completions", "bash"], ["add", "--help"]])
def test_a_reader_that_has_gone_is_no_error(dx: Dx, daemon: State, arguments: list[str]) -> None:
    """141 and silence, as of any program."""
    tool = {"name": "x", "commands": ["x" * 100], "image": "x", "network": "none", "project": None}
    daemon.tools = {str(number): tool for number in range(2000)}
    done = run(dx, "| true", *arguments)
    assert done.stderr == ""
    assert done.returncode in {0, 141}  # the pipe may take what is short before its reader goes
    if arguments == ["ls"]:
        assert done.returncode == 141


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(dx: Dx, daemon: State, redirections: str) -> None:
    """Nor does anything land in a file that took the descriptor's number."""
    for arguments in (["ls"], ["ls", "--json"], ["help"], ["status"]):
        done = run(dx, redirections, *arguments)
        assert done.returncode == 0
        assert done.stderr in {"", "There are no tools yet. The first: dx add NAME IMAGE\n"}


def test_a_full_disk_is_told(dx: Dx, daemon: State) -> None:
    """Once."""
    done = run(dx, "> /dev/full", "status")
    assert done.returncode == 125
    assert done.stderr == "dx: cannot write the output: No space left on device\n"


def test_ctrl_c_is_130_without_a_traceback(dx: Dx, daemon: State) -> None:
    """Wherever it comes."""
    daemon.prepare = [{"wait": True}]
    child = subprocess.Popen(
        [dx.program, "add", "x", "x"], env=dx.environ, stderr=subprocess.PIPE, start_new_session=True
    )
    assert daemon.waiting.wait(20)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, b"")


def test_a_deleted_working_directory_does_not_matter(dx: Dx, daemon: State, tmp_path: Path) -> None:
    """To verbs that have no use for it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'cd "$1" && rmdir "$1" && exec "$2" ls', "sh", str(gone), str(dx.program)],
        env=dx.environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def test_the_imports_of_ls_are_few(dx: Dx, daemon: State) -> None:
    """Each of these costs more than all that ls does; so does ssl, which http.client brings along."""
    daemon.tools = {}
    script = "import sys; from dx.cli import main; main(['ls', '--json']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], env=dx.environ, capture_output=True, text=True, timeout=30)
    imported = set(done.stderr.split())
    assert "dx.cli.tools" in imported
    assert not imported & {"http.client", "ssl", "email", "subprocess", "shutil", "tempfile", "asyncio", "inspect"}
    assert not imported & {"dx.cli.add", "dx.cli.doctor", "datetime", "dataclasses"}


def test_activate_imports_next_to_nothing(dx: Dx) -> None:
    """Every shell that opens waits for it."""
    script = "import sys; from dx.cli import main; main(['activate', 'bash']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], env=dx.environ, capture_output=True, text=True, timeout=30)
    assert not set(done.stderr.split()) & {
        "socket",
        "json",
        "dx.api",
        "shutil",
        "dataclasses",
        "datetime",
        "subprocess",
    }
