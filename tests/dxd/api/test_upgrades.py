"""The routes of upgrades, as a curl user meets them."""

import json

from tests.dxd.api.conftest import Edge

OUTDATED = {
    "tool": "jq",
    "image": "jq:1",
    "is_base": False,
    "standing": "outdated",
    "held": "sha256:1",
    "offered": "sha256:2",
    "reason": "",
}


async def test_what_is_outdated_is_listed_of_all_tools_or_of_one(edge: Edge) -> None:
    """What a registry did not answer is in the list, too."""
    every = (await edge.call("GET", "/v1/outdated")).json()["images"]
    assert every[0] == OUTDATED
    assert (every[1]["standing"], every[1]["reason"]) == ("unknown", "down")
    assert (await edge.call("GET", "/v1/outdated?tool=jq")).json() == {"images": [OUTDATED]}
    assert (await edge.call("GET", "/v1/outdated?tool=zq")).code == "unknown-tool"
    assert (await edge.call("GET", "/v1/outdated?tool=../x")).code == "bad-name"


async def test_an_upgrade_is_a_stream_that_ends_with_what_became_of_each_tool(edge: Edge) -> None:
    """Or with the error."""
    answer = await edge.call("POST", "/v1/upgrade", {})
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert {"note": "pulled"} in lines
    assert lines[-1] == {
        "upgraded": [
            {"tool": "jq", "images": ["jq:1"], "error": "", "asks": [], "digest": ""},
            {"tool": "yq", "images": [], "error": "down", "asks": [], "digest": ""},
        ]
    }
    answer = await edge.call("POST", "/v1/upgrade", {"tools": ["zq"]})
    assert json.loads(answer.body.splitlines()[-1])["error"]["code"] == "unknown-tool"
    assert (await edge.call("POST", "/v1/upgrade", {"tools": ["../x"]})).code == "bad-name"


async def test_a_lock_is_written_upgraded_and_checked(edge: Edge) -> None:
    """Each a stream that ends with complaints."""
    bodies: list[dict[str, object]] = [{}, {"upgrade": []}, {"upgrade": ["jq"]}]
    for body in bodies:
        answer = await edge.call("POST", "/v1/lock", body)
        assert [json.loads(line) for line in answer.body.splitlines()] == [{"note": "pulled"}, {"complaints": []}]
    assert edge.rooms.locked == [None, [], ["jq"]]
    answer = await edge.call("POST", "/v1/lock", {"check": True})
    assert json.loads(answer.body) == {"complaints": [{"tool": "jq", "reason": "is not locked"}]}
    answer = await edge.call("POST", "/v1/lock", {"upgrade": ["zq"]})
    assert json.loads(answer.body.splitlines()[-1])["error"]["code"] == "unknown-tool"
