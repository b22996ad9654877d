"""Where a name leads, and through what."""

import os
from pathlib import Path

import pytest

from dxd.runs.walk import walk


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A tree with links of all kinds in it."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "file").touch()
    (tmp_path / "relative").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "real" / "deep")
    (tmp_path / "twice").symlink_to("relative/file")
    (tmp_path / "dangling").symlink_to("real/new")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def path(top: Path, *parts: str) -> bytes:
    """A path below the tree."""
    return os.fsencode("/".join([str(top), *parts]))


@pytest.mark.parametrize(
    ("name", "end", "links"),
    [
        ("real/file", "real/file", []),
        ("relative/file", "real/file", ["relative"]),
        ("./real//deep/.", "real/deep", []),
        ("absolute", "real/deep", ["absolute"]),
        ("twice", "real/file", ["twice", "relative"]),
        ("absolute/../file", "real/file", ["absolute"]),
    ],
)
def test_it_goes_as_the_kernel_does(top: Path, name: str, end: str, links: list[str]) -> None:
    """Absolute and relative alike."""
    for found in (walk(os.fsencode(name), path(top)), walk(path(top, name), b"/")):
        assert found is not None
        assert found.end == path(top, end) == os.path.realpath(path(top, name))
        assert [place for place, _ in found.links] == [path(top, each) for each in links]
        assert found.mode == os.stat(path(top, name)).st_mode
        assert not found.new


@pytest.mark.parametrize(("name", "end"), [("real/x", "real"), ("relative/x/", "real"), ("dangling", "real")])
def test_something_new(top: Path, name: str, end: str) -> None:
    """Only the last component is missing."""
    found = walk(os.fsencode(name), path(top))
    assert found is not None
    assert (found.end, found.mode) == (path(top, end), None)
    assert found.new in (b"x", b"new")


@pytest.mark.parametrize("name", ["x/y", "loop", "loop/x", "x/..", "y" * 300])
def test_nowhere(top: Path, name: str) -> None:
    """More than the last is missing, no directory on the way, or a loop."""
    assert walk(os.fsencode(name), path(top)) is None


def test_a_file_as_if_it_were_a_directory(top: Path) -> None:
    """Leads to the file, for the tool to find out."""
    found = walk(b"relative/file/x/y", path(top))
    assert found is not None
    assert (found.end, found.new) == (path(top, "real/file"), b"")


def test_what_a_parent_leaves(top: Path) -> None:
    """Physical directories: they have to be there for `..`."""
    found = walk(b"absolute/../../real", path(top))
    assert found is not None
    assert found.left == [path(top, "real/deep"), path(top, "real")]
    above = walk(b"/../..", b"/x")
    assert above is not None
    assert (above.end, above.left) == (b"/", [])
