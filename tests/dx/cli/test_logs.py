"""`dx logs`: what it shows of what the daemon tells, and how it goes on over the daemon's ends."""

import base64
import json
import signal
import subprocess
from typing import Any

import pytest

from dx.cli.resume import Resume
from tests.dx.installed import Dx
from tests.fakes.daemon import State
from tests.waiting import until


def line(second: float, text: str | bytes, service: str = "web", container: str = "shop-web-1", **more: Any) -> Any:
    data = text if isinstance(text, str) else {"base64": base64.b64encode(text).decode()}
    time = f"2026-11-24T10:00:{second:012.9f}Z"
    return {"time": time, "service": service, "container": container, "stream": "stdout", "line": data, **more}


def mark(second: float, kind: str, reason: str) -> Any:
    return {"time": f"2026-11-24T10:00:{second:012.9f}Z", "service": "web", "mark": kind, "reason": reason}


LINES = [
    line(1, "one"),
    line(2, "ready", "database", "shop-database-1"),
    line(3, b"\xff\x00raw", "web", "shop-web-2"),
    line(4, "half", partial=True),
]


def test_lines_stand_behind_their_service(dx: Dx, daemon: State) -> None:
    daemon.logs = [LINES]
    done = dx("logs", "-p", "shop")
    assert (done.status, done.err) == (0, "")
    assert done.out == "web-1 | one\ndatabase-1 | ready\nweb-2      | \udcff\x00raw\nweb-1      | half\n"


def test_without_prefixes_it_is_byte_for_byte(dx: Dx, daemon: State) -> None:
    daemon.logs = [LINES]
    for flag in ("--no-prefix", "--no-log-prefix"):
        assert dx("logs", flag).out == "one\nready\n\udcff\x00raw\nhalf"


def test_timestamps_and_json(dx: Dx, daemon: State) -> None:
    daemon.logs = [LINES]
    assert dx("logs", "-t").out.startswith("web-1 | 2026-11-24T10:00:01.000000000Z one\n")
    assert [json.loads(each) for each in dx("logs", "--json").out.splitlines()] == LINES


def test_what_is_asked_of_the_daemon(dx: Dx, daemon: State) -> None:
    dx("logs", "-p", "shop", "web", "db", "--since", "10m", "--until", "2026-11-24", "-n", "5", "--level", "warn")
    assert daemon.asked == ["GET /v1/logs?project=shop&services=web%2Cdb&since=10m&until=2026-11-24&tail=5&level=warn"]
    dx("logs", "--stream", "stderr", "--tail", "all")
    assert daemon.asked[1] == f"GET /v1/logs?directory={str(dx.root).replace('/', '%2F')}&stream=stderr"


@pytest.mark.parametrize("option", [("--tail", "-1"), ("--tail", "x"), ("--grep", "("), ("--level", "loud")])
def test_options_that_make_no_sense(dx: Dx, daemon: State, option: tuple[str, str]) -> None:
    done = dx("logs", *option)
    assert done.status == 125
    assert len(done.err.splitlines()) == 1
    assert daemon.asked == []


def test_grep_is_of_lines_and_tail_of_what_is_found(dx: Dx, daemon: State) -> None:
    daemon.logs = [[line(number, f"number {number}") for number in range(30)] + [line(40, b"number \xff8")]]
    assert dx("logs", "--no-prefix", "--grep", "[05]$").out.split("\n")[:3] == ["number 0", "number 5", "number 10"]
    assert dx("logs", "--no-prefix", "--grep", "8", "-n", "2").out == "number 28\nnumber \udcff8\n"
    assert "tail=" not in daemon.asked[1]


def test_marks_are_said_beside_the_lines(dx: Dx, daemon: State) -> None:
    daemon.logs = [
        [line(1, "one"), mark(2, "gap", "the disk was full"), line(3, "two"), mark(4, "ended", "it stopped")]
    ]
    done = dx("logs")
    assert done.out == "web-1 | one\nweb-1 | two\n"
    assert done.err == "dx: web: output is missing here: the disk was full\n"


def test_on_a_terminal_there_are_colours_and_nothing_that_harms_it(dx: Dx, daemon: State) -> None:
    daemon.logs = [
        [line(1, "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J"), line(2, "x", "db", "db-1"), line(3, b"\xff\r")]
    ]
    shown = dx.on_terminal("logs").out.replace("\r\n", "\n")
    assert shown.startswith("\x1b[36mweb-1 | \x1b[0m\x1b[31mred\x1b[0m \\x1b]0;title\\x07\\x1b[2J\x1b[0m\n")
    assert "\x1b[33mdb-1  | \x1b[0mx\n" in shown
    assert "\\xff\n" in shown
    plain = dx.on_terminal("logs", NO_COLOR="1").out
    assert "\x1b" not in plain
    assert "web-1 | red \\x1b]0;title" in plain


def test_an_unknown_service_is_one_line(dx: Dx, daemon: State) -> None:
    error = {"error": {"code": "not-found", "message": "nothing is kept of wbe", "hint": "did you mean web?"}}
    daemon.answers["GET /v1/logs"] = (404, json.dumps(error).encode())
    done = dx("logs", "-f", "wbe")
    assert (done.status, done.out, done.err) == (125, "", "dx: nothing is kept of wbe; did you mean web?\n")


def test_following_goes_on_where_it_was_when_the_daemon_began_anew(dx: Dx, daemon: State) -> None:
    """What comes twice is shown once; where an answer is cut, or just ends. Ctrl-C ends it."""
    first = [line(1, "a"), line(2, "b"), line(2, "c"), line(1.5, "side", stream="stderr")]
    daemon.logs = [
        [*first[:3], {}],
        [*first, line(2, "d")],
        [*first, line(2, "d"), mark(4, "gap", "lost"), line(5, "e", "db", "db-1"), {"wait": True}],
    ]
    process = subprocess.Popen(
        [dx.program, "logs", "-f", "--no-prefix", "-n", "7"],
        env=dx.environ, cwd=dx.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    shown = [process.stdout.readline().rstrip("\n") for _ in range(6)]
    assert shown == ["a", "b", "c", "side", "d", "e"]
    until(daemon.waiting.is_set, "the last answer was read")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.count("waiting for the daemon") == 1
    assert "output is missing here: lost" in err
    assert "tail=7" in daemon.asked[0]
    for later in daemon.asked[1:3]:
        assert "since=2026-11-24T09%3A59%3A52Z" in later
        assert "tail" not in later


def test_what_is_shown_once_is_not_shown_again() -> None:
    """Three lines of one moment, of which two were shown."""
    resume = Resume()
    three = [line(1, "x"), line(1, "x"), line(1, "x")]
    assert [resume.is_new(each) for each in three[:2]] == [True, True]
    assert resume.since == "2026-11-24T09:59:51Z"
    resume.again()
    assert [resume.is_new(each) for each in three] == [False, False, True]
    resume.again()
    assert [resume.is_new(each) for each in [*three, line(1, "y")]] == [False, False, False, True]
