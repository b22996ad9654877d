"""The route of pushes, as a curl user meets it."""

import json

from tests.dxd.api.conftest import Edge


async def test_a_push_is_a_stream_that_ends_with_what_the_registry_has(edge: Edge) -> None:
    """Or with the error."""
    labels = {"dev.dx.network": "none"}
    answer = await edge.call("POST", "/v1/tools/jq/push", {"to": "a.example/jq:1", "labels": labels})
    assert [json.loads(line) for line in answer.body.splitlines()] == [
        {"note": "pushed"},
        {"pushed": {"ref": "a.example/jq:1", "digest": "sha256:1"}},
    ]
    assert edge.rooms.pushed == [("jq", "a.example/jq:1", labels)]
    answer = await edge.call("POST", "/v1/tools/zq/push", {"to": "a.example/zq:1"})
    assert json.loads(answer.body)["error"]["code"] == "unknown-tool"
    assert (await edge.call("POST", "/v1/tools/jq/push", {"labels": labels})).code == "bad-request"
