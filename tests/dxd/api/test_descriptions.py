"""POST /v1/describe."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dxd.engine.model import Image
from dxd.errors import ImageMissing
from dxd.kit.progress import Progress
from dxd.tools.model import Tool
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import IMAGE


def labelled(edge: Edge, **labels: str) -> None:
    """The image has these, with a dot for each double underscore."""

    async def resolve(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
        assert source == "team/jq:1"
        progress.note("pulling")
        return replace(IMAGE, labels={key.replace("__", "."): value for key, value in labels.items()})

    edge.rooms.resolving = resolve


async def describe(edge: Edge, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the answer."""
    answer = await edge.call("POST", "/v1/describe", body)
    assert answer.status == 200
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_an_image_says_what_it_wants_to_be(edge: Edge) -> None:
    """Both families of labels; values as a tool has them; and no tool is defined."""
    labelled(edge, dev__dx__network="host", dev__dx__memory="1024m", io__whalebrew__config__working_dir="/src")
    note, last = await describe(edge, {"image": "team/jq:1"})
    assert note == {"note": "pulling"}
    assert last["description"] == {
        "definition": {"memory": "1g", "network": "host"},
        "asks": [{"key": "network", "text": "use the host's network"}],
        "notes": ["the current directory keeps its own path, and is not /src"],
    }
    assert edge.catalogue.all() == ()


async def test_dxs_own_labels_win(edge: Edge) -> None:
    """Key by key."""
    labels = {"io__whalebrew__config__networks": "[host]", "io__whalebrew__config__environment": "[A]"}
    labelled(edge, dev__dx__network="none", **labels)
    last = (await describe(edge, {"image": "team/jq:1"}))[-1]
    assert last["description"]["definition"] == {"env": ["A"], "network": "none"}


async def test_a_package_file_names_its_image(edge: Edge) -> None:
    """Nothing is pulled for it."""
    (last,) = await describe(edge, {"package": "image: team/jq\nports: [80:80]\n"})
    assert last["description"]["definition"] == {"image": "team/jq", "ports": ["0.0.0.0:80:80"]}


async def test_a_wrong_label_is_the_last_line(edge: Edge) -> None:
    """With its name."""
    labelled(edge, dev__dx__netwrok="none")
    last = (await describe(edge, {"image": "team/jq:1"}))[-1]
    assert last["error"]["message"] == "the label dev.dx.netwrok: unknown key"
    assert last["error"]["hint"] == "did you mean network?"


async def test_no_image_is_the_last_line(edge: Edge) -> None:
    """As with a preparation."""

    async def fail(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
        raise ImageMissing("no", "")

    edge.rooms.resolving = fail
    (last,) = await describe(edge, {"image": "team/jq:1"})
    assert last["error"]["code"] == "image-missing"


@pytest.mark.parametrize("body", [{}, {"image": "a", "package": "image: a"}, {"image": "A:B:C"}])
async def test_what_names_no_one_thing_is_refused(edge: Edge, body: dict[str, Any]) -> None:
    """Before the stream."""
    answer = await edge.call("POST", "/v1/describe", body)
    assert (answer.status, answer.code) == (422, "bad-definition")
