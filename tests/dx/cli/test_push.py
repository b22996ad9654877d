"""dx push."""

import json

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State

TO = "a.example/x:1"
PUSHED = {"pushed": {"ref": TO, "digest": "sha256:1"}}


@pytest.fixture
def tool(daemon: State) -> State:
    """One that has no values of variables."""
    daemon.tools["x"] = {
        "name": "x",
        **TOOL_DEFAULTS,
        "image": "x",
        "network": "none",
        "env": ["AWS_*"],
        "mounts": ["/srv:/srv"],
    }
    daemon.prepare = [{"note": "pushing"}, PUSHED]
    return daemon


def test_a_tool_is_pushed_with_its_labels(dx: Dx, tool: State) -> None:
    """What is left out is said; the last line says how it is had elsewhere."""
    done = dx("push", "x", TO)
    assert (done.status, done.out) == (0, f"{TO} is sha256:1\n")
    assert tool.pushed == [{"to": TO, "labels": {"dev.dx.network": "none", "dev.dx.env": '["AWS_*"]'}}]
    assert "dx: without the mount of /srv" in done.err
    assert done.err.splitlines()[-1] == f"Elsewhere: dx add x {TO}"
    lines = [json.loads(line) for line in dx("push", "x", TO, "--json").out.splitlines()]
    assert lines == [{"note": "pushing"}, PUSHED]


def test_values_are_published_only_when_that_is_allowed(dx: Dx, tool: State) -> None:
    """By --yes, where nobody can be asked; the values themselves are in no message."""
    tool.tools["x"]["env"] = ["TOKEN=hush"]
    done = dx("push", "x", TO)
    assert (done.status, tool.pushed) == (125, [])
    assert done.err.startswith("dx: whoever has the image will be able to read the value of TOKEN; push it with --yes")
    assert "hush" not in done.err
    assert dx("push", "x", TO, "--yes").status == 0
    assert len(tool.pushed) == 1


def test_a_tool_that_is_unknown(dx: Dx, tool: State) -> None:
    """As everywhere."""
    assert dx("push", "y", TO).status == 125
