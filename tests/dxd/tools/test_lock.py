"""dx.lock: what is written is read, and what is no lock is refused with its place."""

from pathlib import Path

import pytest

from dxd.errors import BadDefinition
from dxd.tools.lock import Lock, Locked, render

DIGEST = "sha256:" + "1" * 64
HERE = {"linux/amd64": DIGEST, "linux/arm64": DIGEST}
TOOLS = {
    "g++": Locked("host:5000/gcc:14", digests=HERE, labels=HERE),
    "lint": Locked(inputs={"linux/amd64": "2" * 64}, labels=HERE, bases={"alpine:3": HERE, "a": HERE}),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Sorted, and seen at once, however often it changes."""
    lock = Lock(tmp_path / "dx.lock")
    assert not lock.exists()
    assert lock.get("lint") is None
    for tools in (TOOLS, {}, TOOLS):
        lock.write(tools)
        assert lock.exists()
        assert lock.all() == tools
    assert render(TOOLS) == render(dict(reversed(TOOLS.items())))
    lock.file.unlink()
    assert lock.all() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<<<<<<< ours\n", "dx.lock:1"),
        ("version = 2\n", "dx.lock:1: version: must be 1"),
        ("version = 1\n[tools.jq]\nimage = 7\n", "dx.lock:3"),
        ("version = 1\n[tools.jq]\ndigests = { x = 'sha256:1' }\n", "dx.lock:3"),
        ("version = 1\n[tools.jq]\ndigest = 1\n", "did you mean digests"),
    ],
)
def test_what_is_no_lock_is_an_error_until_it_is_mended(tmp_path: Path, text: str, said: str) -> None:
    """Of every look-up."""
    lock = Lock(tmp_path / "dx.lock")
    lock.file.write_text(text)
    for _ in range(2):
        with pytest.raises(BadDefinition) as caught:
            lock.get("jq")
        assert said in caught.value.line()
    lock.write(TOOLS)
    assert lock.get("lint") == TOOLS["lint"]
