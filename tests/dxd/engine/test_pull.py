import pytest

from dxd.engine.pull import Layers, failure
from dxd.errors import DxError, EngineError, ImageMissing, WrongArchitecture


def test_progress_counts_layers_and_bytes() -> None:
    layers = Layers()
    assert layers.text() == ""
    layers.take({"status": "Pulling from library/it", "id": "latest"})
    assert layers.text() == ""
    for layer in "abc":
        layers.take({"status": "Pulling fs layer", "progressDetail": {}, "id": layer})
    layers.take({"status": "Already exists", "progressDetail": {}, "id": "a"})
    assert layers.text() == "1 of 3 layers"
    layers.take({"status": "Downloading", "progressDetail": {"current": 1_000_000, "total": 4_000_000}, "id": "b"})
    layers.take({"status": "Downloading", "progressDetail": {"current": 500_000, "total": 1_000_000}, "id": "c"})
    assert layers.text() == "1 of 3 layers, 1.5 of 5.0 MB"
    layers.take({"status": "Download complete", "progressDetail": {}, "id": "c"})
    layers.take({"status": "Extracting", "progressDetail": {"current": 7, "total": 1_000_000}, "id": "c"})
    layers.take({"status": "Pull complete", "progressDetail": {}, "id": "c"})
    assert layers.text() == "2 of 3 layers, 2.0 of 5.0 MB"


def test_a_pull_is_finished_when_the_engine_says_so() -> None:
    layers = Layers()
    layers.take({"status": "Pull complete", "id": "a"})
    layers.take({"status": "Digest: sha256:00"})
    assert not layers.finished
    layers.take({"status": "Status: Downloaded newer image for it:latest"})
    assert layers.finished


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
