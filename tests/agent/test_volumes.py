"""`agent volumes`, in a root of its own that has two directories as its volumes."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.app import find_agent
from tests.agent.trees import fill, seen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of others, and a root of its own, need root")


DISK_BYTES = 256 << 20


class Root:
    """A directory as the container has it: /agent, /v/0/from, /v/0/to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copy(find_agent({}) / "agent", directory / "agent")
        self.source = directory / "v" / "0" / "from"
        self.target = directory / "v" / "0" / "to"
        for each in (self.source, self.target, directory / "proc"):
            each.mkdir(parents=True)
        subprocess.run(["mount", "--bind", "/proc", directory / "proc"], check=True)

    def close(self) -> None:
        subprocess.run(["umount", self.directory / "proc"], check=True)

    def begin(self, verb: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["/agent", "volumes", verb, "1"],
            preexec_fn=lambda: os.chroot(self.directory),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, verb: str) -> tuple[int, str]:
        process = self.begin(verb)
        out, error = process.communicate(timeout=60)
        return process.returncode, out + error


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    root = Root(tmp_path)
    try:
        yield root
    finally:
        root.close()


def test_a_copy_is_as_what_it_was_made_of(root: Root) -> None:
    """Down to owners, modes, times, holes, hard links, attributes; but for sockets."""
    fill(root.source, "new")
    before = seen(root.source)
    status, said = root.run("copy")
    assert (status, said.split()[0]) == (0, str(sum(name == each[6] for name, each in before.items()) - 5))
    assert seen(root.target) == before
    assert seen(root.source) == before


def test_many_files_with_many_names_stay_what_they_are(root: Root) -> None:
    for number in range(3000):
        (root.source / f"{number}").write_text(f"{number}")
    for name in ("a", "b"):
        (root.source / name).mkdir()
        for number in range(3000):
            os.link(root.source / f"{number}", root.source / name / f"{number * 7 % 3000}")
    before = seen(root.source)
    assert root.run("copy")[0] == 0
    assert seen(root.target) == before


def test_a_copy_goes_to_an_empty_directory_only(root: Root) -> None:
    fill(root.source, "new")
    (root.target / "precious").write_text("old")
    status, said = root.run("copy")
    assert (status, said) == (1, "cannot copy to the volume: Directory not empty\n")
    assert [each.name for each in root.target.iterdir()] == ["precious"]


def test_a_restore_takes_the_place_of_all_that_was_there(root: Root) -> None:
    fill(root.source, "new")
    fill(root.target, "old")
    (root.target / "more").write_text("old")
    assert root.run("restore")[0] == 0
    assert seen(root.target) == seen(root.source)


def test_a_reset_leaves_the_directory_itself_as_it_was(root: Root) -> None:
    fill(root.target, "old")
    before = seen(root.target)["."]
    assert root.run("empty")[0] == 1
    assert root.run("reset")[0] == 0
    assert seen(root.target) == {".": before}
    assert root.run("empty") == (0, "0 0\n")


def test_what_does_not_fit_is_said_and_changes_nothing(root: Root) -> None:
    """The target is a file system of its own, which is full half-way."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", root.target], check=True)
    try:
        (root.target / "precious").write_text("old")
        (root.source / "big").write_bytes(os.urandom(3 << 20))
        before = seen(root.target)
        status, said = root.run("restore")
        assert (status, said) == (1, "cannot copy big: No space left on device\n")
        assert root.run("recover")[0] == 0
        assert {name: each[5] for name, each in seen(root.target).items()} == {
            name: each[5] for name, each in before.items()
        }
    finally:
        subprocess.run(["umount", root.target], check=True)


@pytest.fixture
def sharing_root(tmp_path: Path) -> Iterator[Root]:
    """Its volumes are in a file system whose files can share what is in them, mounted apart as a container has them."""
    disk, place = tmp_path / "disk", tmp_path / "place"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.btrfs", "--quiet", "--metadata", "single", disk], check=True, capture_output=True)
    for each in (place, tmp_path / "root"):
        each.mkdir()
    root = Root(tmp_path / "root")
    mounted: list[Path] = []
    try:
        subprocess.run(["mount", "-o", "loop", disk, place], check=True)
        mounted.append(place)
        for volume in (root.source, root.target):
            (place / volume.name).mkdir()
            subprocess.run(["mount", "--bind", place / volume.name, volume], check=True)
            mounted.append(volume)
        yield root
    finally:
        for each in reversed(mounted):
            subprocess.run(["umount", each], check=True)
        root.close()


def free_bytes(place: Path) -> int:
    """Of its file system, when all is written."""
    subprocess.run(["sync", "--file-system", place], check=True)
    found = os.statvfs(place)
    return found.f_bfree * found.f_frsize


@pytest.mark.parametrize("verb", ["copy", "restore"])
def test_a_copy_shares_what_it_has_where_the_file_system_can(sharing_root: Root, verb: str) -> None:
    """It takes next to nothing of the disk; and what is changed in the one is not in the other."""
    fill(sharing_root.source, "new")
    big = os.urandom(DISK_BYTES // 8)
    (sharing_root.source / "big").write_bytes(big)
    before, free = seen(sharing_root.source), free_bytes(sharing_root.source)
    status, said = sharing_root.run(verb)
    assert status == 0, said
    assert seen(sharing_root.target) == before
    assert free - free_bytes(sharing_root.target) < len(big) // 4
    with (sharing_root.target / "big").open("r+b") as file:
        file.write(b"changed")
    assert (sharing_root.source / "big").read_bytes() == big


def within(root: Path) -> dict[str, tuple[object, ...]]:
    """What is below, without the directory itself: its times change with each name in it."""
    found = seen(root)
    del found["."]
    return found


def test_a_restore_that_is_killed_leaves_the_one_or_the_other(root: Root) -> None:
    """Killed after ever longer times, until one gets to its end."""
    fill(root.source, "new")
    for number in range(300):
        (root.source / f"many {number}").write_text("new")
    new = within(root.source)
    fill(root.target, "old")
    old = within(root.target)
    outcomes = []
    ended, wait_s = False, 0.0
    while not ended:
        process = root.begin("restore")
        time.sleep(wait_s)
        wait_s += 0.01
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert root.run("recover")[0] == 0
        found = within(root.target)
        outcomes.append(found == new)
        assert found in (old, new)
        if found == new and not ended:
            shutil.rmtree(root.target)
            root.target.mkdir()
            fill(root.target, "old")
            old = within(root.target)
    assert outcomes[-1]
    assert not outcomes[0]


@pytest.mark.parametrize(
    ("had", "has"),
    [
        ([".dx-new/a", "b"], ["b"]),
        ([".dx-new/a", ".dx-old", "b"], ["b"]),
        ([".dx-ready/a", "b", "c"], ["a"]),
        ([".dx-ready/a", ".dx-old/b", "c"], ["a"]),
        ([".dx-ready/a", ".dx-old/b"], ["a"]),
        ([".dx-moving/a", ".dx-old/b", "c"], ["a", "c"]),
        ([".dx-moving/a", ".dx-old/b"], ["a"]),
        ([".dx-moving/", ".dx-old/b", "a"], ["a"]),
        ([".dx-old/b", "a"], ["a"]),
    ],
)
def test_from_wherever_a_restore_got_to_it_ends(root: Root, had: list[str], has: list[str]) -> None:
    """Once more, too: it may be killed while it is brought to its end."""
    for each in had:
        path = root.target / each
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if each.endswith("/") or each == ".dx-old" else path.write_text("")
    for _ in range(2):
        assert root.run("recover") == (0, "0 0\n")
        assert sorted(each.name for each in root.target.iterdir()) == has
