import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from dxd.watch.model import Cause, File, Tree
from tests.dxd.watch.conftest import Told, told
from tests.waiting import until_turned


async def test_to_ask_costs_microseconds(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    began = time.perf_counter()
    for _ in range(1000):
        watch.watcher.dirty("key")
    assert (time.perf_counter() - began) / 1000 < 50e-6


async def test_a_storm_ends_in_at_most_two_calls(tree: Path) -> None:
    async with told(quiet_s=0.3) as watch:
        await watch.begin(one=tree, two=tree / "src", later=tree.parent / "later")
        watch.settles = True

        def storm() -> None:
            for number in range(200):
                directory = tree / "src" / str(number % 50) / str(number)
                directory.mkdir(parents=True)
                for file in range(100):
                    (directory / str(file)).touch()

        await asyncio.to_thread(storm)
        await until_turned(lambda: not watch.watcher.busy)
        (tree.parent / "later").mkdir()  # its quiet period ends after those of the others
        await until_turned(lambda: "later" in watch.calls)
        assert 1 <= watch.calls.count("one") <= 2
        assert 1 <= watch.calls.count("two") <= 2
        await watch.rest()
        await watch.sees((tree / "src/49/199/new").touch, "one", "two")


async def test_changes_that_do_not_end_are_told_of_after_a_second(tree: Path) -> None:
    async with told(cap_s=0.3) as watch:
        await watch.begin(key=tree)
        began = time.monotonic()
        while not watch.calls:
            (tree / "src/file").write_text("x")
            await asyncio.sleep(0.01)
        assert 0.25 < time.monotonic() - began < 1


async def test_after_an_overflow_all_is_dirty_and_looked_through(watch: Told, tree: Path, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("the queue is too long to fill")
    other = tmp_path / "other"
    other.mkdir()
    await watch.begin(key=tree, other=other)
    for number in range(limit // 2 + 100):  # two events each; the loop is not asked meanwhile
        (tree / str(number)).touch()
    (other / "lost").mkdir()
    assert watch.watcher.dirty("other")
    await until_turned(lambda: set(watch.calls) == {"key", "other"})
    await watch.rest()
    await watch.sees((other / "lost/file").touch, "other")
    await watch.sees((tree / "src/inner/file").touch, "key")


async def test_trees_that_are_made_and_removed_all_the_time_are_watched_in_the_end(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree, same=tree)
    watch.settles = True

    def churn() -> None:
        for number in range(300):
            base = tree / f"d{number % 7}"
            shutil.rmtree(base, ignore_errors=True)
            (base / "x/y/z").mkdir(parents=True)
            shutil.rmtree(tree / "moved", ignore_errors=True)
            (base / "x").rename(tree / "moved")
            (base / "x/y").mkdir(parents=True)

    await asyncio.to_thread(churn)
    watch.settles = False
    await until_turned(lambda: not watch.watcher.busy)
    await watch.rest()
    directories = [Path(each) for each, _, _ in os.walk(tree)]
    for directory in directories:
        (directory / "file").touch()
        assert watch.watcher.dirty("key"), directory
        assert watch.watcher.dirty("same"), directory
        watch.watcher.settled("key")
        watch.watcher.settled("same")
    watch.watcher.drop("same")
    await watch.rest()
    kernel = watch.watcher._kernel
    assert kernel is not None
    held = Path(f"/proc/self/fdinfo/{kernel.fd}").read_text().count("inotify wd")
    assert held == watch.watcher.watches == len(directories) + len(tree.resolve().parents) - 1


async def test_a_root_that_something_is_mounted_on_is_found_in_time(tree: Path) -> None:
    async with told(quiet_s=0.02, look_s=0.05) as watch:
        await watch.begin(key=tree)
        await asyncio.sleep(0.2)  # four looks at it, none of which may find anything
        assert watch.calls == []
        (root,) = watch.watcher._keys["key"].roots
        root.identity = (0, 0)  # as if another file system had been mounted there
        await until_turned(lambda: watch.calls == ["key"])


async def test_a_file_system_that_tells_nothing_is_polled_and_told_of(tree: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()

    def remote(path: str) -> str | None:
        return "nfs" if path.endswith("context") else None

    async with told(quiet_s=0.02, poll_s=0.05, remote=remote) as watch:
        await watch.begin(key=tree, local=local)
        assert (watch.watcher.sure("key"), watch.watcher.sure("local")) == (False, True)
        assert [str(tree) in str(each) and "nfs" in str(each) for each in watch.watcher.problems()] == [True]
        for name in ("src/file", "new", os.fsdecode(b"src/inner/\xff")):
            (tree / name).write_text("changed")
            await until_turned(lambda: watch.calls == ["key"])
            await watch.rest()
        (tree / "src/file").unlink()
        await until_turned(lambda: watch.calls == ["key"])
        watch.watcher.drop("key")
        assert watch.watcher.problems() == []


async def test_a_tree_with_a_file_system_in_it_that_tells_nothing_is_polled(watch: Told, tree: Path) -> None:
    watch.watcher._remote = lambda path: "fuse" if path.endswith("context") else None
    await watch.begin(key=tree, file=File(str(tree / "Dockerfile")))
    roots = [root for key in ("key", "file") for root in watch.watcher._keys[key].roots]
    assert [root.polled for root in roots] == [Cause.REMOTE, Cause.REMOTE]


async def test_a_predicate_that_fails_costs_only_its_own_tree(watch: Told, tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()

    def broken(name: str) -> bool:
        raise ValueError(name)

    watch.watcher.set("key", [Tree(str(tree), broken)])
    await until_turned(watch.watcher.problems)
    watch.watcher.set("other", [Tree(str(other))])
    await until_turned(lambda: "other" in watch.calls)
    watch.watcher.settled("other")
    (other / "file").touch()
    assert watch.watcher.dirty("other")
    watch.watcher.drop("key")
