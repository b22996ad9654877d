"""A daemon with tools but without an engine: API v1 on a Unix socket, as far as the command line uses it.

For tests of the command line that are about what it shows, and about answers that the real daemon never gives. What it
has in common with the real one is held by tests/dx/test_api.py's contract, which either can be put under.

As a program: `python daemon.py SOCKET` serves until SIGTERM or `POST /v1/daemon/stop`.
"""

import json
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOOL_DEFAULTS: dict[str, Any] = {
    "image": None,
    "build": None,
    "on_change": "serve",
    "smoke": [],
    "entrypoint": None,
    "commands": [],
    "network": "bridge",
    "user": "me",
    "env": [],
    "mounts": [],
    "paths": "auto",
    "git": "read",
    "caches": [],
    "root": "fresh",
    "scratch": "memory",
    "scratch_size": None,
    "memory": None,
    "cpus": None,
    "pids": None,
    "ulimits": {},
    "ports": [],
    "devices": [],
    "gpus": None,
    "share": [],
    "needs": [],
}


class Refusal(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "hint": hint}}


@dataclass
class State:
    """What the daemon knows; tests set it and look at it."""

    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    containers: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    """How many layers of kept roots there are, by tool."""
    caches: list[dict[str, Any]] = field(default_factory=list)
    builds: list[dict[str, Any]] = field(default_factory=list)
    build_log: bytes = b""
    compared: list[dict[str, Any]] = field(default_factory=list)
    freed: dict[str, int] = field(default_factory=lambda: {"images": 0, "bytes": 0})
    runs: list[dict[str, Any]] = field(default_factory=list)
    projects: list[dict[str, Any]] = field(default_factory=list)
    logs: list[list[dict[str, Any]]] = field(default_factory=lambda: [[]])
    """The lines of each answer about logs, one after the other; the last is given again and again. One with an empty
    line in it is cut there."""
    prepare: list[dict[str, Any]] = field(default_factory=lambda: [{"image": "sha256:" + "0" * 64}])
    """The lines of the next preparation; one that is empty cuts the connection."""
    pushed: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of pushes."""
    describe: list[dict[str, Any]] = field(
        default_factory=lambda: [{"description": {"definition": {}, "asks": [], "notes": []}}]
    )
    """The lines of the next description."""
    foreign: list[str] = field(default_factory=list)
    engine: dict[str, Any] = field(
        default_factory=lambda: {"state": "up", "address": "unix:///e.sock", "version": "20.10.24", "reason": None}
    )
    ladder: list[dict[str, str]] = field(
        default_factory=lambda: [
            {"step": step, "way": way, "reason": "", "cure": ""}
            for step, way in (("root", "overlay"), ("grants", "mounts"), ("reach", "socket"))
        ]
    )
    problem: str | None = None
    failed_builds: dict[str, str] = field(default_factory=dict)
    unkept: list[dict[str, str]] = field(default_factory=list)
    unwatched: list[dict[str, str]] = field(default_factory=list)
    ready: bool = True
    version: str = "0.1.0"
    pid: int = field(default_factory=os.getpid)
    headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By `METHOD PATH`: a status and a body to give instead of the right ones."""
    asked: list[str] = field(default_factory=list)
    """Every request: `METHOD PATH`."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Set by a test that wants a preparation with a line `{"wait": true}` to go on."""
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set when such a line was reached."""
    stopped: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        """Any method."""
        state = self.server.state
        path = urlsplit(self.path)
        query = {key: each[0] for key, each in parse_qs(path.query).items()}
        state.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.close_connection = True
        try:
            if given := state.answers.get(f"{self.command} {path.path}"):
                return self._send(*given)
            parts = [unquote(part) for part in path.path.strip("/").split("/")][1:]
            if parts[:1] == ["tools"] and parts[2:] == ["prepare"]:
                need(state, parts[1])
                return self._stream(state.prepare)
            if parts[:1] == ["tools"] and parts[2:] == ["push"]:
                need(state, parts[1])
                state.pushed.append(json.loads(body))
                return self._stream(state.prepare)
            if parts == ["describe"]:
                return self._stream(state.describe)
            if parts == ["lock"]:
                return self._stream(state.prepare)
            if parts == ["upgrade"]:
                for name in json.loads(body)["tools"]:
                    need(state, name)
                return self._stream(state.prepare)
            if parts == ["logs"]:
                return self._stream(state.logs.pop(0) if len(state.logs) > 1 else state.logs[0])
            if parts[:1] == ["builds"] and parts[2:] == ["log"]:
                need_build(state, parts[1])
                return self._send(200, state.build_log)
            status, value = answer(state, self.command, parts, query, body)
            self._send(status, b"" if value is None else json.dumps(value).encode() + b"\n")
            if value == {"stopping": True}:  # it has been told by now
                state.stopped.set()
        except Refusal as refusal:
            self._send(refusal.status, json.dumps(refusal.body).encode())

    do_PUT = do_POST = do_DELETE = do_GET

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self._send_own_headers()
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, lines: list[dict[str, Any]]) -> None:
        state = self.server.state
        self.send_response(200)
        self._send_own_headers()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if not line:
                return
            if line == {"wait": True}:
                state.waiting.set()
                state.hold.wait(20)
                continue
            data = json.dumps(line).encode() + b"\n"
            for piece in (data[:5], data[5:]):  # a line may come in parts
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _send_own_headers(self) -> None:
        for name, value in self.server.state.headers.items():
            self.send_header(name, value)

    def address_string(self) -> str:
        """There is none on a Unix socket."""
        return "client"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Be silent."""


def need(state: State, name: str) -> dict[str, Any]:
    """The tool of that name."""
    if name not in state.tools:
        raise Refusal(404, "unknown-tool", f'no tool is called "{name}"', "dx ls shows what there is")
    return state.tools[name]


def need_build(state: State, number: str) -> dict[str, Any]:
    """The build of that number."""
    for each in state.builds:
        if str(each["id"]) == number:
            return each
    raise Refusal(404, "not-found", f"there is no build {number}", "see: dx builds")


def roll_back(state: State, name: str, number: int | None) -> dict[str, Any]:
    """Make a build of the tool the current one; the latest good one before it, if no number says which."""
    need(state, name)
    of_tool = [each for each in state.builds if each["tool"] == name and each["result"] == "good"]
    older = [each for each in of_tool if not each["current"]]
    if number is None and not older:
        raise Refusal(404, "not-found", f"{name} has no build to go back to", "see: dx builds")
    found = older[0] if number is None else need_build(state, str(number))
    for each in of_tool:
        each["current"] = each["pinned"] = each is found
    return found


def answer(
    state: State, method: str, parts: list[str], query: dict[str, str], body: bytes
) -> tuple[int, dict[str, Any] | None]:
    """The status and the body of one answer."""
    match method, *parts:
        case "GET", "status":
            return 200, status(state)
        case "GET", "tools":
            return 200, {"tools": [{"project": None, **each} for each in state.tools.values()]}
        case "GET", "tools", name:
            return 200, {"project": None, **need(state, name)}
        case "PUT", "tools", name:
            is_new = name not in state.tools
            state.tools[name] = {"name": name, **TOOL_DEFAULTS, **json.loads(body)}
            return 201 if is_new else 200, {"project": None, **state.tools[name]}
        case "DELETE", "tools", name:
            need(state, name)
            del state.tools[name]
            return 204, None
        case "POST", "shims":
            commands = [each for tool in state.tools.values() for each in tool["commands"] or [tool["name"]]]
            kept = [each for each in commands if each not in state.foreign]
            return 200, {"directory": "/shims", "added": [], "removed": [], "foreign": state.foreign, "kept": kept}
        case "POST", "check":
            if b"bad" in body:
                raise Refusal(422, "bad-definition", "/dx.toml:1: bad: unknown key", "did you mean good?")
            return 204, None
        case "GET", "containers":
            return 200, {"containers": state.containers}
        case "DELETE", "containers":
            gone = [each for each in state.containers if query.get("tool") in (None, *each["tools"])]
            state.containers = [each for each in state.containers if each not in gone]
            return 200, {"dropped": len(gone)}
        case "DELETE", "tools", name, "root":
            return 200, {"dropped": state.kept.pop(name, 0)}
        case "GET", "caches":
            return 200, {"caches": state.caches}
        case "DELETE", "caches":
            keep = [each for each in state.caches if not query.items() <= each.items()]
            if keep == state.caches:
                raise Refusal(404, "not-found", f"{query['tool']} has no cache", "see: dx cache ls")
            dropped = [each for each in state.caches if each not in keep]
            state.caches = keep
            return 200, {"dropped": dropped}
        case "GET", "builds":
            return 200, {"builds": [each for each in state.builds if query.get("tool") in (None, each["tool"])]}
        case "GET", "builds", number:
            return 200, need_build(state, number)
        case "POST", "tools", name, "rollback":
            return 200, roll_back(state, name, json.loads(body)["build"])
        case "POST", "tools", name, "unpin":
            need(state, name)
            for each in state.builds:
                each["pinned"] &= each["tool"] != name
            return 204, None
        case "GET", "outdated":
            return 200, {"images": state.compared}
        case "POST", "prune":
            return 200, state.freed
        case "GET", "runs":
            live = {"live": ("leased", "running"), "finished": ("finished", "lost")}.get(query.get("state", ""))
            return 200, {"runs": [run for run in state.runs if live is None or run["state"] in live]}
        case "GET", "projects":
            found = [each for each in state.projects if query.get("cwd", each["directory"]) == each["directory"]]
            if "cwd" in query and not found:
                raise Refusal(404, "unknown-project", f"there is no project at {query['cwd']}")
            return 200, {"projects": found}
        case "GET", "projects", name:
            for each in state.projects:
                if each["name"] == name:
                    return 200, each
            raise Refusal(404, "unknown-project", f"no project is called {name}")
        case "POST", "daemon", "stop":
            return 202, {"stopping": True}
    raise Refusal(404, "not-found", "there is nothing at this path")


def status(state: State) -> dict[str, Any]:
    """The daemon as a whole."""
    return {
        "version": state.version,
        "wire": 1,
        "pid": state.pid,
        "uptime_s": 61.5,
        "ready": state.ready,
        "engine": state.engine,
        "ladder": state.ladder,
        "tools": len(state.tools),
        "problem": state.problem,
        "failed_builds": [{"tool": tool, "reason": reason} for tool, reason in state.failed_builds.items()],
        "unkept": state.unkept,
        "unwatched": state.unwatched,
        "containers": len(state.containers),
        "runs": len(state.runs),
    }


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves `state`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, socket: str, state: State) -> None:
        self.state = state
        super().__init__(socket, Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is its own business."""


@contextmanager
def serving(socket: str) -> Iterator[State]:
    """A daemon on that socket for the time of the block."""
    state = State()
    with Server(socket, state) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            state.hold.set()
            server.shutdown()
            thread.join()
            os.unlink(socket)


def main() -> None:
    """Serve until somebody says stop."""
    with serving(sys.argv[1]) as state:
        signal.signal(signal.SIGTERM, lambda *_: state.stopped.set())
        state.stopped.wait(30)


if __name__ == "__main__":
    main()
