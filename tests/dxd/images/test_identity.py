import asyncio
import contextlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dxd.errors import BuildFailed
from dxd.images import context
from dxd.images.identity import RACY_NS, Change, Identity, Memory, cause, changes, identify
from dxd.images.weight import biggest
from dxd.tools.model import Build
from tests.privilege import as_files_say
from tests.waiting import until

BASES = {"alpine": "sha256:" + "a" * 64}


def _identify(build: Build | Path, memory: Memory | None = None, **given: object) -> Identity:
    build = Build(build) if isinstance(build, Path) else build
    bases = given.get("bases", BASES)
    assert isinstance(bases, dict)
    return identify(build, platform=str(given.get("platform", "linux/amd64")), bases=bases, memory=memory or Memory())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src" / "empty").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM alpine\nCOPY . .\n")
    (root / "src/main.c").write_text("int main;\n")
    (root / "src/link").symlink_to("main.c")
    (root / "run").write_text("x")
    (root / "run").chmod(0o755)
    (root / os.fsdecode(b"caf\xe9")).write_text("bytes")
    (root / ".dockerignore").write_text("*.log\n")
    (root / "a.log").write_text("x")
    return root


def _clone(root: Path, to: Path) -> Path:
    shutil.copytree(root, to, symlinks=True)
    for path in to.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    return to


def test_two_clones_are_one_build(root: Path, tmp_path: Path) -> None:
    clone = _clone(root, tmp_path / "else" / "where")
    assert _identify(root) == _identify(clone)
    outside = tmp_path / "Dockerfile"
    outside.write_text("FROM scratch\n")
    other = tmp_path / "else" / "Dockerfile"
    other.write_text("FROM scratch\n")
    assert _identify(Build(root, file=outside)) == _identify(Build(clone, file=other))
    assert _identify(Build(root, file=outside)) != _identify(root)


async def _sends(build: Build, sent: str) -> bool:
    """Whether an archive that is made now is that which was named."""
    archive = context.Archive(context.read(build), sent)
    try:
        blocks = [block async for block in archive]
    except context.ContextMoved:
        return False
    finally:
        await archive.close()
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as tar:
        return bool(tar.getnames())


def _rename(root: Path) -> None:
    (root / "src").rename(root / "lib")


def _retype(root: Path) -> None:
    (root / "src/empty").rmdir()
    (root / "src/empty").touch()


def _relink(root: Path) -> None:
    (root / "src/link").unlink()
    (root / "src/link").symlink_to("./main.c")


EDITS: list[tuple[Callable[[Path], object], dict[str, Change]]] = [
    (lambda root: (root / "src/main.c").write_text("int niam;\n"), {"src/main.c": Change.CHANGED}),
    (lambda root: (root / "src/main.c").write_text(""), {"src/main.c": Change.CHANGED}),
    (lambda root: (root / "src/main.c").unlink(), {"src/main.c": Change.REMOVED}),
    (lambda root: (root / "src/new").touch(), {"src/new": Change.ADDED}),
    (lambda root: (root / "src/main.c").chmod(0o600), {"src/main.c": Change.CHANGED}),
    (lambda root: (root / "src/empty").chmod(0o700), {"src/empty": Change.CHANGED}),
    (lambda root: (root / "src/empty").rmdir(), {"src/empty": Change.REMOVED}),
    (lambda root: (root / "run").rename(root / "ran"), {"ran": Change.ADDED, "run": Change.REMOVED}),
    (lambda root: (root / "Dockerfile").write_text("FROM scratch\n"), {"Dockerfile": Change.CHANGED}),
    (lambda root: (root / "Dockerfile.dockerignore").touch(), {
        "Dockerfile.dockerignore": Change.ADDED, "a.log": Change.ADDED,
    }),
    (lambda root: (root / ".dockerignore").write_text("*.log\nrun\n"), {
        ".dockerignore": Change.CHANGED, "run": Change.REMOVED,
    }),
    (lambda root: (root / os.fsdecode(b"caf\xe9")).unlink(), {"caf\\xe9": Change.REMOVED}),
    (lambda root: (root / "new\nline").touch(), {"new\\nline": Change.ADDED}),
    (_retype, {"src/empty": Change.CHANGED}),
    (_relink, {"src/link": Change.CHANGED}),
    (_rename, {
        "lib": Change.ADDED, "lib/empty": Change.ADDED, "lib/link": Change.ADDED, "lib/main.c": Change.ADDED,
        "src": Change.REMOVED, "src/empty": Change.REMOVED, "src/link": Change.REMOVED, "src/main.c": Change.REMOVED,
    }),
    # And what makes no difference.
    (lambda root: (root / "a.log").write_text("y"), {}),
    (lambda root: (root / "b.log").touch(), {}),
    (lambda root: os.utime(root / "run", (5, 5)), {}),
    (lambda root: os.mkfifo(root / "pipe"), {}),
    (lambda root: os.link(root / "a.log", root / "c.log"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), EDITS)
async def test_an_edit_is_seen_and_named(
    root: Path, edit: Callable[[Path], object], expected: dict[str, Change]
) -> None:
    memory = Memory()
    before = _identify(root, memory)
    edit(root)
    after = _identify(root, memory)
    assert after == _identify(root), "what is remembered makes no difference"
    assert list(changes(before.parts, after.parts).items()) == list(expected.items())
    assert (before.digest == after.digest) == (not expected)
    assert await _sends(Build(root), after.sent)
    assert await _sends(Build(root), before.sent) == (not expected)


def test_what_is_no_file_counts_too(root: Path) -> None:
    build = Build(root, args=(("A", "1"), ("PASSWORD", "hunter2")), target="t")
    before = _identify(build)

    def told(after: Identity) -> dict[str, Change]:
        assert after.digest != before.digest
        return changes(before.parts, after.parts)

    assert told(_identify(build, bases={"alpine": "b"})) == {"base alpine": "changed"}
    assert told(_identify(build, bases={})) == {"base alpine": "removed"}
    assert told(_identify(build, platform="linux/arm64")) == {"platform": "changed"}
    assert told(_identify(replace(build, target="u"))) == {"target": "changed"}
    assert told(_identify(replace(build, target=None))) == {"target": "removed"}
    assert told(_identify(replace(build, args=(("A", "2"), *build.args[1:])))) == {"arg A": "changed"}
    assert told(_identify(replace(build, args=(*build.args, ("B", "x"))))) == {"arg B": "added"}
    assert told(_identify(replace(build, secrets=(("S", root),)))) == {"secret S": "added"}
    assert told(_identify(replace(build, ssh=True))) == {"ssh": "added"}
    assert told(_identify(replace(build, file=root / "run"))) == {"Dockerfile": "changed"}
    elsewhere = [_identify(replace(build, secrets=(("S", each),), ssh=each)) for each in (root, root / "run")]
    assert elsewhere[0].digest == elsewhere[1].digest
    assert b"hunter2" not in before.parts.names + before.parts.prints


async def test_an_edit_of_a_dockerfile_outside_is_one_change(root: Path, tmp_path: Path) -> None:
    build = Build(root, file=tmp_path / "outside")
    (tmp_path / "outside").write_text("FROM a\n")
    before = _identify(build)
    (tmp_path / "outside").write_text("FROM b\n")
    after = _identify(build)
    assert changes(before.parts, after.parts) == {"Dockerfile": "changed"}
    assert (await _sends(build, after.sent), await _sends(build, before.sent)) == (True, False)


def test_files_are_not_taken_for_what_is_no_file(root: Path) -> None:
    before = _identify(Build(root, target="x")).parts
    (root / "target").mkdir()
    after = _identify(Build(root, target="x")).parts
    assert dict(after).keys() - dict(before).keys() == {b"/target"}
    assert dict(after)[b"target"] == dict(before)[b"target"]


def test_a_cause_is_short(root: Path) -> None:
    before = _identify(root).parts
    assert cause(before, before) == ""
    (root / "src/main.c").write_text("")
    assert cause(before, _identify(root).parts) == "src/main.c"
    (root / "x").touch()
    (root / "run").unlink()
    (root / "src/link").unlink()
    assert cause(before, _identify(root).parts) == "src/main.c and 3 more"
    assert cause(before, _identify(root, bases={"alpine": "b"}).parts) == "base alpine and 4 more"


def _later() -> int:
    """A clock by which files that were just written are old enough to be remembered."""
    return time.time_ns() + 10_000_000_000


def test_what_was_read_is_not_read_again(root: Path) -> None:
    for path in root.iterdir():
        os.utime(path, (1, 1))
    os.utime(root / "src/main.c", (1, 1))
    memory = Memory(now=_later)
    before = _identify(root, memory)
    assert memory.reads == 5
    assert _identify(root, memory) == before
    assert memory.reads == 5
    assert memory.size_bytes == 72 * 5
    # Its size and time are what they were, and yet it is seen.
    (root / "run").write_text("y")
    os.utime(root / "run", (1, 1))
    (root / "Dockerfile").rename(root / "dockerfile")
    assert _identify(root, memory) != before
    assert memory.reads == 7


def test_a_file_that_is_young_is_read_again(root: Path) -> None:
    (root / "run").write_text("y")
    written = (root / "run").lstat().st_ctime_ns
    for age_ns, again in ((RACY_NS // 2, True), (RACY_NS * 2, False)):
        memory = Memory(now=partial(int, written + age_ns))
        _identify(root, memory)
        before = memory.reads
        _identify(root, memory)
        assert (memory.reads > before) == again


def test_memory_is_bounded(root: Path, tmp_path: Path) -> None:
    clone = _clone(root, tmp_path / "clone")
    memory = Memory(72 * 7, now=_later)
    assert _identify(root, memory) == _identify(clone, memory)
    assert memory.size_bytes == 72 * 5
    memory = Memory(10, now=_later)
    _identify(root, memory)
    assert memory.size_bytes == 0


def test_many_edits_within_one_tick_are_all_seen(root: Path) -> None:
    memory = Memory()
    for number in range(200):
        (root / "run").write_text(f"{number:03}")
        assert _identify(root, memory).digest == _identify(root).digest


def test_a_file_that_never_holds_still_is_an_error(root: Path) -> None:
    """It is large enough for another process to come in between, on a busy machine too."""
    size, large = 128 << 20, root / "large"
    large.touch()
    os.truncate(large, size)
    with subprocess.Popen(["sh", "-c", 'while :; do echo x; done >> "$0"', large]) as writer:
        try:
            until(lambda: large.stat().st_size > size, "it is written to")
            with pytest.raises(BuildFailed, match="large changed while"):
                _identify(root)
        finally:
            writer.kill()


def test_a_directory_that_cannot_be_read_is_an_error(root: Path) -> None:
    (root / "src").chmod(0)
    try:
        with as_files_say(), pytest.raises(BuildFailed, match="cannot read .*src"):
            _identify(root)
    finally:
        (root / "src").chmod(0o755)


def test_what_an_archive_cannot_be_made_of_has_no_name(root: Path) -> None:
    (root / "Dockerfile").unlink()
    with pytest.raises(BuildFailed, match="no Dockerfile"):
        _identify(root)


def test_the_biggest_entries_are_found(root: Path) -> None:
    for name, size in (("node/deep/er/blob", 5000), ("node/deep/er/small", 100), ("data/a", 600), ("data/b", 600)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    (root / "a.log").write_bytes(bytes(10_000))
    (root / "top").write_bytes(bytes(900))
    recipe = context.read(Build(root))
    weight = biggest(recipe, 3)
    assert weight.biggest == (("node/deep/er/blob", 5000), ("data/", 1200), ("top", 900))
    assert weight.size_bytes == _identify(root).size_bytes


# A tree is what each name is: None a directory, a str a link, else content and mode.
NAMES = ["a", "b.log", "d/a", "d/b.log", "d/e/f", "x\ny", os.fsdecode(b"\xff"), ".hidden"]
ENTRY = st.one_of(
    st.none(),
    st.sampled_from(["pipe", "socket", "link:a", "link:b"]),
    st.tuples(st.sampled_from([b"", b"1", b"2", bytes(1 << 20)]), st.sampled_from([0o644, 0o755, 0o4711])),
)
TREE = st.fixed_dictionaries(dict.fromkeys(NAMES, ENTRY))
IGNORED = st.sampled_from(["", "*.log", "**/*.log", "d", "d\n!d/e", "*\n!a", "Dockerfile\n", "**"])
Tree = dict[str, str | tuple[bytes, int] | None]


def _make(root: Path, tree: Tree, ignored: str) -> Build:
    root.mkdir()
    (root / "Dockerfile").write_text("FROM alpine\n")
    (root / ".dockerignore").write_text(ignored)
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry is None:
            path.mkdir()
        elif entry == "pipe":
            os.mkfifo(path)
        elif entry == "socket":
            with socket.socket(socket.AF_UNIX) as listener, contextlib.suppress(OSError):
                listener.bind(str(path))
        elif isinstance(entry, str):
            path.symlink_to(entry.removeprefix("link:"))
        else:
            path.write_bytes(entry[0])
            path.chmod(entry[1])
    return Build(root)


def _members(build: Build) -> list[tuple[object, ...]]:
    async def read() -> bytes:
        archive = context.Archive(context.read(build))
        try:
            return b"".join([block async for block in archive])
        finally:
            await archive.close()

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(read())), errors="surrogateescape") as tar:
        found: list[tuple[object, ...]] = []
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            found.append((member.name, member.type, member.mode, member.linkname, file.read() if file else b""))
        return found


@settings(max_examples=60, deadline=None)
@given(TREE, TREE, IGNORED, IGNORED, st.sets(st.sampled_from(NAMES), max_size=2), st.booleans())
def test_builds_are_one_if_and_only_if_their_archives_are(
    tree: Tree, other: Tree, ignored: str, other_ignored: str, edited: set[str], same_rules: bool
) -> None:
    second = tree | {name: other[name] for name in edited if name in other}
    with tempfile.TemporaryDirectory() as directory:
        one = _make(Path(directory, "one"), tree, ignored)
        two = _make(Path(directory, "second"), second, ignored if same_rules else other_ignored)
        same = _members(one) == _members(two)
        first, then = _identify(one), _identify(two)
        assert (first.digest == then.digest) == same
        assert (changes(first.parts, then.parts) == {}) == same
