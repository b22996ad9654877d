"""Images that are others but for their labels: as texts, and as an engine takes them."""

import json
import tarfile
from io import BytesIO
from typing import Any

import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import ImageId
from dxd.engine.relabel import Relabelled, relabelled
from dxd.errors import ImageMissing
from tests.fakes.real_engine import Workshop

INSPECTED: dict[str, Any] = {
    "Architecture": "arm64", "Variant": "v8", "Os": "linux", "Created": "2026-01-02T03:04:05.678Z",
    "Config": {"Env": ["A=1"], "Labels": {"a": "1", "b": "2"}}, "RootFS": {"Type": "layers", "Layers": ["sha256:1"]},
}  # fmt: skip
HISTORY = [{"Created": 3, "CreatedBy": "ENV A=1", "Size": 0}, {"Created": 2, "CreatedBy": "COPY it", "Size": 7}]


def described(made: Relabelled) -> dict[str, Any]:
    """The configuration in the archive."""
    with tarfile.open(fileobj=BytesIO(made.archive)) as tar:
        file = tar.extractfile(f"{made.id.removeprefix('sha256:')}.json")
        assert file is not None
        config: dict[str, Any] = json.load(file)
        return config


def test_everything_but_the_labels_is_as_it_was() -> None:
    """The moment and the history too; the order of labels is none."""
    made = relabelled(INSPECTED, HISTORY, {"b": "", "c": "3"})
    assert made == relabelled(INSPECTED, HISTORY, {"c": "3", "b": ""})
    config = described(made)
    assert config["config"] == {"Env": ["A=1"], "Labels": {"a": "1", "b": "", "c": "3"}}
    assert (config["created"], config["variant"]) == (INSPECTED["Created"], "v8")
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:1"]}
    assert config["history"] == [
        {"created": "1970-01-01T00:00:02Z", "created_by": "COPY it"},
        {"created": "1970-01-01T00:00:03Z", "created_by": "ENV A=1", "empty_layer": True},
    ]


def test_a_history_that_does_not_fit_is_left_out() -> None:
    """A layer without a byte looks like none; an image is better off without a history than with a wrong one."""
    inspected = {**INSPECTED, "RootFS": {"Layers": ["sha256:1", "sha256:2"]}}
    assert "history" not in described(relabelled(inspected, HISTORY, {}))


async def test_an_engine_has_it_under_the_same_id_each_time(workshop: Workshop, engine: Engine) -> None:
    """Also where it has it already; one that is gone cannot be relabelled."""
    image = await workshop.image("LABEL a=1 b=2")
    made = await engine.relabel(image, {"b": "3"})
    try:
        assert await engine.relabel(image, {"b": "3"}) == made
        found = await engine.image(made)
        assert found is not None
        assert {key: found.labels[key] for key in ("a", "b")} == {"a": "1", "b": "3"}
    finally:
        await engine.remove_image(made)
    with pytest.raises(ImageMissing, match="is gone"):
        await engine.relabel(ImageId(f"sha256:{'0' * 64}"), {})
