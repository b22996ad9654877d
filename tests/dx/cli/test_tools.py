"""dx ls, show, rm, and what all verbs have in common."""

import json

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def tool(name: str, **keys: object) -> dict[str, object]:
    """A tool as the API has it."""
    return {"name": name, **TOOL_DEFAULTS, **keys}


def test_ls_lines_up(dx: Dx, daemon: State) -> None:
    """Each column begins where its heading does, whatever is in it."""
    daemon.tools = {
        "jq": tool("jq", image="jqlang/jq:1.7"),
        "toolchain": tool(
            "toolchain",
            build={"context": "/src/ä界", "file": None, "target": None, "args": {}},
            commands=["cc", "c++"],
            network="none",
        ),
    }
    done = dx("ls")
    assert done.status == 0
    assert done.out == (
        "TOOL       COMMANDS  IMAGE                NETWORK\n"
        "jq         jq        jqlang/jq:1.7        bridge\n"
        "toolchain  cc c++    built from /src/ä界  none\n"
    )


def test_ls_for_scripts(dx: Dx, daemon: State) -> None:
    """JSON as the API has it; names and commands one a line."""
    daemon.tools = {"jq": tool("jq", image="jq"), "gcc": tool("gcc", image="gcc", commands=["cc", "c++"])}
    expected = [{**each, "project": None} for each in daemon.tools.values()]
    assert json.loads(dx("ls", "--json").out) == {"tools": expected}
    assert dx("ls", "--names").out == "jq\ngcc\n"
    assert dx("ls", "--commands").out == "jq\ncc\nc++\n"


def test_ls_without_tools_says_how_to_begin(dx: Dx, daemon: State) -> None:
    """On standard error: there is nothing to list."""
    done = dx("ls")
    assert (done.status, done.out) == (0, "")
    assert "dx add NAME IMAGE" in done.err


def test_ls_tells_what_is_wrong_with_the_file(dx: Dx, daemon: State) -> None:
    """The last good definitions are not what the file says."""
    daemon.tools = {"jq": tool("jq", image="jq")}
    daemon.problem = "/c/dx.toml:3: tools.x.image: must be text"
    done = dx("ls")
    assert done.status == 0
    assert done.err.startswith("dx: /c/dx.toml:3: tools.x.image: must be text; ")
    assert dx("ls", "--names").err == ""


def test_show_says_everything(dx: Dx, daemon: State) -> None:
    """One line a key."""
    daemon.tools["x"] = tool(
        "x",
        build={"context": "/src", "file": "/src/D", "target": "run", "args": {"A": "1"}},
        entrypoint=["sh", "-c", "a b"],
        env=["A=1", "LC_*"],
        mounts=["/a:/b:ro", {"source": "/c:d", "target": "/e", "readonly": True}],
        on_change="wait",
        smoke=["--version", "a b"],
        user="root",
        paths="none",
        root="kept",
        scratch="disk",
        git="write",
        caches=["/var/cache/x"],
        memory="512m",
        cpus=1.5,
        pids=10,
        ulimits={"nofile": 1024},
        ports=["8000:80", "53:53/udp"],
        devices=["/dev/kvm"],
        gpus=["0", "1"],
        share=["ssh-agent"],
        needs=["db"],
    )
    lines = [line.split(None, 1) for line in dx("show", "x").out.splitlines()]
    assert lines == [
        ["tool", "x"],
        ["commands", "x"],
        ["build", "/src"],
        ["file", "/src/D"],
        ["target", "run"],
        ["arg", "A=1"],
        ["on_change", "wait"],
        ["smoke", "--version 'a b'"],
        ["entrypoint", "sh -c 'a b'"],
        ["network", "bridge"],
        ["user", "root"],
        ["paths", "none"],
        ["git", "write"],
        ["env", "A=1"],
        ["env", "LC_*"],
        ["mount", "/a:/b:ro"],
        ["mount", "/c:d at /e read-only"],
        ["root", "kept"],
        ["scratch", "disk"],
        ["cache", "/var/cache/x"],
        ["memory", "512m"],
        ["cpus", "1.5"],
        ["pids", "10"],
        ["ulimit", "nofile=1024"],
        ["port", "8000:80"],
        ["port", "53:53/udp"],
        ["device", "/dev/kvm"],
        ["share", "ssh-agent"],
        ["needs", "db"],
        ["gpus", "0 1"],
    ]
    assert json.loads(dx("show", "x", "--json").out) == {**daemon.tools["x"], "project": None}


def test_an_error_of_the_daemon_is_one_line_and_125(dx: Dx, daemon: State) -> None:
    """With its hint."""
    done = dx("show", "jq")
    assert (done.status, done.out) == (125, "")
    assert done.err == 'dx: no tool is called "jq"; dx ls shows what there is\n'


def test_rm_takes_each_on_its_own(dx: Dx, daemon: State) -> None:
    """One that is unknown does not keep the others."""
    daemon.tools = {"a": tool("a", image="a"), "b": tool("b", image="b")}
    done = dx("rm", "a", "zzz", "b", "a")
    assert done.status == 125
    assert done.out == "a is removed\nb is removed\n"
    assert done.err.count("\n") == 1
    assert daemon.tools == {}


def test_rm_in_json(dx: Dx, daemon: State) -> None:
    """For scripts."""
    daemon.tools = {"a": tool("a", image="a")}
    assert json.loads(dx("rm", "a", "--json").out) == {"removed": ["a"]}


def test_a_name_cannot_leave_the_path_of_the_api(dx: Dx, daemon: State) -> None:
    """Nor become a query."""
    dx("rm", "../status?x=1#y")
    assert daemon.asked == ["DELETE /v1/tools/..%2Fstatus%3Fx%3D1%23y"]


def test_no_escape_sequence_reaches_the_terminal(dx: Dx, daemon: State) -> None:
    """Wherever it comes from."""
    daemon.tools = {"jq": tool("jq", image="jq\x1b[31m\n")}
    daemon.problem = "\x1b]0;evil\x07"
    for arguments in (["ls"], ["show", "jq"], ["status"]):
        done = dx(*arguments)
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err


def test_colours_are_for_terminals_that_want_them(dx: Dx, daemon: State) -> None:
    """NO_COLOR and a dumb terminal mean no."""
    daemon.tools = {"jq": tool("jq", image="jq")}
    assert "\x1b[1mTOOL" in dx.on_terminal("ls").out
    assert "\x1b" not in dx.on_terminal("ls", NO_COLOR="1").out
    assert "\x1b" not in dx.on_terminal("ls", TERM="dumb").out
    assert "\x1b" not in dx("ls").out


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_any_locale_can_show_any_name(dx: Dx, daemon: State, locale: str) -> None:
    """At worst escaped."""
    daemon.tools = {"jq": tool("jq", image="jq", env=["A=界"])}
    assert dx("show", "jq", LC_ALL=locale, PYTHONCOERCECLOCALE="0", PYTHONUTF8="0").status == 0
