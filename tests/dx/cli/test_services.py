"""dx up and the other verbs about services, against a daemon that answers what the test says."""

import json
from typing import Any

from tests.dx.installed import Dx
from tests.fakes.daemon import State


def service(name: str, state: str = "ready", **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "reason": "",
        "wanted": "up",
        "image": f"{name}:1",
        "containers": [f"shop-{name}-1"],
        "ports": [],
        "health": "none",
        "restarts": 0,
        "running_s": 125.0,
        **keys,
    }


def project(*services: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "directory": "/home/me/shop",
        "files": [],
        "profiles": [],
        "services": list(services),
        "problem": None,
        **keys,
    }


PORTS = [
    {"target": 80, "protocol": "tcp", "address": "0.0.0.0", "port": 8080},
    {"target": 80, "protocol": "tcp", "address": "::", "port": 8080},
    {"target": 53, "protocol": "udp", "address": "127.0.0.1", "port": 5353},
]


def lines(*each: dict[str, Any]) -> tuple[int, bytes]:
    return 200, b"".join(json.dumps(line).encode() + b"\n" for line in each)


def test_up_sends_where_it_is_and_shows_the_services(dx: Dx, daemon: State) -> None:
    made = project(service("db"), service("web", "waiting", reason="waits for db", running_s=None, ports=PORTS))
    daemon.answers["POST /v1/projects"] = lines({"progress": "Container shop-db-1 created"}, {"project": made})
    done = dx("up", "--wait", "db")
    assert (done.status, done.err) == (0, "")
    assert [line.split(None, 5) for line in done.out.splitlines()] == [
        ["SERVICE", "STATE", "FOR", "PORTS", "RESTARTS", "WHY"],
        ["db", "ready", "2", "minutes", "-", "-         -"],
        ["web", "waiting", "-", "8080->80", "5353->53/udp", "-         waits for db"],
    ]


def test_a_service_that_falls_is_shown_with_its_last_words(dx: Dx, daemon: State) -> None:
    error = {"code": "service-failed", "message": "db: out of memory", "hint": "see: dx logs db"}
    daemon.answers["POST /v1/projects"] = lines({"note": "db | last words"}, {"error": error})
    done = dx("up", "--wait")
    assert (done.status, done.out) == (125, "")
    assert done.err == "db | last words\ndx: db: out of memory; see: dx logs db\n"


def test_up_in_json_ends_with_the_project(dx: Dx, daemon: State) -> None:
    made = project(service("db"))
    daemon.answers["POST /v1/projects"] = lines({"progress": "x"}, {"project": made})
    assert [json.loads(line) for line in dx("up", "--json").out.splitlines()] == [{"progress": "x"}, made]


def test_services_are_those_of_this_directory_or_of_all(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/projects"] = 200, json.dumps({"projects": [project(service("db"))]}).encode()
    out = dx("services", "--all").out
    assert out.splitlines()[1].split()[:3] == ["shop", "db", "ready"]
    assert dx("services", "--all", "--names").out == "db\n"
    assert json.loads(dx("services", "--all", "--json").out) == {"projects": [project(service("db"))]}
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project(problem="compose.yaml:3: no")).encode()
    assert dx("services", "--project", "shop").err == "dx: compose.yaml:3: no; until then what was known counts\n"


def test_port_says_where_a_service_is_reached(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project(service("web", ports=PORTS))).encode()
    assert dx("port", "web", "--project", "shop").out == "127.0.0.1:5353\n"
    assert dx("port", "web", "80", "--project", "shop").out == "127.0.0.1:8080\n"
    assert dx("port", "web", "53/udp", "--project", "shop").out == "127.0.0.1:5353\n"
    assert "does not publish its port 443" in dx("port", "web", "443", "--project", "shop").err
    assert "has no service 'wbe'" in dx("port", "wbe", "--project", "shop").err
    assert "'http' is no port" in dx("port", "web", "http", "--project", "shop").err


def test_env_is_code_for_the_shell(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project()).encode()
    variables = {"B_URL": "postgresql://a:b'c@127.0.0.1:1/d", "A_PORT": "1"}
    daemon.answers["GET /v1/projects/shop/env"] = 200, json.dumps({"variables": variables}).encode()
    out = dx("env", "--project", "shop").out
    assert out == "export A_PORT=1\nexport B_URL='postgresql://a:b'\"'\"'c@127.0.0.1:1/d'\n"
    assert json.loads(dx("env", "--project", "shop", "--json").out) == variables


def test_exec_becomes_composes_own(dx: Dx, daemon: State) -> None:
    """Everything after the service is the command's, options too."""
    program = dx.script("compose", '#!/bin/sh\nprintf "%s|" "$DOCKER_HOST" "$@"; exit 7\n')
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project(service("db"))).encode()
    way = {"argv": [str(program), "--project-name", "shop"], "env": {"DOCKER_HOST": "unix:///e"}}
    daemon.answers["GET /v1/projects/shop/services/db/terminal"] = 200, json.dumps(way).encode()
    done = dx("exec", "--project", "shop", "--user", "me", "db", "psql", "--user", "you", "-c", "select 1")
    assert done.status == 7
    assert done.out == ("unix:///e|--project-name|shop|exec|--no-tty|--user|me|db|psql|--user|you|-c|select 1|")


def test_stop_is_for_services_where_the_names_are_theirs(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/projects"] = 200, json.dumps({"projects": [project(service("db"))]}).encode()
    stopped = project(service("db", "stopped", running_s=None))
    daemon.answers["POST /v1/projects/shop/stop"] = lines({"project": stopped})
    assert dx("stop", "db").out.splitlines()[1].split()[:2] == ["db", "stopped"]
    assert dx("stop").status == 0
    assert daemon.asked.count("POST /v1/projects/shop/stop") == 2
    assert "jq" in dx("stop", "jq").err
    assert "not both at once" in dx("stop", "db", "jq").err


def test_forget_and_down(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project()).encode()
    daemon.answers["POST /v1/projects/shop/down"] = lines({"project": project()})
    daemon.answers["DELETE /v1/projects/shop"] = 204, b""
    assert dx("down", "--project", "shop").out == "shop is down; its volumes are kept\n"
    assert dx("down", "--project", "shop", "--volumes").out == "shop is down; its volumes are gone\n"
    assert dx("forget", "--project", "shop").out == "shop is forgotten; its containers are as they were\n"
