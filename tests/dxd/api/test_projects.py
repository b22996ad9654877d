"""The routes of projects, as a curl user meets them."""

import json
from pathlib import Path

import pytest

from tests.dxd.api.client import Answer
from tests.dxd.api.conftest import Edge

PROJECT = {
    "name": "shop",
    "directory": "/home/me/shop",
    "files": [],
    "profiles": ["debug"],
    "services": [
        {
            "name": "db",
            "state": "ready",
            "reason": "",
            "wanted": "up",
            "image": "postgres:16",
            "containers": ["shop-db-1"],
            "ports": [{"target": 5432, "protocol": "tcp", "address": "0.0.0.0", "port": 5433}],
            "health": "healthy",
            "restarts": 1,
            "running_s": 12.5,
        }
    ],
    "problem": None,
}


def lines(answer: Answer) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_they_are_listed_or_found_by_directory(edge: Edge) -> None:
    assert (await edge.call("GET", "/v1/projects")).json() == {"projects": [PROJECT]}
    found = await edge.call("GET", "/v1/projects?cwd=/home/me/shop/src")
    assert found.json() == {"projects": [PROJECT]}
    assert (await edge.call("GET", "/v1/projects?cwd=/home/me")).code == "unknown-project"
    assert (await edge.call("GET", "/v1/projects?cwd=src")).status == 400
    assert (await edge.call("GET", "/v1/projects/shop")).json() == PROJECT
    assert (await edge.call("GET", "/v1/projects/nope")).code == "unknown-project"


async def test_up_tells_how_it_goes_and_ends_with_the_project(edge: Edge) -> None:
    body = {"cwd": "/home/me/shop", "services": ["db"], "wait": True, "env": {"A": "b"}, "profiles": ["debug"]}
    answer = await edge.call("POST", "/v1/projects", body)
    assert lines(answer) == [{"progress": "Container shop-db-1 created"}, {"project": PROJECT}]
    source, *rest = edge.rooms.ups[0]
    assert (source.directory, source.profiles, dict(source.environ)) == (Path("/home/me/shop"), ("debug",), {"A": "b"})
    assert rest == [("db",), True, False, False]


async def test_a_service_that_falls_is_the_last_line_after_its_last_words(edge: Edge) -> None:
    answer = await edge.call("POST", "/v1/projects", {"cwd": "/x", "services": ["fallen"], "wait": True})
    assert lines(answer)[1:] == [
        {"note": "fallen | last words"},
        {
            "error": {
                "code": "service-failed",
                "message": "fallen: ended with status 3",
                "hint": "see: dx logs fallen",
            }
        },
    ]


async def test_a_bug_is_told_as_one(edge: Edge) -> None:
    answer = await edge.call("POST", "/v1/projects", {"cwd": "/bug"})
    assert [each["error"]["code"] for each in lines(answer)] == ["internal"]  # type: ignore[index]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"cwd": "x"},
        {"cwd": "/x\0"},
        {"cwd": "/x", "env": {"A=": "b"}},
        {"cwd": "/x", "env": {"A": "b\0"}},
        {"cwd": "/x", "services": ["../x"]},
        {"cwd": "/x", "name": "Shop"},
        {"cwd": "/x", "profiles": ["--volumes"]},
        {"cwd": "/x", "wat": True},
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(edge: Edge, body: dict[str, object]) -> None:
    assert (await edge.call("POST", "/v1/projects", body)).status == 400
    assert edge.rooms.ups == []


@pytest.mark.parametrize(
    ("verb", "body", "more"),
    [
        ("start", {"services": ["db"], "wait": True}, True),
        ("stop", {"services": ["db"]}, None),
        ("restart", {"services": ["db"], "env": {"A": "b"}}, {"A": "b"}),
        ("wait", {"services": ["db"]}, None),
    ],
)
async def test_services_are_changed(edge: Edge, verb: str, body: dict[str, object], more: object) -> None:
    answer = await edge.call("POST", f"/v1/projects/shop/{verb}", body)
    assert lines(answer)[-1] == {"project": PROJECT}
    assert edge.rooms.changes == [(verb, "shop", ("db",), more)]
    assert (await edge.call("POST", f"/v1/projects/nope/{verb}", body)).code == "unknown-project"


async def test_down_and_forget(edge: Edge) -> None:
    answer = await edge.call("POST", "/v1/projects/shop/down", {"volumes": True})
    assert lines(answer)[-1] == {"project": PROJECT}
    assert edge.rooms.changes == [("down", "shop", (), True)]
    assert (await edge.call("DELETE", "/v1/projects/shop")).status == 204
    assert (await edge.call("DELETE", "/v1/projects/shop")).code == "unknown-project"


async def test_variables_and_the_way_to_a_terminal(edge: Edge) -> None:
    assert (await edge.call("GET", "/v1/projects/shop/env")).json() == {"variables": {"DB_PORT": "5433"}}
    assert (await edge.call("GET", "/v1/projects/shop/services/db/terminal")).json() == {
        "argv": ["/bin/docker-compose", "--project-name", "shop"],
        "env": {"DOCKER_HOST": "unix:///e.sock"},
    }
    assert (await edge.call("GET", "/v1/projects/shop/services/x/terminal")).code == "unknown-service"
