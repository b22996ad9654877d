"""dx outdated, upgrade and lock."""

import json
from typing import Any

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def image(tool: str, standing: str, **keys: Any) -> dict[str, Any]:
    """As the API has it."""
    digests = {"held": "sha256:" + "1" * 64, "offered": "sha256:" + "2" * 64}
    return {"tool": tool, "image": f"{tool}:1", "is_base": False, "standing": standing, **digests, "reason": "", **keys}


def became(tool: str, **keys: Any) -> dict[str, Any]:
    """What an upgrade made of a tool."""
    return {"tool": tool, "images": [], "error": "", "asks": [], "digest": "", **keys}


@pytest.fixture
def tools(daemon: State) -> State:
    """Two of them."""
    daemon.tools = {name: {"name": name, **TOOL_DEFAULTS} for name in ("jq", "yq")}
    return daemon


def test_what_has_moved_is_shown(dx: Dx, tools: State) -> None:
    """And nothing else, but in JSON."""
    tools.compared = [image("jq", "outdated", is_base=True), image("yq", "missing", held=None), image("zq", "current")]
    done = dx("outdated")
    assert [line.split() for line in done.out.splitlines()] == [
        "TOOL IMAGE HERE NOW".split(),
        "jq jq:1 (base) sha256:111111111111 sha256:222222222222".split(),
        "yq yq:1 missing sha256:222222222222".split(),
    ]
    assert (done.status, done.err) == (0, "")
    assert json.loads(dx("outdated", "--json").out) == {"images": tools.compared}
    tools.compared = [image("jq", "current")]
    done = dx("outdated")
    assert (done.out, done.err) == ("", "Everything is up to date.\n")


def test_a_registry_that_does_not_answer_is_told_of(dx: Dx, tools: State) -> None:
    """Beside what the others say."""
    tools.compared = [image("jq", "unknown", reason="no login"), image("yq", "outdated")]
    done = dx("outdated")
    assert (done.status, done.err) == (125, "dx: jq: no login\n")
    assert len(done.out.splitlines()) == 2


def test_an_upgrade_says_what_became_of_each_tool(dx: Dx, tools: State) -> None:
    """One that failed makes the status 125."""
    upgraded = [became("jq", images=["jq:1"]), became("yq", error="no space")]
    tools.prepare = [{"note": "pulled jq:1"}, {"upgraded": upgraded}]
    done = dx("upgrade", "jq", "yq")
    assert (done.status, done.out) == (125, "jq is up to date\n")
    assert done.err == "pulled jq:1\ndx: yq: no space\n"
    done = dx("upgrade", "--json")
    assert [json.loads(each) for each in done.out.splitlines()] == tools.prepare
    assert done.err == "dx: yq: no space\n"
    tools.prepare = [{"upgraded": []}]
    done = dx("upgrade")
    assert (done.status, done.out) == (0, "Everything is up to date.\n")
    assert dx("upgrade", "zq").status == 125


def test_an_image_that_asks_for_more_is_not_taken_without_a_terminal(dx: Dx, tools: State) -> None:
    """A line says what it asks, and what to type."""
    asks = [{"key": "network", "text": "use the host's network"}]
    tools.prepare = [{"upgraded": [became("jq", error="it asks for more", asks=asks, digest="sha256:1")]}]
    done = dx("upgrade", "jq")
    assert done.status == 125
    assert done.err.startswith("dx: jq: it asks for more; allow it with --yes")
    assert tools.asked.count("POST /v1/upgrade") == 1


def test_a_lock_that_holds_and_one_that_does_not(dx: Dx, tools: State) -> None:
    """What is wrong is 1 where that was the question, and dx's own failure where it was not."""
    tools.prepare = [{"complaints": []}]
    assert dx("lock").out == "Everything is locked.\n"
    assert dx("lock", "--check").out == "Everything is as it is locked.\n"
    assert dx("lock", "--upgrade", "jq").status == 0
    tools.prepare = [{"complaints": [{"tool": "jq", "reason": "is not locked"}, {"tool": "", "reason": "no lock"}]}]
    done = dx("lock", "--check")
    assert (done.status, done.out, done.err) == (1, "", "dx: jq: is not locked\ndx: no lock\n")
    assert dx("lock").status == 125
    tools.prepare = [{"note": "pulled jq:1"}, *tools.prepare]
    done = dx("lock", "--json")
    assert ([json.loads(each) for each in done.out.splitlines()], done.err) == (tools.prepare, "")


@pytest.mark.parametrize("words", [["jq"], ["--check", "--upgrade"], ["--check", "jq"]])
def test_arguments_of_a_lock_that_make_no_sense(dx: Dx, tools: State, words: list[str]) -> None:
    """Nothing is asked of the daemon."""
    assert dx("lock", *words).status == 125
    assert tools.asked == []
