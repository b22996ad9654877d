"""The routes of builds, as a curl user meets them."""

import asyncio

import pytest

from dxd.errors import EngineDown
from tests.dxd.api.client import DEADLINE_S
from tests.dxd.api.conftest import Edge

BUILD = {
    "id": 3,
    "tool": "jq",
    "digest": "d" * 64,
    "image_id": "sha256:" + "1" * 64,
    "began_at": "2026-01-02T03:04:05Z",
    "duration_s": 12.5,
    "result": "good",
    "cause": "Dockerfile, main.c",
    "asked_by": "change",
    "error": "",
    "size_bytes": 8 << 20,
    "current": True,
    "pinned": False,
}


async def test_they_are_listed_of_all_tools_or_of_one(edge: Edge) -> None:
    every = (await edge.call("GET", "/v1/builds")).json()["builds"]
    assert every[0] == BUILD
    assert [each["id"] for each in every] == [3, 2, 1]
    assert (every[1]["result"], every[1]["image_id"], every[1]["error"]) == ("failed", None, "no")
    for tool, ids in (("jq", [3, 1]), ("yq", [2]), ("zq", [])):
        found = (await edge.call("GET", f"/v1/builds?tool={tool}")).json()["builds"]
        assert [each["id"] for each in found] == ids
    assert (await edge.call("GET", "/v1/builds?tool=../x")).code == "bad-name"
    assert (await edge.call("GET", "/v1/builds?tol=jq")).status == 400


async def test_one_build(edge: Edge) -> None:
    assert (await edge.call("GET", "/v1/builds/3")).json() == BUILD


@pytest.mark.parametrize("build", ["77", "0", "-7", "x", "7.0", "1" * 5000, "%D9%A7"])
@pytest.mark.parametrize("rest", ["", "/log"])
async def test_a_build_that_is_not_known_is_404(edge: Edge, build: str, rest: str) -> None:
    answer = await edge.call("GET", f"/v1/builds/{build}{rest}")
    assert (answer.status, answer.code) == (404, "not-found")


async def test_a_log_is_text_byte_for_byte(edge: Edge) -> None:
    answer = await edge.call("GET", "/v1/builds/3/log")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.body == b"step 1\nstep 2: \xff\n"
    assert edge.rooms.log_closed.is_set()
    edge.rooms.build_log = []
    assert (await edge.call("GET", "/v1/builds/3/log")).body == b""
    head = await edge.call("HEAD", "/v1/builds/3/log")
    assert (head.status, head.body) == (200, b"")


async def test_a_reader_of_a_log_that_goes_away_ends_it(edge: Edge) -> None:
    """The file is closed."""
    edge.rooms.build_log = [b"x" * 65536] * 1000
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(edge.socket), limit=1024)
        writer.write(b"GET /v1/builds/3/log HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await edge.rooms.log_closed.wait()


async def test_a_tool_goes_back_and_stays_until_it_is_unpinned(edge: Edge) -> None:
    answer = await edge.call("POST", "/v1/tools/jq/rollback", {})
    assert answer.status == 200
    assert answer.json() == {**BUILD, "id": 1, "pinned": True}
    assert (await edge.call("GET", "/v1/builds/3")).json()["current"] is False
    assert (await edge.call("POST", "/v1/tools/jq/rollback", {"build": 3})).json() == {**BUILD, "pinned": True}
    assert (await edge.call("POST", "/v1/tools/jq/unpin")).status == 204
    assert (await edge.call("GET", "/v1/builds/3")).json() == BUILD


@pytest.mark.parametrize("body", [{"build": "3"}, {"build": 0}, {"build": 1.5}, {"build": True}, {"bild": 3}, [], 3])
async def test_a_wrong_number_goes_nowhere(edge: Edge, body: object) -> None:
    assert (await edge.call("POST", "/v1/tools/jq/rollback", body)).status == 400
    assert edge.rooms.builds[0].current


@pytest.mark.parametrize(
    ("tool", "build", "status", "code"),
    [
        ("jq", 77, 404, "not-found"),
        ("jq", 2, 409, "conflict"),
        ("zq", None, 404, "unknown-tool"),
        ("dx", None, 422, "bad-name"),
    ],
)
async def test_where_there_is_no_way_back(edge: Edge, tool: str, build: int | None, status: int, code: str) -> None:
    answer = await edge.call("POST", f"/v1/tools/{tool}/rollback", {"build": build})
    assert (answer.status, answer.code) == (status, code)


async def test_prune_says_what_it_freed(edge: Edge) -> None:
    assert (await edge.call("POST", "/v1/prune")).json() == {"images": 3, "bytes": 120 << 20}
    edge.rooms.down = EngineDown("the engine does not answer", "start it")
    assert (await edge.call("POST", "/v1/prune")).code == "engine-down"
