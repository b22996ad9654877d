from itertools import count

import pytest

from dxd.engine.pull import Pull as Layers
from dxd.engine.pull import failure
from dxd.errors import DxError, EngineError, ImageMissing, WrongArchitecture
from dxd.kit.plain import extent
from dxd.kit.progress import Kind, Step


class Pull:
    """A pull whose clock goes on by a second with each look at it."""

    def __init__(self) -> None:
        self.layers = Layers("it:1", clock=count(1.0).__next__)

    def __call__(self, status: str, layer: str = "", current: int = 0, total: int = 0) -> list[Step]:
        detail = {"current": current, "total": total} if total else {}
        return list(self.layers.take({"status": status, "id": layer, "progressDetail": detail}))

    @property
    def text(self) -> str:
        """How far it is."""
        return extent(self.layers.whole)


def test_progress_counts_layers_and_bytes() -> None:
    pull = Pull()
    assert pull("Pulling from library/it", "latest") == []
    assert pull.text == ""
    for layer in "abc":
        pull("Pulling fs layer", layer)
    pull("Already exists", "a")
    assert pull.text == "1 of 3 layers"
    pull("Downloading", "b", 1_000_000, 4_000_000)
    pull("Downloading", "c", 500_000, 1_000_000)
    assert pull.text == "30%, 1.5 of 5.0 MB, 1 of 3 layers"
    pull("Download complete", "c")
    pull("Extracting", "c", 7, 1_000_000)
    pull("Pull complete", "c")
    assert pull.text == "40%, 2.0 of 5.0 MB, 2 of 3 layers"


def test_each_layer_tells_what_it_does_and_how_long_it_took() -> None:
    pull = Pull()
    layer, _ = pull("Pulling fs layer", "a")
    assert (layer.kind, layer.of, layer.state, layer.started_s) == (Kind.LAYER, "pulling it:1", "waiting", None)
    assert pull("Waiting", "a") == []
    layer, _ = pull("Downloading", "a", 5, 10)
    assert (layer.state, layer.current_bytes, layer.total_bytes) == ("downloading", 5, 10)
    layer, _ = pull("Retrying in 5 seconds", "a")
    assert layer.state == "retrying in 5 seconds"
    layer, _ = pull("Extracting", "a", 1, 30)
    assert (layer.state, layer.current_bytes, layer.total_bytes) == ("extracting", 10, 10)
    layer, whole = pull("Pull complete", "a")
    assert (layer.took_s, layer.cached, layer.state) == (1.0, False, "")
    assert (whole.kind, whole.ended_s) == (Kind.WORK, None)


def test_a_pull_is_finished_when_the_engine_says_so() -> None:
    pull = Pull()
    pull("Pull complete", "a")
    assert pull("Digest: sha256:00") == []
    assert pull.layers.whole.ended_s is None
    [whole] = pull("Status: Downloaded newer image for it:latest")
    assert whole.ended_s is not None
    assert pull.layers.finished


@pytest.mark.parametrize(
    ("reason", "kind", "message", "hint"),
    [
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', ImageMissing, "cannot be reached", "docker load"),
        ("net/http: TLS handshake timeout", ImageMissing, "cannot be reached", "network"),
        ("pull access denied for it, repository does not exist or may require 'docker login': denied",
         ImageMissing, "or it is private", "docker login"),
        ("manifest for it:9 not found: manifest unknown: manifest unknown", ImageMissing, "not found", "name and tag"),
        ("toomanyrequests: You have reached your pull rate limit", ImageMissing, "now: toomanyrequests", "wait"),
        ("unauthorized: authentication required", ImageMissing, "unauthorized", "docker login"),
        ("no matching manifest for linux/amd64 in the manifest list entries",
         WrongArchitecture, "not made for this machine", "another tag"),
        ("write /var/lib/x: no space left on device", EngineError, "no space left", "prune"),
        ("something new", ImageMissing, "something new", "docker pull it:9"),
    ],
)  # fmt: skip
def test_a_failed_pull_says_what_why_and_what_to_do(reason: str, kind: type[DxError], message: str, hint: str) -> None:
    error = failure("it:9", reason)
    assert type(error) is kind
    assert "it:9" in error.message
    assert message in error.message
    assert hint in error.hint
    assert "\n" not in error.line()
