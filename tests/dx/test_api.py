"""The API client: errors in one place, typed answers, streams."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dx.api import ApiError, BadAnswer, Client, Unreachable, WrongVersion, compatible
from tests.fakes.daemon import State, serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the socket."""
    return tmp_path / "dxd.sock"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    """A daemon on it."""
    with serving(str(path)) as state:
        yield state


def test_a_tool_comes_and_goes(path: Path, state: State) -> None:
    """The contract of tools: what was put is found, listed, replaced and gone after."""
    client = Client(path)
    assert client.tools() == []
    tool = client.put_tool("jq", {"image": "jq", "env": ["A=1"]})
    assert (tool["name"], tool["image"], tool["env"], tool["network"]) == ("jq", "jq", ["A=1"], "bridge")
    assert client.tool("jq") == tool
    assert client.tools() == [tool]
    assert client.put_tool("jq", {"image": "other"})["env"] == []
    client.delete_tool("jq")
    with pytest.raises(ApiError) as caught:
        client.tool("jq")
    assert (caught.value.status, caught.value.code) == (404, "unknown-tool")
    assert caught.value.hint


def test_a_preparation_is_a_stream_with_an_end(path: Path, state: State) -> None:
    """The end is the image; an error in it is raised."""
    client = Client(path)
    client.put_tool("jq", {"image": "jq"})
    state.prepare = [{"note": "n"}, {"progress": "p"}, {"image": "i"}]
    assert list(client.prepare("jq")) == state.prepare
    state.prepare = [{"note": "n"}, {"error": {"code": "image-missing", "message": "m", "hint": "h"}}]
    lines = client.prepare("jq")
    assert next(lines) == {"note": "n"}
    with pytest.raises(ApiError) as caught:
        next(lines)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("image-missing", "m", "h")


def test_a_preparation_that_is_not_for_that_tool_fails_at_once(path: Path, state: State) -> None:
    """Before the stream begins."""
    with pytest.raises(ApiError):
        list(Client(path).prepare("nothing"))


@pytest.mark.parametrize("lines", [[], [{"note": "n"}], [{"note": "n"}, {}]])
def test_a_preparation_without_an_end_is_no_success(path: Path, state: State, lines: list[dict[str, str]]) -> None:
    """The daemon was killed, for example."""
    client = Client(path)
    client.put_tool("jq", {"image": "jq"})
    state.prepare = list(lines)
    with pytest.raises(BadAnswer):
        list(client.prepare("jq"))


def test_nobody_there_is_unreachable(path: Path) -> None:
    """With the cure; and somebody may start it."""
    with pytest.raises(Unreachable) as caught:
        Client(path).tools()
    assert caught.value.hint == "start it with: dx daemon start"
    started = []
    with pytest.raises(Unreachable):
        Client(path, start=lambda: started.append(1)).tools()
    assert started == [1]


def test_a_request_waits_for_the_start(path: Path) -> None:
    """And is made then."""
    running = serving(str(path))
    states = []
    client = Client(path, start=lambda: states.append(running.__enter__()))
    try:
        assert client.tools() == []
        assert client.tools() == []
        assert len(states) == 1
    finally:
        running.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"no json"),
        (500, b"<html>"),
        (500, b'{"error": "text"}'),
        (502, b"\xff\n\x1b[31m"),
        (404, b"[]"),
    ],
)
def test_an_answer_without_sense_says_so(path: Path, state: State, status: int, body: bytes) -> None:
    """Never a crash."""
    state.answers["GET /v1/tools/x"] = (status, body)
    if status == 200 and not body:
        assert Client(path).tool("x") is None
        return
    with pytest.raises(BadAnswer):
        Client(path).tool("x")


def test_a_silent_daemon_is_told_with_the_cure(path: Path) -> None:
    """Within the deadline."""
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(BadAnswer, match="does not answer within 0.05 s") as caught:
            Client(path, timeout_s=0.05).tools()
    assert "dx daemon restart" in caught.value.hint


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("0.1.0", "0.1.0", True),
        ("0.1.9", "0.1.0", True),
        ("0.2.0", "0.1.0", True),
        ("0.3.0", "0.1.0", False),
        ("1.0.0", "0.9.0", False),
        ("0.1.0.dev3", "0.1.0", True),
        ("weird", "weird", True),
        ("weird", "0.1.0", False),
    ],
)
def test_one_minor_version_apart_is_fine(theirs: str, ours: str, fits: bool) -> None:
    """In both directions, within a major version."""
    assert compatible(theirs, ours) is fits
    assert compatible(ours, theirs) is fits


def test_a_daemon_of_another_version_is_refused_before_its_answer_is_used(path: Path, state: State) -> None:
    """But it can be asked how it is, and told to stop."""
    state.headers["Dx-Version"] = "7.0.0"
    client = Client(path)
    with pytest.raises(WrongVersion, match=r"7\.0\.0"):
        client.tools()
    assert client.status()["wire"] == 1
    client.stop()
    assert state.stopped.wait(5)


def test_everything_else_is_one_request_each(path: Path, state: State) -> None:
    """With the paths of the API."""
    client = Client(path)
    client.containers()
    client.drop_containers()
    client.drop_containers("a b")
    client.runs()
    client.runs("live")
    client.builds()
    client.builds("a b")
    client.prune()
    client.reshim()
    client.check("good")
    with pytest.raises(ApiError):
        client.check("bad")
    state.answers["POST /v1/runs/7/signal"] = (204, b"")
    client.signal(7, "TERM", group=True)
    state.answers["GET /v1/events"] = (200, json.dumps({"kind": "x"}).encode() + b"\n\n")
    assert list(client.events()) == [{"kind": "x"}]
    assert state.asked == [
        "GET /v1/containers",
        "DELETE /v1/containers",
        "DELETE /v1/containers?tool=a%20b",
        "GET /v1/runs",
        "GET /v1/runs?state=live",
        "GET /v1/builds",
        "GET /v1/builds?tool=a%20b",
        "POST /v1/prune",
        "POST /v1/shims",
        "POST /v1/check",
        "POST /v1/check",
        "POST /v1/runs/7/signal",
        "GET /v1/events",
    ]


def test_a_build_is_looked_at_and_gone_back_to(path: Path, state: State) -> None:
    """Its log is bytes, whatever they are; an error of it is one of the API."""
    client = Client(path)
    client.put_tool("jq", {"image": "jq"})
    state.builds = [{"id": 3, "tool": "jq", "result": "good", "current": False, "pinned": False}]
    state.build_log = b"\xff\n\n"
    assert client.build(3)["id"] == 3
    assert client.build_log(3) == b"\xff\n\n"
    assert client.rollback("jq")["pinned"]
    assert client.rollback("jq", 3)["current"]
    client.unpin("jq")
    assert not client.build(3)["pinned"]
    with pytest.raises(ApiError) as caught:
        client.build_log(4)
    assert (caught.value.status, caught.value.code) == (404, "not-found")
