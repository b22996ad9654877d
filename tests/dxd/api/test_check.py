"""POST /v1/check: what `dx edit` asks before it saves."""

import pytest

from tests.dxd.api.conftest import Edge


async def test_what_would_do_is_204_and_changes_nothing(edge: Edge) -> None:
    """The tools are those of the file as before."""
    before = (await edge.call("GET", "/v1/tools")).json()
    answer = await edge.call("POST", "/v1/check", {"text": "[tools.other]\nimage = 'x'\n"})
    assert (answer.status, answer.body) == (204, b"")
    assert (await edge.call("GET", "/v1/tools")).json() == before


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[tools.x]\nimge = 'x'\n", ":2: tools.x.imge: unknown key"),
        ("[daemon]\n\nidle_s = 'x'\n", ":3: daemon.idle_s: must be a number"),
        ("[tools\n", ":1: "),
        ("a = '\x00'\n", ":1: "),
    ],
)
async def test_what_would_not_do_is_422_with_its_place(edge: Edge, text: str, place: str) -> None:
    """File, line and key."""
    answer = await edge.call("POST", "/v1/check", {"text": text})
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (422, "bad-definition")
    assert place in error["message"]


@pytest.mark.parametrize("body", [{}, {"text": 3}, {"text": "", "more": 1}, []])
async def test_another_body_is_400(edge: Edge, body: object) -> None:
    """As everywhere."""
    assert (await edge.call("POST", "/v1/check", body)).status == 400
