import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dxd.watch.model import Cause, File, Tree
from tests.dxd.watch.conftest import Told, told
from tests.privilege import as_files_say
from tests.waiting import until_turned


async def test_a_key_is_told_of_once_when_all_of_it_is_watched(watch: Told, tree: Path) -> None:
    watch.watcher.set("key", [Tree(str(tree))])
    assert watch.watcher.dirty("key")
    await until_turned(lambda: watch.calls)
    assert (watch.calls, watch.watcher.busy) == (["key"], False)


def _replace(path: Path) -> None:
    """As editors save."""
    new = path.with_name(f".{path.name}.new")
    new.write_text("new")
    new.rename(path)


def _swap(path: Path) -> None:
    """Put a symlink in the place of a directory."""
    path.rename(path.parent.parent / path.name)
    path.symlink_to(f"../{path.name}")


def _renew(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.mkdir()


def _held_open(path: Path) -> None:
    """Written to, not closed."""
    with path.open("a") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda tree: (tree / "src/file").write_text("two"),
    "append": lambda tree: _held_open(tree / "src/file"),
    "truncate": lambda tree: os.truncate(tree / "src/file", 0),
    "mode": lambda tree: (tree / "src/file").chmod(0o600),
    "mode of a directory": lambda tree: (tree / "src").chmod(0o700),
    "editor": lambda tree: _replace(tree / "src/file"),
    "create": lambda tree: (tree / "src/inner/new").touch(),
    "remove": lambda tree: (tree / "src/file").unlink(),
    "symlink": lambda tree: (tree / "link").symlink_to("nowhere"),
    "loop": lambda tree: (tree / "src/inner/loop").symlink_to(".."),
    "fifo": lambda tree: os.mkfifo(tree / "fifo"),
    "hard link": lambda tree: os.link(tree / "src/file", tree / "other"),
    "no UTF-8": lambda tree: (tree / os.fsdecode(b"\xff\xfe")).write_text("x"),
    "directory": lambda tree: (tree / "a/b/c").mkdir(parents=True),
    "directory removed": lambda tree: shutil.rmtree(tree / "src"),
    "directory renamed": lambda tree: (tree / "src").rename(tree / "lib"),
    "directory moved out": lambda tree: (tree / "src").rename(tree.parent / "src"),
    "directory for a symlink": lambda tree: _swap(tree / "src"),
    "root removed": shutil.rmtree,
    "root renamed": lambda tree: tree.rename(tree.parent / "other"),
    "root replaced": _renew,
    "above the root renamed": lambda tree: tree.parent.rename(tree.parent.with_name("moved")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_is_known_at_once_and_told_of_once(
    watch: Told, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    tree = tmp_path / "above" / "context"
    (tree / "src/inner").mkdir(parents=True)
    (tree / "src/file").write_text("one")
    other = tmp_path / "other"
    other.mkdir()
    await watch.begin(key=tree, other=other)
    await watch.sees(lambda: change(tree), "key")


async def test_what_is_only_read_is_no_change(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    await watch.sees(lambda: ((tree / "src/file").read_text(), list(tree.rglob("*"))))


async def test_what_is_beside_a_tree_is_no_change(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    await watch.sees((tree.parent / "x").touch)
    await watch.sees((tree.parent / "y").mkdir)


async def test_a_single_edit_is_told_of_within_half_a_second(tree: Path) -> None:
    async with told() as watch:
        await watch.begin(key=tree)
        began = time.monotonic()
        await watch.sees(lambda: (tree / "src/file").write_text("two"), "key")
        assert time.monotonic() - began < 0.5


async def test_new_directories_are_watched(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    await watch.sees(lambda: (tree / "a/b/c").mkdir(parents=True), "key")
    await watch.sees((tree / "a/b/c/file").touch, "key")
    outside = tree.parent / "outside/deep"
    outside.mkdir(parents=True)
    await watch.sees(lambda: outside.parent.rename(tree / "inside"), "key")
    await watch.sees((tree / "inside/deep/file").touch, "key")
    await watch.sees(lambda: (tree / "inside").rename(tree / "a/b/moved"), "key")
    await watch.sees((tree / "a/b/moved/deep/file").unlink, "key")


async def test_two_directories_that_are_exchanged_stay_watched(watch: Told, tree: Path) -> None:
    (tree / "b").mkdir()
    await watch.begin(key=tree)

    def exchange() -> None:
        (tree / "src").rename(tree / "x")
        (tree / "b").rename(tree / "src")
        (tree / "x").rename(tree / "b")

    await watch.sees(exchange, "key")
    await watch.sees((tree / "src/new").touch, "key")
    await watch.sees((tree / "b/inner/new").touch, "key")


async def test_a_directory_moved_out_is_not_watched_any_more(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    moved = tree.parent / "src"
    before = watch.watcher.watches
    await watch.sees(lambda: (tree / "src").rename(moved), "key")
    assert watch.watcher.watches == before - 2
    await watch.sees((moved / "inner/file").touch)


async def test_a_link_counts_and_what_it_leads_to_does_not(watch: Told, tree: Path) -> None:
    target = tree.parent / "target"
    target.mkdir()
    (tree / "link").symlink_to(target)
    await watch.begin(key=tree)
    await watch.sees((target / "file").touch)

    def repoint() -> None:
        (tree / "new").symlink_to("elsewhere")
        (tree / "new").rename(tree / "link")

    await watch.sees(repoint, "key")


@pytest.mark.parametrize("level", ["context", "above", "top"])
async def test_a_root_that_is_removed_and_made_again_is_watched_again(watch: Told, tmp_path: Path, level: str) -> None:
    tree = tmp_path / "top" / "above" / "context"
    tree.mkdir(parents=True)
    await watch.begin(key=tree)
    gone = next(each for each in (tree, *tree.parents) if each.name == level)
    inside = subprocess.Popen(["sleep", "60"], cwd=gone)  # so that the kernel keeps the directory
    try:
        await watch.sees(lambda: shutil.rmtree(gone), "key")
        await watch.sees(lambda: tree.mkdir(parents=True), "key")
        await watch.sees((tree / "file").touch, "key")
    finally:
        inside.kill()
        inside.wait()


async def test_a_root_may_appear_later(watch: Told, tmp_path: Path) -> None:
    tree = tmp_path / "a" / "b"
    await watch.begin(key=tree)
    await watch.sees((tmp_path / "a").mkdir, "key")
    await watch.sees((tmp_path / "other").mkdir)
    await watch.sees(tree.mkdir, "key")
    await watch.sees((tree / "file").touch, "key")


async def test_a_root_behind_symlinks_follows_them(watch: Told, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "context").mkdir(parents=True)
    (tmp_path / "current").symlink_to("one")
    await watch.begin(key=tmp_path / "current" / "context")
    await watch.sees((tmp_path / "one/context/file").touch, "key")

    def switch() -> None:
        (tmp_path / "new").symlink_to(tmp_path / "two")
        (tmp_path / "new").rename(tmp_path / "current")

    await watch.sees(switch, "key")
    await watch.sees((tmp_path / "one/context/file").unlink)
    await watch.sees((tmp_path / "two/context/file").touch, "key")


async def test_a_root_in_a_loop_of_symlinks_is_not_there(watch: Told, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    await watch.begin(key=tmp_path / "loop" / "context")
    await watch.sees((tmp_path / "loop").unlink, "key")
    await watch.sees(lambda: (tmp_path / "loop/context").mkdir(parents=True), "key")
    await watch.sees((tmp_path / "loop/context/file").touch, "key")


async def test_what_is_pruned_costs_no_watch_and_what_is_ignored_is_no_change(watch: Told, tree: Path) -> None:
    for number in range(20):
        (tree / "node_modules" / str(number)).mkdir(parents=True)
    spec = Tree(str(tree), lambda name: name == "node_modules", lambda name: name.endswith(".log"))
    await watch.begin(key=spec)
    assert watch.watcher.watches < 20
    await watch.sees((tree / "node_modules/1/file").touch)
    await watch.sees(lambda: shutil.rmtree(tree / "node_modules"))
    await watch.sees(lambda: (tree / "node_modules/a/b").mkdir(parents=True))
    await watch.sees((tree / "src/inner/x.log").touch)
    await watch.sees((tree / "src/inner/x.txt").touch, "key")


async def test_of_a_file_only_its_name_counts(watch: Told, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    await watch.begin(key=File(str(file)))
    await watch.sees(lambda: (tmp_path / "other").write_text("x"))
    for _ in range(2):
        await watch.sees(lambda: file.write_text("x"), "key")
        await watch.sees(lambda: _replace(file), "key")
        await watch.sees(lambda: file.chmod(0o600), "key")
        await watch.sees(file.unlink, "key")


async def test_a_file_that_is_a_symlink_is_what_it_leads_to(watch: Told, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file"
    (tmp_path / "Dockerfile").symlink_to("real/file")
    await watch.begin(key=File(str(tmp_path / "Dockerfile")))
    await watch.sees(lambda: target.write_text("x"), "key")
    await watch.sees(lambda: _replace(target), "key")
    await watch.sees(lambda: shutil.rmtree(tmp_path / "real"), "key")
    await watch.sees(target.parent.mkdir, "key")
    await watch.sees(lambda: target.write_text("x"), "key")
    await watch.sees(lambda: _replace(tmp_path / "Dockerfile"), "key")


async def test_paths_longer_than_the_kernel_takes_are_watched(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    name, back = "d" * 250, os.getcwd()
    try:
        os.chdir(tree)
        for _ in range(20):
            os.mkdir(name)
            os.chdir(name)
        await until_turned(lambda: watch.calls == ["key"])
        await watch.rest()
        await watch.sees(lambda: Path("file").touch(), "key")
        watch.watcher.set("again", [Tree(str(tree))])
        await watch.rest()
        await watch.sees(lambda: Path("file").unlink(), "again", "key")
    finally:
        os.chdir(back)


async def test_a_directory_that_becomes_readable_is_watched(watch: Told, tree: Path) -> None:
    (tree / "src").chmod(0)
    with as_files_say():
        await watch.begin(key=tree)
        await watch.sees(lambda: (tree / "src").chmod(0o700), "key")
        await watch.sees((tree / "src/inner/file").touch, "key")


async def test_keys_share_watches_and_drop_them_with_the_last(watch: Told, tree: Path) -> None:
    (tree.parent / "other").symlink_to(tree)
    await watch.begin(one=tree)
    alone = watch.watcher.watches
    await watch.begin(two=tree, three=tree.parent / "other", four=tree / "src")
    assert watch.watcher.watches == alone
    await watch.sees((tree / "new").touch, "one", "three", "two")
    watch.watcher.drop("one")
    watch.watcher.drop("three")
    await watch.rest()
    assert watch.watcher.watches == alone
    await watch.sees((tree / "src/inner/new").touch, "four", "two")
    for key in ("two", "four", "unknown"):
        watch.watcher.drop(key)
    await watch.rest()
    assert watch.watcher.watches == 0
    kernel = watch.watcher._kernel
    assert kernel is not None
    assert "inotify wd" not in Path(f"/proc/self/fdinfo/{kernel.fd}").read_text()


async def test_setting_the_same_again_changes_nothing_and_other_roots_take_their_place(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    watch.watcher.set("key", [Tree(str(tree))])
    assert not watch.watcher.dirty("key")
    watch.watcher.set("key", [Tree(str(tree / "src"))])
    assert watch.watcher.dirty("key")
    await watch.rest()
    await watch.sees((tree / "file").touch)
    await watch.sees((tree / "src/new").touch, "key")


async def test_it_is_told_again_only_after_it_was_settled(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    (tree / "one").touch()
    await until_turned(lambda: watch.calls)
    (tree / "two").touch()
    assert watch.watcher.dirty("key")
    await asyncio.sleep(0.1)
    assert watch.calls == ["key"]
    watch.watcher.settled("key")
    assert not watch.watcher.dirty("key")
    await watch.sees((tree / "three").touch, "key")


async def test_settled_before_all_is_watched_is_not_taken_for_the_last_word(watch: Told, tree: Path) -> None:
    watch.watcher.set("key", [Tree(str(tree))])
    watch.watcher.settled("key")
    assert watch.watcher.dirty("key")
    await until_turned(lambda: watch.calls == ["key"])


async def test_to_ask_costs_microseconds(watch: Told, tree: Path) -> None:
    await watch.begin(key=tree)
    began = time.perf_counter()
    for _ in range(1000):
        watch.watcher.dirty("key")
    assert (time.perf_counter() - began) / 1000 < 50e-6


async def test_a_storm_ends_in_at_most_two_calls(tree: Path) -> None:
    async with told(quiet_s=0.3) as watch:
        await watch.begin(one=tree, two=tree / "src")
        watch.settles = True

        def storm() -> None:
            for number in range(200):
                directory = tree / "src" / str(number % 50) / str(number)
                directory.mkdir(parents=True)
                for file in range(100):
                    (directory / str(file)).touch()

        await asyncio.to_thread(storm)
        await asyncio.sleep(0.8)
        await until_turned(lambda: not watch.watcher.busy)
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
    await asyncio.sleep(0.1)
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
        await asyncio.sleep(0.2)
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
