"""The directory of shims."""

import os
import stat
import threading
from pathlib import Path

import pytest

from dxd.errors import BadName, Refused
from dxd.tools.shims import reconcile

DX = Path("/opt/dx/bin/dx")


def test_each_command_gets_a_symlink_to_the_launcher(tmp_path: Path) -> None:
    """In a directory that nobody else can write."""
    directory = tmp_path / "data" / "shims"
    changes = reconcile(directory, ["jq", "g++"], DX)
    assert (changes.added, changes.removed, changes.kept, changes.foreign) == (("g++", "jq"), (), (), ())
    assert {each.name: os.readlink(each) for each in directory.iterdir()} == {"jq": str(DX), "g++": str(DX)}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_time_nothing_changes(tmp_path: Path) -> None:
    """The inodes stay as well."""
    reconcile(tmp_path, ["jq"], DX)
    before = (tmp_path / "jq").lstat()
    changes = reconcile(tmp_path, ["jq"], DX)
    assert (changes.added, changes.kept) == ((), ("jq",))
    assert (tmp_path / "jq").lstat() == before


def test_what_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    """Shims only: the links of others stay, to where nothing is too."""
    reconcile(tmp_path, ["jq", "yq"], DX)
    (tmp_path / "mine").symlink_to("/nowhere/else")
    (tmp_path / "file").write_text("")
    changes = reconcile(tmp_path, ["jq"], DX)
    assert (changes.removed, changes.kept, changes.foreign) == (("yq",), ("jq",), ())
    assert sorted(os.listdir(tmp_path)) == ["file", "jq", "mine"]


def test_shims_of_another_dx_are_pointed_here(tmp_path: Path) -> None:
    """The launcher of a virtual environment that was removed, for example."""
    (tmp_path / "jq").symlink_to("/gone/bin/dx")
    changes = reconcile(tmp_path, ["jq"], DX)
    assert changes.added == ("jq",)
    assert os.readlink(tmp_path / "jq") == str(DX)
    assert os.listdir(tmp_path) == ["jq"]


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_a_foreign_file_in_the_way_is_reported_and_left(tmp_path: Path, kind: str) -> None:
    """Whatever it is."""
    place = tmp_path / "jq"
    if kind == "file":
        place.write_text("#!/bin/sh\n")
    elif kind == "directory":
        place.mkdir()
    elif kind == "link":
        place.symlink_to("/usr/bin/jq")
    else:
        os.mkfifo(place)
    before = place.lstat()
    changes = reconcile(tmp_path, ["jq", "yq"], DX)
    assert (changes.added, changes.foreign) == (("yq",), ("jq",))
    assert place.lstat() == before


def test_what_a_crash_left_behind_goes(tmp_path: Path) -> None:
    """Without a word, nobody asked for it."""
    (tmp_path / ".jq.0123456789ab").symlink_to(DX)
    changes = reconcile(tmp_path, [], DX)
    assert changes.removed == ()
    assert os.listdir(tmp_path) == []


def test_a_command_that_would_escape_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    """No shim is removed either."""
    reconcile(tmp_path, ["jq"], DX)
    with pytest.raises(BadName):
        reconcile(tmp_path, ["yq", "../evil"], DX)
    assert os.listdir(tmp_path) == ["jq"]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """They would choose what runs as jq."""
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims").chmod(mode)
    with pytest.raises(Refused, match="written by others") as caught:
        reconcile(tmp_path / "shims", ["jq"], DX)
    assert "chmod go-w" in caught.value.hint
    assert os.listdir(tmp_path / "shims") == []


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Only root can bring this about."""
    directory = tmp_path / "shims"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, 1234, 1234)
        with pytest.raises(Refused, match="belongs to uid 1234"):
            reconcile(directory, ["jq"], DX)


def test_a_file_in_place_of_the_directory_is_an_error_with_its_name(tmp_path: Path) -> None:
    """As is whatever else the file system has to say."""
    (tmp_path / "shims").write_text("")
    with pytest.raises(Refused, match=r"shims cannot be written"):
        reconcile(tmp_path / "shims", ["jq"], DX)


@pytest.mark.parametrize("launcher", ["/opt/dx/bin/dx-cli", "bin/dx"])
def test_only_a_launcher_is_linked_to(tmp_path: Path, launcher: str) -> None:
    """Its name is how shims are known again."""
    with pytest.raises(ValueError, match="launcher"):
        reconcile(tmp_path, ["jq"], Path(launcher))


def test_many_at_once_end_in_the_same_state(tmp_path: Path) -> None:
    """Nobody fails because another was faster."""
    (tmp_path / "old").symlink_to(DX)
    commands = [f"c{number}" for number in range(50)]
    for command in commands[:40]:
        (tmp_path / command).symlink_to("/gone/dx")
    failures: list[BaseException] = []
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait(10)
        try:
            reconcile(tmp_path, commands, DX)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    reconcile(tmp_path, commands, DX)
    assert sorted(os.listdir(tmp_path)) == sorted(commands)
