"""dx ps and dx stop."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.dx.cli.test_services import project, service
from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def when(**ago: float) -> str:
    """A time as the API writes it."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def container(**keys: Any) -> dict[str, Any]:
    """A warm container."""
    return {
        "id": "0123456789abcdef" * 4,
        "image": "jq:1.7",
        "image_id": "sha256:" + "0" * 64,
        "tools": ["jq"],
        "network": "bridge",
        "state": "warm",
        "runs": 0,
        "idle_s": 125.0,
        "created_at": when(hours=3),
        "agent_pid": 77,
        **keys,
    }


def run(**keys: Any) -> dict[str, Any]:
    """A run that goes on."""
    return {
        "id": 7,
        "tool": "jq",
        "command": "jq",
        "container": "0123456789abcdef" * 4,
        "client_pid": 4711,
        "state": "running",
        "created_at": when(seconds=5.2),
        "started_at": when(seconds=5.1),
        "duration_s": 0.0123,
        "exit_code": None,
        "signal": None,
        "user_s": None,
        "system_s": None,
        "max_rss_bytes": None,
        **keys,
    }


def test_ps_shows_containers_and_runs(dx: Dx, daemon: State) -> None:
    """Times as people say them."""
    daemon.containers = [container(runs=1), container(id="f" * 64, image="sha256:" + "ab" * 32, tools=[])]
    daemon.runs = [run(), run(id=6, state="finished", exit_code=3), run(id=5, state="finished", signal=9)]
    lines = [line.split() for line in dx("ps").out.splitlines()]
    assert lines == [
        "CONTAINER IMAGE TOOLS NETWORK STATE RUNS IDLE CREATED".split(),
        "0123456789ab jq:1.7 jq bridge warm 1 - 3 hours ago".split(),
        "ffffffffffff abababababab - bridge warm 0 2 minutes 3 hours ago".split(),
        [],
        "RUN TOOL COMMAND CONTAINER PID STATE TIME STARTED".split(),
        "7 jq jq 0123456789ab 4711 running 12 ms 5 seconds ago".split(),
    ]
    states = [line.split()[5:7] for line in dx("ps", "--all").out.splitlines()[-2:]]
    assert states == [["exit", "3"], ["signal", "9"]]


def test_ps_in_json(dx: Dx, daemon: State) -> None:
    """As the API has it."""
    daemon.containers = [container()]
    daemon.runs = [run(), run(state="lost")]
    daemon.projects = [project(service("db"))]
    assert json.loads(dx("ps", "--json").out) == {
        "projects": daemon.projects,
        "containers": daemon.containers,
        "runs": daemon.runs[:1],
    }


def test_ps_shows_the_services_of_this_directory_or_of_all(dx: Dx, daemon: State) -> None:
    """As `dx services` does, before the rest; `--project` names one."""
    shop = project(service("db"), directory=str(dx.root))
    daemon.projects = [shop, project(service("web"), name="blog", problem="compose.yaml: broken")]
    daemon.containers = [container()]
    tables = [[line.split()[0] for line in each.splitlines()] for each in dx("ps").out.split("\n\n")]
    assert tables == [["SERVICE", "db"], ["CONTAINER", "0123456789ab"]]
    daemon.containers = []
    done = dx("ps", "--project", "blog")
    assert [line.split()[:2] for line in done.out.splitlines()] == [["SERVICE", "STATE"], ["web", "ready"]]
    assert "compose.yaml: broken" in done.err
    every = [["PROJECT", "SERVICE"], ["shop", "db"], ["blog", "web"]]
    assert [line.split()[:2] for line in dx("ps", "--all").out.splitlines()] == every
    shop["directory"] = "/elsewhere"
    assert [line.split()[:2] for line in dx("ps").out.splitlines()] == every


def test_ps_of_nothing_is_silent_for_scripts(dx: Dx, daemon: State) -> None:
    """Standard output has nothing on it."""
    done = dx("ps")
    assert (done.status, done.out) == (0, "")
    assert "Nothing is warm" in done.err


def test_stop_drops_the_containers_of_tools(dx: Dx, daemon: State) -> None:
    """Those that are named, and no others."""
    daemon.tools = {name: {"name": name, **TOOL_DEFAULTS} for name in ("jq", "gcc", "yq")}
    daemon.containers = [container(), container(tools=["gcc"]), container(tools=["yq"])]
    assert dx("stop", "jq", "gcc").out == "2 warm containers removed\n"
    assert daemon.containers == [container(tools=["yq"], created_at=daemon.containers[0]["created_at"])]
    assert dx("stop", "jq").out == "Nothing was warm\n"
    assert json.loads(dx("stop", "--all", "--json").out) == {"dropped": 1}


def test_stop_of_an_unknown_tool_is_told(dx: Dx, daemon: State) -> None:
    """The others are stopped all the same."""
    daemon.tools = {"jq": {"name": "jq", **TOOL_DEFAULTS}}
    daemon.containers = [container()]
    done = dx("stop", "zzz", "jq")
    assert (done.status, done.out) == (125, "1 warm container removed\n")
    assert done.err.count("\n") == 1


def test_stop_wants_names_or_all(dx: Dx, daemon: State) -> None:
    """Not both, not neither."""
    for arguments in (["stop"], ["stop", "jq", "--all"]):
        assert dx(*arguments).status == 125
    assert [each for each in daemon.asked if not each.startswith("GET /v1/projects?cwd=")] == []
