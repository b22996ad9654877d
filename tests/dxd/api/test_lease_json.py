"""POST /v1/runs for those who speak JSON, and for those who speak neither."""

import base64
from dataclasses import replace

import pytest

from dxd.errors import ImageMissing
from dxd.kit.progress import Progress
from dxd.runs.model import Lease, LeaseRequest, Peer, StillAlive
from tests.dxd.api.client import call
from tests.dxd.api.conftest import Edge

ME = Peer(1, 2, 3)


class TestJson:
    """The form for everybody else."""

    async def test_a_lease(self, edge: Edge) -> None:
        answer = await edge.call("POST", "/v1/runs", {"command": "jq", "cwd": "/home/me"})
        assert answer.status == 200
        assert answer.json() == {
            "run": 7,
            "token": bytes(range(16)).hex(),
            "agent": "/run/dx/agent.sock",
            "grants": [
                {"path": "/home/me/project", "readonly": False, "directory": True},
                {"path": {"base64": base64.b64encode(b"/data/\xff").decode()}, "readonly": True, "directory": False},
            ],
        }

    async def test_bytes_are_strings_or_base64(self, edge: Edge) -> None:
        raw = {"base64": base64.b64encode(b"\xff\n").decode()}
        asked = {"command": "jq", "cwd": "/ä", "args": ["", raw], "env": ["A=ä"], "options": {"network": "none"}}
        assert (await edge.call("POST", "/v1/runs", asked)).status == 200
        request = replace(edge.rooms.asked[0], peer=ME)
        assert request == LeaseRequest(
            command=b"jq",
            args=(b"", b"\xff\n"),
            env=("A=ä".encode(),),
            cwd="/ä".encode(),
            peer=ME,
            options=(("network", "none"),),
        )

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            None,
            "jq",
            {"command": "jq"},
            {"command": "", "cwd": "/"},
            {"command": "jq", "cwd": "relative"},
            {"command": "jq", "cwd": "/", "args": "x"},
            {"command": "jq", "cwd": "/", "args": [1]},
            {"command": "jq", "cwd": "/", "args": [{"base64": "!"}]},
            {"command": "jq", "cwd": "/", "arg": []},
            {"command": "jq", "cwd": "/", "env": {"A": "1"}},
            b"{",
            b"\xff",
            b'{"command": "\\ud800", "cwd": "/"}',
            b"[" * 100_000,
        ],
    )
    async def test_what_does_not_hold_to_the_schema_is_400(self, edge: Edge, body: object) -> None:
        answer = await edge.call("POST", "/v1/runs", b"null" if body is None else body)
        assert (answer.status, answer.code) == (400, "bad-request")
        assert edge.rooms.asked == []

    @pytest.mark.parametrize(
        "more",
        [
            {"args": ["\0"]},
            {"env": ["A=\0"]},
            {"options": {"a": "\0"}},
            {"args": [{"base64": "AA=="}]},
            {"cwd": {"base64": ""}},
            {"command": {"base64": ""}},
        ],
    )
    async def test_what_no_process_can_be_given_is_422(self, edge: Edge, more: dict[str, object]) -> None:
        answer = await edge.call("POST", "/v1/runs", {"command": "jq", "cwd": "/", **more})
        assert (answer.status, answer.code) == (422, "refused")

    async def test_an_error_is_json(self, edge: Edge) -> None:
        async def refuse(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            progress.note("not seen by this client")
            raise ImageMissing("there is no image jq", "pull it")

        edge.rooms.answering = refuse
        answer = await edge.call("POST", "/v1/runs", {"command": "jq", "cwd": "/"})
        assert answer.status == 424
        assert answer.json() == {
            "error": {"code": "image-missing", "message": "there is no image jq", "hint": "pull it"}
        }


async def test_a_body_of_another_kind_is_415(edge: Edge) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""):
        answer = await edge.call("POST", "/v1/runs", b"{}", media_type=media_type)
        assert (answer.status, answer.code) == (415, "unsupported-media-type")
    answer = await call(edge.socket, "POST", "/v1/runs")
    assert (answer.status, answer.code) == (415, "unsupported-media-type")


async def test_a_compressed_body_is_415(edge: Edge) -> None:
    """A bomb is not unpacked."""
    answer = await edge.call("POST", "/v1/runs", b"\x1f\x8b", Content_Encoding="gzip")
    assert (answer.status, answer.code) == (415, "unsupported-media-type")
