"""The routes of the data of services, as a curl user meets them."""

import json

from tests.dxd.api.conftest import Edge

SNAPSHOT = {
    "project": "shop",
    "name": "before",
    "created_at": "2026-11-20T12:00:00Z",
    "files": 3,
    "size_bytes": 4096,
    "volumes": ["shop_data"],
}


async def test_they_are_listed_of_all_or_of_a_project(edge: Edge) -> None:
    assert (await edge.call("GET", "/v1/snapshots")).json() == {"snapshots": [SNAPSHOT]}
    assert (await edge.call("GET", "/v1/snapshots?project=shop")).json() == {"snapshots": [SNAPSHOT]}
    assert (await edge.call("GET", "/v1/snapshots?project=other")).json() == {"snapshots": []}


async def test_what_is_done_ends_with_the_snapshot_or_the_project(edge: Edge) -> None:
    saved = await edge.call("POST", "/v1/projects/shop/snapshots/next", {"services": ["db"]})
    assert [json.loads(line) for line in saved.body.splitlines()] == [
        {"progress": "stopping db"},
        {"snapshot": {**SNAPSHOT, "name": "next"}},
    ]
    restored = await edge.call("POST", "/v1/projects/shop/snapshots/before/restore", {})
    assert json.loads(restored.body) == {"snapshot": SNAPSHOT}
    reset = await edge.call("POST", "/v1/projects/shop/reset", {"services": ["db"]})
    assert json.loads(reset.body.splitlines()[-1])["project"]["name"] == "shop"
    assert edge.rooms.changes == [
        ("save", "shop", ("db",), "next"),
        ("restore", "shop", (), "before"),
        ("reset", "shop", ("db",), None),
    ]


async def test_one_that_is_gone_is_not_found(edge: Edge) -> None:
    assert (await edge.call("DELETE", "/v1/projects/shop/snapshots/before")).json() == SNAPSHOT
    assert (await edge.call("DELETE", "/v1/projects/shop/snapshots/before")).code == "not-found"


async def test_a_service_that_does_not_come_back_is_the_last_line(edge: Edge) -> None:
    answer = await edge.call("POST", "/v1/projects/shop/snapshots/next", {"services": ["fallen"]})
    assert json.loads(answer.body.splitlines()[-1])["error"]["code"] == "service-failed"
