"""dx add."""

import json
import os
import pty
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def test_an_image_becomes_a_tool(dx: Dx, daemon: State) -> None:
    """The shortest way; it says how to call it, and how to get it on PATH."""
    done = dx("add", "jq", "jqlang/jq", SHELL="/bin/zsh")
    assert done.status == 0
    assert daemon.tools == {"jq": {"name": "jq", **TOOL_DEFAULTS, "image": "jqlang/jq"}}
    assert daemon.asked == [
        "GET /v1/tools/jq",
        "POST /v1/describe",
        "PUT /v1/tools/jq",
        "POST /v1/tools/jq/prepare",
        "POST /v1/shims",
    ]
    assert done.out.splitlines()[0] == "jq is ready: jq"
    assert '  eval "$(dx activate zsh)"' in done.out.splitlines()


def test_with_the_shims_on_path_there_is_no_more_to_say(dx: Dx, daemon: State) -> None:
    """One line."""
    shims = dx.root / "data" / "shims"
    done = dx("add", "gcc", "gcc", "--command", "cc", "--command", "c++", PATH=f"{shims}:{dx.environ['PATH']}")
    assert (done.out, done.err) == ("gcc is ready: cc c++\n", "")


def test_a_program_that_comes_first_on_path_is_named(dx: Dx, daemon: State) -> None:
    """Or one would wonder for long."""
    dx.script("jq", "#!/bin/sh\n")
    done = dx("add", "jq", "jq", PATH=f"{dx.environ['PATH']}:{dx.root / 'data' / 'shims'}")
    assert done.status == 0
    assert f"{dx.bin / 'jq'} comes before dx's jq" in done.err


def test_every_option_ends_in_the_definition(dx: Dx, daemon: State) -> None:
    """Paths absolute, sizes in one way."""
    (dx.root / "src").mkdir()
    (dx.root / "src" / "D").touch()
    (dx.root / "work").mkdir()
    done = dx(
        *("add", "x", "--build", "src/../src", "--file", "D", "--target", "run", "--arg", "B=2", "--arg", "HOME"),
        *("--secret", "npmrc=~/.npmrc", "--secret", "key=k", "--ssh", "~/agent"),
        *("--on-change", "wait", "--smoke=--version 'a b'"),
        *("--entrypoint", "sh -c 'a b'", "--command", "x", "--command", "y", "--network", "bridge", "--env", "A=1"),
        *("--env", "AWS_*", "--mount", "work", "--mount", "~/m:/m:ro", "--mount", "/n:/o:rw"),
        *("--user", "root", "--paths", "project", "--git", "write", "--scratch-size", "64M"),
        *("--cache", "~/.cache/x", "--cache", "/var/cache/x/"),
        *("--memory", "1024M", "--cpus", "1.5", "--pids", "9", "--yes"),
        *("--ulimit", "nofile=1024", "--ulimit", "nproc=100:200"),
        *("--port", "8000", "--port", "0.0.0.0:53:5353/udp", "--port", "[::1]:80:81/tcp", "--gpus", "0,1"),
        *("--device", "/dev/a:/dev/a:rw", "--device", "/dev/a:/dev/b:r", "--share", "x11", "--share", "ssh-agent"),
        *("--need", "db"),
    )
    assert done.status == 0, done.err
    root = str(dx.root)
    assert daemon.tools["x"] == {
        "name": "x",
        "image": None,
        "build": {
            "context": f"{root}/src",
            "file": f"{root}/src/D",
            "target": "run",
            "args": {"B": "2", "HOME": root},
            "secrets": {"key": f"{root}/k", "npmrc": f"{root}/.npmrc"},
            "ssh": f"{root}/agent",
        },
        "on_change": "wait",
        "smoke": ["--version", "a b"],
        "entrypoint": ["sh", "-c", "a b"],
        "commands": ["x", "y"],
        "network": "bridge",
        "env": ["A=1", "AWS_*"],
        "mounts": [f"{root}/work:{root}/work", f"{root}/m:/m:ro", "/n:/o"],
        "user": "root",
        "paths": "project",
        "root": "fresh",
        "scratch": "memory",
        "scratch_size": "64m",
        "git": "write",
        "caches": [f"{root}/.cache/x", "/var/cache/x"],
        "memory": "1g",
        "cpus": 1.5,
        "pids": 9,
        "ulimits": {"nofile": 1024, "nproc": "100:200"},
        "ports": ["8000:8000", "0.0.0.0:53:5353/udp", "[::1]:80:81"],
        "devices": ["/dev/a", "/dev/a:/dev/b:r"],
        "gpus": ["0", "1"],
        "share": ["ssh-agent", "x11"],
        "needs": ["db"],
    }
    assert "POST /v1/tools/x/prepare?rebuild=true" in daemon.asked


def test_the_dockerfile_of_the_context_goes_without_saying(dx: Dx, daemon: State) -> None:
    """Named or not, it is the same definition."""
    (dx.root / "Dockerfile").touch()
    assert dx("add", "x", "--build", ".").status == 0
    assert dx("add", "x", "--build", ".", "--file", "Dockerfile").status == 0
    assert daemon.tools["x"]["build"] == {
        "context": str(dx.root),
        "file": None,
        "target": None,
        "args": {},
        "secrets": {},
        "ssh": False,
    }


@pytest.mark.parametrize("entrypoint", ["", "--entrypoint="])
def test_an_empty_entrypoint_is_none_at_all(dx: Dx, daemon: State, entrypoint: str) -> None:
    """Not the image's own."""
    dx("add", "x", "x", *([entrypoint] if entrypoint else ["--entrypoint", ""]))
    assert daemon.tools["x"]["entrypoint"] == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x"], "give either an IMAGE or --build DIR"),
        (["x", "y", "--build", "."], "IMAGE and --build exclude each other"),
        (["x", "y", "--file", "f"], "belong to --build"),
        (["x", "--build", "missing"], "missing is no directory"),
        (["x", "--build", "."], "there is no Dockerfile in"),
        (["x", "--build", ".", "--file", "f"], "there is no file f, neither here nor in"),
        (["x", "y", "--secret", "a=b"], "belong to --build"),
        (["x", "--build", "data", "--file", "bin/dx", "--secret", "npmrc"], "write it as ID=FILE"),
        (["x", "--build", "data", "--file", "bin/dx", "--arg", "=1"], "write it as NAME=VALUE"),
        (["x", "--build", "data", "--file", "bin/dx", "--arg", "NOT_THERE"], "there is no variable NOT_THERE"),
        (["x", "y", "--entrypoint", "a 'b"], "quotation without end"),
        (["x", "y", "--mount", "/a:/b:/c"], "write it as SRC[:DST][:ro]"),
        (["x", "y", "--mount", ":/b"], "write it as SRC[:DST][:ro]"),
        (["x", "y", "--memory", "lots"], "lots is not a size"),
        (["x", "y", "--cpus", "two"], "--cpus"),
        (["x", "y", "--network", "hots"], "--network"),
        (["x", "y", "z"], "unrecognized arguments: z"),
        ([], "NAME"),
    ],
)
def test_what_makes_no_sense_never_reaches_the_daemon(
    dx: Dx, daemon: State, arguments: list[str], complaint: str
) -> None:
    """One line, 125."""
    done = dx("add", *arguments)
    assert (done.status, done.out, daemon.asked) == (125, "", [])
    assert complaint in done.err
    assert done.err.startswith("dx: add: ")
    assert done.err.count("\n") == 1


def test_a_name_that_is_not_utf8_is_refused(dx: Dx, daemon: State) -> None:
    """dx.toml is text."""
    done = dx("add", "x", "y", "--mount", os.fsdecode(b"/\xff"))
    assert done.status == 125
    assert "not UTF-8" in done.err
    assert daemon.tools == {}


OLD = {"name": "jq", **TOOL_DEFAULTS, "image": "old", "env": ["A=1"]}


def test_the_same_definition_again_asks_nothing(dx: Dx, daemon: State) -> None:
    """So that scripts may add what is there; sizes may be written in another way."""
    assert dx("add", "jq", "jq", "--memory", "512m").status == 0
    done = dx("add", "jq", "jq", "--memory", "0.5GiB")
    assert done.status == 0
    assert done.out.startswith("jq is up to date")


def test_another_definition_is_no_without_a_terminal(dx: Dx, daemon: State) -> None:
    """And yes with --yes."""
    daemon.tools["jq"] = dict(OLD)
    done = dx("add", "jq", "new", stdin="y\n")
    assert done.status == 125
    assert done.err == "dx: there is a tool jq already, with another image and env; replace it with --yes\n"
    assert daemon.tools["jq"] == OLD
    assert dx("add", "jq", "new", "--yes").status == 0
    assert daemon.tools["jq"]["image"] == "new"


@pytest.mark.parametrize(("answer", "image"), [("y\n", "new"), ("n\n", "old"), ("\n", "old"), ("\x04", "old")])
def test_on_a_terminal_it_is_asked(dx: Dx, daemon: State, answer: str, image: str) -> None:
    """Nothing but yes means yes."""
    daemon.tools["jq"] = dict(OLD)
    done = dx.on_terminal("add", "jq", "new", answer=answer)
    assert "Replace it? [y/N]" in done.out
    assert daemon.tools["jq"]["image"] == image
    assert done.status == (0 if image == "new" else 125)


def described(definition: dict[str, Any], *asks: tuple[str, str], notes: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The lines of a daemon that knows this of an image."""
    told = [{"key": key, "text": text} for key, text in asks]
    return [{"description": {"definition": definition, "asks": told, "notes": list(notes)}}]


def test_what_an_image_says_holds_where_the_arguments_say_nothing(dx: Dx, daemon: State) -> None:
    """Lists as a whole; an empty entrypoint says something."""
    daemon.describe = described(
        {"commands": ["cc"], "network": "none", "memory": "1g", "pids": 9, "entrypoint": ["a"], "env": ["A=1"]},
        notes=("the network mine cannot be joined",),
    )
    done = dx("add", "x", "x", "--memory", "2g", "--entrypoint", "", "--env", "B=1")
    assert (done.status, done.err) == (0, "dx: the network mine cannot be joined\n")
    assert daemon.tools["x"] == {
        "name": "x",
        **TOOL_DEFAULTS,
        "image": "x",
        "commands": ["cc"],
        "network": "none",
        "pids": 9,
        "memory": "2g",
        "entrypoint": [],
        "env": ["B=1"],
    }


@pytest.mark.parametrize(
    ("arguments", "said", "gone"),
    [
        (["--network", "none"], {"ports": ["80:80"]}, ["ports"]),
        (["--root", "kept"], {"scratch": "disk"}, ["scratch"]),
        (["--scratch-size", "1m"], {"root": "kept"}, ["root"]),
        (["--scratch", "disk"], {"root": "kept", "scratch_size": "64m"}, ["root", "scratch_size"]),
    ],
)
def test_what_the_arguments_exclude_is_left_out(
    dx: Dx, daemon: State, arguments: list[str], said: dict[str, Any], gone: list[str]
) -> None:
    """Or the image could make the command line wrong; and what is left out is not asked for."""
    daemon.describe = described(said, *((key, "do it") for key in said))
    assert dx("add", "x", "x", *arguments).status == 0
    assert all(daemon.tools["x"][key] == TOOL_DEFAULTS[key] for key in gone)


ASKING = described(
    {"network": "host", "share": ["x11"]}, ("network", "use the host's network"), ("share", "use your x11")
)


def test_what_an_image_asks_for_is_no_without_a_terminal(dx: Dx, daemon: State) -> None:
    """One line says what; --yes allows it, --no-labels leaves it out, and so does the command line."""
    daemon.describe = ASKING
    done = dx("add", "x", "x", stdin="y\n")
    assert (done.status, daemon.tools) == (125, {})
    assert done.err == (
        "dx: the image asks to use the host's network, use your x11; "
        "allow it with --yes, or leave it out with --no-labels\n"
    )
    assert dx("add", "x", "x", "--no-labels").status == 0
    assert daemon.tools["x"] == {"name": "x", **TOOL_DEFAULTS, "image": "x"}
    assert dx("add", "y", "x", "--yes").status == 0
    assert daemon.tools["y"]["network"] == "host"
    done = dx("add", "z", "x", "--network", "none")
    assert "asks to use your x11;" in done.err


def test_what_a_tool_has_already_is_not_asked_for_again(dx: Dx, daemon: State) -> None:
    """But what is more is."""
    daemon.describe = ASKING
    assert dx("add", "x", "x", "--yes").status == 0
    assert dx("add", "x", "x").status == 0
    daemon.describe = described(
        {"network": "host", "git": "write"}, ("network", "use the host's network"), ("git", "change hooks")
    )
    done = dx("add", "x", "x")
    assert done.status == 125
    assert "with another git and share; the image asks to change hooks;" in done.err


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 125), ("\x04", 125)])
def test_what_an_image_asks_for_is_asked_once(dx: Dx, daemon: State, answer: str, status: int) -> None:
    """With the replacement, if there is one."""
    daemon.describe = ASKING
    done = dx.on_terminal("add", "x", "x", answer=answer)
    assert done.status == status
    assert "  - use the host's network\r\n  - use your x11\r\n" in done.out
    assert done.out.count("[y/N]") == 1
    assert ("x" in daemon.tools) == (status == 0)
    daemon.tools["x"] = {**OLD, "name": "x"}
    done = dx.on_terminal("add", "x", "x", answer=answer)
    assert done.status == status
    assert "Replace it, and allow that? [y/N]" in done.out


def test_labels_that_are_wrong_define_nothing(dx: Dx, daemon: State) -> None:
    """The reason is the daemon's."""
    daemon.describe = [{"error": {"code": "bad-definition", "message": "the label dev.dx.x: unknown key", "hint": ""}}]
    done = dx("add", "x", "x")
    assert (done.status, done.err) == (125, "dx: the label dev.dx.x: unknown key\n")
    assert daemon.tools == {}


def test_a_build_is_the_users_own(dx: Dx, daemon: State) -> None:
    """Its labels are not read."""
    (dx.root / "Dockerfile").touch()
    assert dx("add", "x", "--build", ".").status == 0
    assert "POST /v1/describe" not in daemon.asked


FAILURE: list[dict[str, Any]] = [
    {"note": "pulling new"},
    {"progress": "10 %"},
    {"error": {"code": "image-missing", "message": "there is no image new", "hint": "check its name"}},
]


def test_without_an_image_a_new_tool_is_not_kept(dx: Dx, daemon: State) -> None:
    """The reason is the daemon's."""
    daemon.prepare = FAILURE
    done = dx("add", "jq", "new")
    assert (done.status, done.out) == (125, "")
    assert done.err == "pulling new\ndx: there is no image new; check its name\n"
    assert daemon.tools == {}


def test_without_an_image_an_old_tool_is_put_back(dx: Dx, daemon: State) -> None:
    """As it was."""
    daemon.tools["jq"] = dict(OLD)
    daemon.prepare = FAILURE
    assert dx("add", "jq", "new", "--yes").status == 125
    assert daemon.tools["jq"] == OLD


@pytest.mark.parametrize("lines", [[{}], [{"note": "x"}], [{"progress": "x"}, {}]])
def test_a_daemon_that_ends_meanwhile_is_told(dx: Dx, daemon: State, lines: list[dict[str, Any]]) -> None:
    """A stream that just ends is no success."""
    daemon.prepare = lines
    done = dx("add", "jq", "new")
    assert done.status == 125
    assert "daemon" in done.err
    assert daemon.tools == {}


def test_ctrl_c_puts_back_what_was_there(dx: Dx, daemon: State) -> None:
    """And 130, without a traceback."""
    daemon.tools["jq"] = dict(OLD)
    daemon.prepare = [{"wait": True}]
    child = subprocess.Popen(
        [dx.program, "add", "jq", "new", "--yes"], env=dx.environ, stderr=subprocess.PIPE, start_new_session=True
    )
    assert daemon.waiting.wait(20)
    assert daemon.tools["jq"]["image"] == "new"
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert b"Traceback" not in err
    assert daemon.tools["jq"] == OLD


def test_where_putting_back_fails_it_is_said(dx: Dx, daemon: State) -> None:
    """With what to do."""
    daemon.prepare = FAILURE
    daemon.answers["DELETE /v1/tools/jq"] = (
        422,
        b'{"error": {"code": "refused", "message": "dx.toml: cannot be changed", "hint": ""}}',
    )
    done = dx("add", "jq", "new")
    assert "jq is defined all the same: dx.toml: cannot be changed; take it out with: dx rm jq" in done.err
    assert "there is no image new" in done.err


START, END = {"started_at": "2026-01-01T00:00:00Z"}, {"ended_at": "2026-01-01T00:00:02Z", "duration_s": 2.0}
WORK = {"id": "building jq", "kind": "work", "of": "building jq", "name": "building jq", **START}
RUN = {"id": "2", "kind": "step", "of": "building jq", "name": "[2/2] RUN " + "界" * 300, **START}
BUILD: list[dict[str, Any]] = [
    {"step": WORK},
    {"step": {**WORK, "id": "1", "kind": "step", "name": "[1/2] FROM a", "cached": True, **END}},
    {"step": {**WORK, "id": "0", "kind": "detail", "name": "load", **END}},
    {"step": {**RUN, "lines": ["one", "\x1b[2Jtwo"]}},
    {"note": "look"},
]


def test_a_build_is_a_line_for_each_step_that_ended(dx: Dx, daemon: State) -> None:
    """Without a terminal; colours and escapes are nowhere."""
    daemon.prepare = [*BUILD, {"step": {**RUN, **END}}, {"step": {**WORK, **END}}, {"image": "sha256:0"}]
    done = dx("add", "jq", "jq")
    assert done.err.splitlines()[:2] == ["[1/2] FROM a (cached)", "look"]
    assert done.err.splitlines()[2].endswith("(2.0 s)")
    assert done.err.splitlines()[3] == "building jq (2.0 s)"


def test_a_failing_step_is_followed_by_its_last_lines(dx: Dx, daemon: State) -> None:
    """On a terminal and elsewhere."""
    error = {"error": {"code": "build-failed", "message": "it failed", "hint": ""}}
    daemon.prepare = [*BUILD, {"step": {**RUN, **END, "error": "exit code 3"}}, error]
    assert "(failed: exit code 3)\n  one\n  \\x1b[2Jtwo\ndx: it failed\n" in dx("add", "jq", "jq").err
    shown = dx.on_terminal("add", "jq", "jq").out
    assert "failed: exit code 3" in shown
    assert "      one\r\n      \\x1b[2Jtwo\r\n" in shown


def test_a_build_is_a_tree_on_a_terminal(dx: Dx, daemon: State) -> None:
    """The end draws it to stay; no line is as wide as the terminal."""
    daemon.prepare = [*BUILD, {"step": {**RUN, **END}}, {"step": {**WORK, **END}}, {"image": "sha256:0"}]
    shown = dx.on_terminal("add", "jq", "jq", NO_COLOR="1").out
    lines = shown.split("\r\n")
    work = next(at for at, line in enumerate(lines) if line.startswith("building jq") and line.endswith("2.0 s"))
    assert lines[work + 1].startswith("  [1/2] FROM a")
    assert lines[work + 1].endswith("cached")
    assert lines[work + 2].startswith("  [2/2] RUN 界")
    assert len(lines[work + 2]) < 80
    assert lines[work + 3].startswith("jq is ready")
    assert "load" not in shown


def test_times_go_on_while_nothing_is_told_and_ctrl_c_leaves_a_clean_terminal(dx: Dx, daemon: State) -> None:
    """What was drawn is wiped; the cursor was never hidden."""
    daemon.prepare = [*BUILD, {"wait": True}]
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [dx.program, "add", "jq", "new"],
        env={**dx.environ, "TERM": "xterm", "NO_COLOR": "1"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while not (b"0.2 s" in shown and b"0.4 s" in shown):
        shown += os.read(master, 65536)
    os.killpg(child.pid, signal.SIGINT)
    with suppress(OSError):
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    assert child.wait(20) == 130
    assert b"Traceback" not in shown
    assert shown.rpartition(b"\x1b[J")[2].count(b"building") == 0
    assert b"\x1b[?" not in shown


def test_json_has_each_record_on_a_line(dx: Dx, daemon: State) -> None:
    """The tool is the last."""
    daemon.prepare = [*BUILD, {"image": "sha256:0"}]
    lines = [json.loads(line) for line in dx("add", "jq", "jq", "--json").out.splitlines()]
    assert lines == [*BUILD, {**daemon.tools["jq"], "project": None, "image_id": "sha256:0"}]


def test_json_has_the_tool_and_its_image(dx: Dx, daemon: State) -> None:
    """Nothing else is on standard output."""
    done = dx("add", "jq", "jq", "--json")
    assert json.loads(done.out) == {**daemon.tools["jq"], "project": None, "image_id": "sha256:" + "0" * 64}


def test_a_file_in_the_way_of_a_shim_is_told(dx: Dx, daemon: State) -> None:
    """The tool is there all the same."""
    daemon.foreign = ["jq", "other"]
    done = dx("add", "jq", "jq")
    assert done.status == 0
    assert "jq has no shim" in done.err
    assert "other" not in done.err


def test_sizes_are_written_as_the_daemon_writes_them() -> None:
    """Or equal definitions would look different."""
    from dx.cli.definition import _size
    from dxd.kit.sizes import format_size, parse_size

    for text in ("6m", "512m", "0.5g", "1024k", "1000", "7340033", "2T", "1.5 GiB", "64MB", "0"):
        assert _size("--memory", text) == format_size(parse_size(text))


def test_the_daemon_and_the_command_line_agree_on_a_definition(dx: Dx, daemon: State) -> None:
    """What the real daemon makes of it is what was asked for."""
    from dxd.tools.parse import parse_tool, to_table

    dx("add", "x", "y", "--mount", "data:/d:ro", "--memory", "2048m", "--env", "*", "--entrypoint", "a b")
    body = {key: value for key, value in daemon.tools["x"].items() if key != "name"}
    table = to_table(parse_tool("x", body, base=Path("/")))
    assert {**TOOL_DEFAULTS, **table} == body
