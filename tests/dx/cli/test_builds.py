"""dx builds, rollback, unpin and prune."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def build(number: int, **keys: Any) -> dict[str, Any]:
    """As the API has it: a good one."""
    return {
        "id": number,
        "tool": "jq",
        "digest": "d" * 64,
        "image_id": "sha256:" + "1" * 64,
        "began_at": (datetime.now(UTC) - timedelta(hours=3, minutes=5)).isoformat().replace("+00:00", "Z"),
        "duration_s": 12.34,
        "result": "good",
        "cause": "Dockerfile, main.c",
        "asked_by": "change",
        "error": "",
        "size_bytes": 8 << 20,
        "current": False,
        "pinned": False,
        **keys,
    }


@pytest.fixture
def built(daemon: State) -> State:
    """A tool with some builds."""
    daemon.tools = {name: {"name": name, **TOOL_DEFAULTS} for name in ("jq", "yq")}
    nothing = {"image_id": None, "size_bytes": None}
    daemon.builds = [
        build(5, result=None, duration_s=None, asked_by="dx add", cause="", **nothing),
        build(4, tool="yq", result="failed", duration_s=0.25, **nothing),
        build(3, current=True),
        build(2),
    ]
    return daemon


def test_builds_are_shown_with_what_became_of_them(dx: Dx, built: State) -> None:
    """A line each; of all tools, or of one."""
    lines = [line.split() for line in dx("builds").out.splitlines()]
    assert lines == [
        "ID TOOL AGE RESULT TIME SIZE BY CAUSE".split(),
        "5 jq 3 hours ago building - - dx add -".split(),
        "4 yq 3 hours ago failed 250 ms - change Dockerfile, main.c".split(),
        "3 jq 3 hours ago good, current 12.3 s 8.0 MiB change Dockerfile, main.c".split(),
        "2 jq 3 hours ago good 12.3 s 8.0 MiB change Dockerfile, main.c".split(),
    ]
    assert [line.split()[0] for line in dx("builds", "yq").out.splitlines()] == ["ID", "4"]
    assert json.loads(dx("builds", "yq", "--json").out) == {"builds": built.builds[1:2]}


def test_where_nothing_was_built_scripts_get_nothing(dx: Dx, daemon: State) -> None:
    """People are told how."""
    done = dx("builds")
    assert (done.status, done.out) == (0, "")
    assert done.err.startswith("Nothing was built yet.")
    assert dx("builds", "jq").err == "There are no builds of jq.\n"


def test_a_log_is_shown_as_it_is(dx: Dx, built: State) -> None:
    """Byte for byte; on a terminal nothing in it can take that over."""
    built.build_log = b"step 1\n\n\tcc -o \xff \x1b[31m\n"
    assert dx("builds", "log", "3").out.encode(errors="surrogateescape") == built.build_log
    shown = dx.on_terminal("builds", "log", "3").out
    assert shown.splitlines() == ["step 1", "", "        cc -o \\xff \\x1b[31m"]
    done = dx("builds", "log", "77")
    assert (done.status, done.err) == (125, "dx: there is no build 77; see: dx builds\n")


@pytest.mark.parametrize("arguments", [["jq", "3"], ["log", "x"], ["log", "3", "--json"]])
def test_a_log_is_asked_for_by_number(dx: Dx, built: State, arguments: list[str]) -> None:
    """Anything else is a usage error."""
    done = dx("builds", *arguments)
    assert done.status == 125
    assert "dx builds --help" in done.err


def test_a_tool_called_log_has_builds_too(dx: Dx, built: State) -> None:
    """Without a number it is a name."""
    built.builds = [build(9, tool="log")]
    assert dx("builds", "log").out.splitlines()[1].startswith("9   log")


def test_rollback_goes_to_the_one_before_or_to_a_number(dx: Dx, built: State) -> None:
    """And says how to leave it."""
    done = dx("rollback", "jq")
    assert done.out == "jq is at build 2 of 3 hours ago, and stays there until: dx unpin jq\n"
    assert "good, current, pinned" in dx("builds", "jq").out
    assert json.loads(dx("rollback", "jq", "3", "--json").out) == {**built.builds[2], "current": True, "pinned": True}
    assert dx("unpin", "jq").out == "jq follows its Dockerfile, or its image's tag, again\n"
    assert not any(each["pinned"] for each in built.builds)
    assert dx("rollback", "yq").err == "dx: yq has no build to go back to; see: dx builds\n"
    for verb in ("rollback", "unpin"):
        assert dx(verb, "zq").status == 125
        assert dx(verb).status == 125


def test_prune_says_what_it_freed(dx: Dx, daemon: State) -> None:
    """Or that there was nothing."""
    assert dx("prune").out == "There was nothing to remove\n"
    daemon.freed = {"images": 1, "bytes": 512}
    assert dx("prune").out == "removed 1 image, freed 512 B\n"
    daemon.freed = {"images": 3, "bytes": 120 << 20}
    assert dx("prune").out == "removed 3 images, freed 120.0 MiB\n"
    assert json.loads(dx("prune", "--json").out) == daemon.freed
