"""What no event tells of is found all the same, by looking again."""

import asyncio
import mmap
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dxd.watch.model import File, Tree
from tests.dxd.watch.conftest import Told, told
from tests.waiting import until_turned


@pytest.fixture
async def watch() -> AsyncIterator[Told]:
    async with told(quiet_s=0.02, round_s=0.05) as made:
        yield made


async def begin(watch: Told, *specs: Tree | File) -> None:
    """Watched, and looked through once, after which it is told of: something may have changed before."""
    watch.watcher.set("key", specs)
    await watch.rest()
    await until_turned(lambda: watch.calls)
    await watch.rest()


async def found(watch: Told, change: Callable[[], object]) -> None:
    """No event tells of the change, and yet it is found; after that there is nothing more to find."""
    change()
    assert not watch.watcher.dirty("key")
    await until_turned(lambda: watch.calls)
    await watch.rest()


async def settle(watch: Told, tree: Path) -> list[str]:
    """Let two rounds find what there is; what was told meanwhile."""
    watch.settles = True
    watch.watcher.set("other", [Tree(str(tree))])
    await until_turned(lambda: watch.calls.count("other") == 2)
    watch.watcher.drop("other")
    watch.settles = False
    heard = list(watch.calls)
    await watch.rest()
    return heard


async def still(watch: Told, tree: Path) -> None:
    """Nothing is found in two more rounds: those of another key, which are not shorter."""
    watch.watcher.set("other", [Tree(str(tree))])
    for _ in range(2):
        await until_turned(lambda: "other" in watch.calls)
        assert watch.calls == ["other"]
        watch.watcher.settled("other")
        watch.calls.clear()
    watch.watcher.drop("other")


async def test_a_hard_link_that_is_written_to_elsewhere(watch: Told, tree: Path) -> None:
    outside = tree.parent / "outside"
    os.link(tree / "src/file", outside)
    await begin(watch, Tree(str(tree)))
    await found(watch, lambda: outside.write_text("two"))
    await found(watch, lambda: outside.write_text("three"))
    await found(watch, lambda: outside.chmod(0o600))
    await still(watch, tree)


async def test_a_write_through_a_mapping(watch: Told, tree: Path) -> None:
    with (tree / "src/file").open("r+b") as file, mmap.mmap(file.fileno(), 3) as mapped:
        await begin(watch, Tree(str(tree)))
        await found(watch, lambda: mapped.__setitem__(slice(0, 3), b"two"))


async def test_a_single_file_that_is_written_to_elsewhere(watch: Told, tree: Path) -> None:
    outside = tree.parent / "outside"
    os.link(tree / "Dockerfile", outside)
    await begin(watch, File(str(tree / "Dockerfile")), File(str(tree / "missing")))
    await found(watch, lambda: outside.write_text("FROM scratch"))


async def test_what_is_left_out_is_not_found(watch: Told, tree: Path) -> None:
    outside = tree.parent / "outside"
    os.link(tree / "src/file", outside)
    await begin(watch, Tree(str(tree), ignores=lambda name: name == "src/file"))
    outside.write_text("two")
    await still(watch, tree.parent)
    assert not watch.watcher.dirty("key")


async def test_a_directory_whose_event_was_lost_is_watched_again(watch: Told, tree: Path) -> None:
    await begin(watch, Tree(str(tree)))
    kernel = watch.watcher._kernel
    assert kernel is not None
    (tree / "src/lost").mkdir()
    while kernel.reads():
        kernel.read()
    await found(watch, lambda: None)
    await watch.sees((tree / "src/lost/file").touch, "key")


async def test_a_directory_that_something_is_mounted_on_is_watched_again(watch: Told, tree: Path) -> None:
    await begin(watch, Tree(str(tree)))
    (root,) = watch.watcher._keys["key"].roots
    assert root.node is not None
    assert root.node.children is not None
    node = root.node.children["src"]
    assert node.counted is not None
    node.seen = node.counted = node.place = 0  # as if another file system had been mounted there
    await found(watch, lambda: None)
    assert root.node.children["src"] is not node
    await watch.sees((tree / "src/inner/file").touch, "key")


async def test_new_directories_are_told_of_once_more_when_they_were_looked_at(watch: Told, tree: Path) -> None:
    await begin(watch, Tree(str(tree)))
    await watch.sees(lambda: (tree / "new/er").mkdir(parents=True), "key")
    assert "key" in await settle(watch, tree)
    await still(watch, tree)


async def test_a_tree_that_goes_while_it_is_looked_through_is_no_trouble(watch: Told, tree: Path) -> None:
    await begin(watch, Tree(str(tree)))
    for _ in range(20):
        await asyncio.to_thread((tree / "src").rename, tree / "lib")
        await asyncio.to_thread((tree / "lib").rename, tree / "src")
    tree.rename(tree.parent / "gone")
    await watch.rest()
    (tree.parent / "gone").rename(tree)
    assert "key" in await settle(watch, tree)
    await still(watch, tree)
