"""What a run is shown of the host, over a real directory tree."""

import os
from pathlib import Path

import pytest

from dxd.errors import CannotGrant
from dxd.runs.closed import SYSTEM
from dxd.runs.grants import Place, PlacedGrant, plan
from dxd.tools.model import Missing, Mount


def shown(cwd: Path | bytes, *mounts: Mount, home: str = "/home/nobody", private: tuple[bytes, ...] = ()) -> list[str]:
    """The targets, in their order, `:ro` where so."""
    place = cwd if isinstance(cwd, bytes) else os.fsencode(cwd)
    made = plan(Place(place, os.fsencode(home), private), mounts=mounts)
    return [os.fsdecode(each.target) + ":ro" * each.readonly for each in made.grants]


def test_a_directory_without_a_marker_is_shown_alone(tmp_path: Path) -> None:
    """Nothing above it."""
    assert shown(tmp_path) == [str(tmp_path)]


@pytest.mark.parametrize("marker", [".git", "dx.toml", "compose.yaml", "docker-compose.yml"])
def test_the_nearest_marker_above_is_the_root(tmp_path: Path, marker: str) -> None:
    """A file or a directory of that name."""
    (tmp_path / "project" / "a" / "b").mkdir(parents=True)
    (tmp_path / marker).touch()
    (tmp_path / "project" / marker).mkdir()
    assert shown(tmp_path / "project" / "a" / "b") == [str(tmp_path / "project")]


def test_a_marker_in_the_home_does_not_show_the_home(tmp_path: Path) -> None:
    """Dotfiles under git are no project."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "work").mkdir()
    assert shown(tmp_path / "work", home=str(tmp_path)) == [str(tmp_path / "work")]


@pytest.mark.parametrize("place", [b"", b"/.ssh", b"/.ssh/keys", b"/.gnupg"])
def test_the_home_and_its_keys_are_refused(tmp_path: Path, place: bytes) -> None:
    """With what to do instead."""
    with pytest.raises(CannotGrant, match="never granted unasked") as error:
        shown(os.fsencode(tmp_path) + place, home=str(tmp_path))
    assert "--mount" in error.value.hint


@pytest.mark.parametrize("place", [b"/home", b"/run/user/1000", b"/var/run", b"/tmp/dx", b"/tmp/dx/a", b"/tmp"])
def test_what_holds_sockets_or_homes_is_refused(place: bytes) -> None:
    """Above or below does not matter."""
    with pytest.raises(CannotGrant):
        shown(place, private=(b"/tmp/dx",))


@pytest.mark.parametrize("place", [b"/", *SYSTEM, b"/usr/share/doc", b"/etc/ssl"])
def test_a_system_directory_is_the_images_own(place: bytes) -> None:
    """Nothing of the host hides it; but one that only begins alike is an ordinary one."""
    assert shown(place) == []
    assert shown(b"/users/x") == ["/users/x"]


def test_mounts_come_with_it_parents_first(tmp_path: Path) -> None:
    """Files and directories alike, read-only where they say so."""
    (tmp_path / "deep" / "in").mkdir(parents=True)
    (tmp_path / "file").touch()
    grants = plan(
        Place(os.fsencode(tmp_path), b"/home/nobody"),
        mounts=[
            Mount(str(tmp_path / "deep" / "in"), f"{tmp_path}/far/inside", readonly=True),
            Mount(str(tmp_path / "file"), "/data"),
        ],
    ).grants
    base = os.fsencode(tmp_path)
    assert grants == (
        PlacedGrant(base + b"/file", b"/data", readonly=False, directory=False),
        PlacedGrant(base, base, readonly=False, directory=True),
        PlacedGrant(base + b"/deep/in", base + b"/far/inside", readonly=True, directory=True),
    )


def test_a_mount_around_the_current_directory_is_enough(tmp_path: Path) -> None:
    """So `--mount ~` allows what is not inferred."""
    assert shown(tmp_path / "x", Mount(str(tmp_path), str(tmp_path)), home=str(tmp_path)) == [str(tmp_path)]


def test_a_mount_that_is_not_there(tmp_path: Path) -> None:
    """Named before anything starts."""
    with pytest.raises(CannotGrant, match="No such file"):
        shown(tmp_path, Mount(str(tmp_path / "gone"), "/gone"))


def test_a_mount_that_need_not_be_there(tmp_path: Path) -> None:
    """Left out, or made; what is there is taken as it is, a file too."""
    gone, file = tmp_path / "a" / "gone", tmp_path / "file"
    file.touch()
    assert shown(b"/", Mount(str(gone), "/gone", missing=Missing.SKIP)) == []
    assert not gone.exists()
    assert shown(b"/", Mount(str(gone), "/gone", missing=Missing.CREATE)) == ["/gone"]
    assert gone.is_dir()
    for missing in Missing:
        assert shown(b"/", Mount(str(file), "/file", missing=missing)) == ["/file"]
    with pytest.raises(CannotGrant, match=f"{file}/x cannot be granted: Not a directory"):
        shown(b"/", Mount(str(file / "x"), "/x", missing=Missing.CREATE))
