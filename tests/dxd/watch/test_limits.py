"""The limits of inotify, reached: in a user namespace, whose own limits bound nobody else."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, sys
from pathlib import Path
from dxd.watch.model import Tree
from dxd.watch.watcher import Watcher

name, value, *trees = sys.argv[1:]
# Below /proc/sys/user are the limits of this namespace; those in /proc/sys/fs would be the machine's.
limit = Path("/proc/sys/user", name)
before = limit.read_text()
limit.write_text(value)

async def turn(look):
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)

async def main():
    calls = []
    watcher = Watcher(calls.append, quiet_s=0.02, poll_s=0.05, look_s=0.2)
    for tree in trees:
        watcher.set(tree, [Tree(tree)])
    await turn(lambda: not watcher.busy and set(calls) == set(trees))
    polled = [tree for tree in trees if not watcher.sure(tree)]
    print(*[Path(tree).name for tree in polled], sep=",")
    print(*watcher.problems(), sep="\\n")
    for tree in trees:
        watcher.settled(tree)
    calls.clear()
    for tree in trees:
        Path(tree, "9", "file").touch()
        await turn(lambda: tree in calls)
    for tree in trees:
        watcher.settled(tree)
    calls.clear()
    limit.write_text(before)
    watcher.drop(trees.pop(0))
    await turn(lambda: not watcher.busy and watcher.problems() == [])
    for tree in trees:
        watcher.settled(tree)
        assert not watcher.dirty(tree)
        Path(tree, "9", "file").unlink()
        assert watcher.dirty(tree)
    print("watched again")
    await watcher.close()

asyncio.run(main())
"""


def limited(name: str, value: int, *trees: Path) -> list[str]:
    """What the script says with this limit."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", SCRIPT, name, str(value), *map(str, trees)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # The log goes to standard output while nobody has configured it.
    return [line for line in done.stdout.splitlines() if "[warning" not in line]


@pytest.fixture(autouse=True)
def _user_namespaces() -> None:
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")


@pytest.fixture
def trees(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("one", "two", "three")]
    for tree in made:
        for number in range(30):
            (tree / str(number)).mkdir(parents=True)
    return made


def test_a_tree_that_there_are_no_watches_for_is_polled_until_there_are(trees: list[Path]) -> None:
    polled, *problems, last = limited("max_inotify_watches", 80, *trees)
    assert polled == "three"
    assert [str(trees[2]) in each and "sysctl fs.inotify.max_user_watches=" in each for each in problems] == [True]
    assert last == "watched again"


def test_without_an_instance_all_is_polled_until_there_is_one(trees: list[Path]) -> None:
    polled, *problems, last = limited("max_inotify_instances", 0, *trees)
    assert polled == "one,two,three"
    assert ["sysctl fs.inotify.max_user_instances=" in each for each in problems] == [True] * 3
    assert last == "watched again"
