"""The route of logs, as a curl user meets it; the room of logs behind it is the real one."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from dxd.logs.keeper import Keeper
from dxd.logs.model import Mark, MarkKind, ServiceId
from tests.dxd.api.client import DEADLINE_S
from tests.dxd.api.conftest import Edge
from tests.dxd.logs.made import DB, ONE, TWO, WEB, at, entry, keep


async def kept(edge: Edge, service: ServiceId) -> Keeper:
    """The service's file, open as a follower has it."""
    return (await edge.logs._opened(service)).keeper


async def print_(edge: Edge, service: ServiceId, *frames: bytes) -> None:
    """Have a service print this."""
    keeper = await kept(edge, service)
    await edge.logs._persist(service, partial(keep, keeper, list(frames)))


async def read(edge: Edge, query: str) -> list[dict[str, Any]]:
    answer = await edge.call("GET", f"/v1/logs?{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.body
    return [json.loads(each) for each in answer.body.splitlines()]


@pytest.fixture
async def shop(edge: Edge) -> Edge:
    """A project with two services that have printed something."""
    await print_(edge, WEB, entry(1, b"one\n"), entry(3, b"three\n", stderr=True), entry(5, b"level=error five\n"))
    await print_(edge, DB, entry(2, b"two \xff\n"), entry(4, b"half"))
    return edge


async def test_services_are_interleaved(shop: Edge) -> None:
    told = await read(shop, "project=shop")
    assert told[:3] == [
        {
            "time": "2027-01-15T08:00:01.000000000Z",
            "service": "web",
            "container": "shop-web-1",
            "stream": "stdout",
            "line": "one",
        },
        {
            "time": "2027-01-15T08:00:02.000000000Z",
            "service": "db",
            "container": "shop-web-1",
            "stream": "stdout",
            "line": {"base64": "dHdvIP8="},
        },
        {
            "time": "2027-01-15T08:00:03.000000000Z",
            "service": "web",
            "container": "shop-web-1",
            "stream": "stderr",
            "line": "three",
        },
    ]
    assert (told[3]["line"], told[3]["partial"]) == ("half", True)
    assert [each["line"] for each in await read(shop, "project=shop&services=web")] == [
        "one",
        "three",
        "level=error five",
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since=2027-01-15T08:00:03Z", ["three", "half", "level=error five"]),
        ("since=1800000004", ["half", "level=error five"]),
        ("until=2027-01-15T08:00:02.5Z&services=web", ["one"]),
        ("tail=1", ["half", "level=error five"]),
        ("tail=0", []),
        ("stream=stderr", ["three"]),
        ("level=warn", ["level=error five"]),
        ("services=web,db&stream=stdout&tail=1&until=1800000002", ["one", {"base64": "dHdvIP8="}]),
    ],
)
async def test_what_is_asked_for_is_what_is_told(shop: Edge, query: str, expected: list[str]) -> None:
    assert [each["line"] for each in await read(shop, f"project=shop&{query}")] == expected


async def test_a_level_is_told_where_it_was_asked_for(shop: Edge) -> None:
    assert [each.get("level") for each in await read(shop, "project=shop&services=web")] == [None] * 3
    assert [each["level"] for each in await read(shop, "project=shop&level=error")] == ["error"]


async def test_marks_have_a_reason(shop: Edge) -> None:
    keeper = await kept(shop, WEB)
    mark = Mark(MarkKind.GAP, "why", at(4), TWO)
    await shop.logs._persist(WEB, partial(keeper.mark, mark))
    assert (await read(shop, "project=shop&services=web"))[2] == {
        "time": "2027-01-15T08:00:04.000000000Z",
        "service": "web",
        "mark": "gap",
        "reason": "why",
        "container": "shop-web-2",
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("project=shop&tail=-1", 400, "bad-request"),
        ("project=shop&tail=1000001", 400, "bad-request"),
        ("project=shop&since=soon", 400, "bad-request"),
        ("project=shop&since=2027-13-01", 422, "refused"),
        ("project=shop&stream=stdin", 400, "bad-request"),
        ("project=shop&level=loud", 400, "bad-request"),
        ("project=shop&follow=yes", 400, "bad-request"),
        ("project=shop&grep=x", 400, "bad-request"),
        ("", 422, "refused"),
        ("project=shop&directory=/", 422, "refused"),
        ("directory=/somewhere", 404, "not-found"),
        ("project=ship", 404, "not-found"),
        ("project=shop&services=wbe", 404, "not-found"),
        ("project=..", 422, "bad-name"),
        ("project=shop&services=%2e%2e", 404, "not-found"),
    ],
)
async def test_what_cannot_be_told(shop: Edge, query: str, status: int, code: str) -> None:
    """Before the answer begins, with what to do about it."""
    answer = await shop.call("GET", f"/v1/logs?{query}")
    assert (answer.status, answer.code) == (status, code)


async def test_a_head_has_no_lines(shop: Edge) -> None:
    answer = await shop.call("HEAD", "/v1/logs?project=shop&follow=true")
    assert (answer.status, answer.body) == (200, b"")


async def test_what_is_followed_goes_on_until_the_daemon_stops(shop: Edge) -> None:
    """Its own connection is done with then."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(shop.socket))
        writer.write(b"GET /v1/logs?project=shop&services=web&follow=true&tail=2 HTTP/1.1\r\nHost: dx\r\n\r\n")
        for expected in (b"three", b"five"):
            while expected not in await reader.readline():
                pass
        await print_(shop, WEB, entry(6, b"six\n"))
        while b'"six"' not in await reader.readline():
            pass
        shop.front.refuse_leases()
        while await reader.readline() != b"0\r\n":
            pass
        writer.close()


async def test_a_reader_that_goes_away_ends_it(shop: Edge) -> None:
    """Nothing of it is left: the fixture looks."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(shop.socket))
        writer.write(b"GET /v1/logs?project=shop&follow=true HTTP/1.1\r\nHost: dx\r\n\r\n")
        while b"five" not in await reader.readline():
            pass
        writer.close()


async def test_a_reader_that_does_not_read_holds_up_nobody(shop: Edge) -> None:
    """The service is written to, and read by others, while one stands still; what that one misses, it is told of."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(shop.socket), limit=1 << 16)
        writer.write(b"GET /v1/logs?project=shop&services=web&follow=true HTTP/1.1\r\nHost: dx\r\n\r\n")
        await reader.readuntil(b'"one"')
        # Its own limit is 1 MiB here; this is eight times as much.
        for number in range(8):
            many = [entry(10 + number * 100 + piece, b"%d" % number + b"x" * 12000 + b"\n") for piece in range(90)]
            await print_(shop, WEB, *many)
        assert (await read(shop, "project=shop&services=web&tail=1"))[0]["line"].startswith("7x")
        rest = b""
        while b'"line":"7x' not in rest:
            rest = rest[-100:] + await reader.read(1 << 16)
            if b'"mark":"dropped"' in rest:
                break
        assert b'"mark":"dropped"' in rest
        writer.close()


async def test_containers_are_told_by_their_names(edge: Edge) -> None:
    keeper = await kept(edge, WEB)
    await edge.logs._persist(WEB, partial(keep, keeper, [entry(1, b"a\n")], ONE))
    await edge.logs._persist(WEB, partial(keep, keeper, [entry(2, b"b\n")], TWO))
    assert [each["container"] for each in await read(edge, "project=shop")] == ["shop-web-1", "shop-web-2"]
