import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dxd.watch.model import File, Tree
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
    await watch.begin(key=tree, later=tree.parent / "later")
    (tree / "one").touch()
    await until_turned(lambda: watch.calls)
    (tree / "two").touch()
    assert watch.watcher.dirty("key")
    (tree.parent / "later").mkdir()  # what is told of this comes after whatever the other change would cause
    await until_turned(lambda: "later" in watch.calls)
    assert watch.calls == ["key", "later"]
    watch.watcher.settled("key")
    assert not watch.watcher.dirty("key")
    watch.watcher.drop("later")
    watch.calls.clear()
    await watch.sees((tree / "three").touch, "key")


async def test_settled_before_all_is_watched_is_not_taken_for_the_last_word(watch: Told, tree: Path) -> None:
    watch.watcher.set("key", [Tree(str(tree))])
    watch.watcher.settled("key")
    assert watch.watcher.dirty("key")
    await until_turned(lambda: watch.calls == ["key"])
