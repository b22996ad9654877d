import asyncio
import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dxd.errors import BuildFailed
from dxd.images.context import BLOCK_BYTES, Archive, ContextMoved, read, walk
from dxd.tools.model import Build
from tests.privilege import as_files_say


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text("FROM scratch\n")
    return root


async def _bytes(build: Build) -> bytes:
    archive = Archive(read(build))
    try:
        return b"".join([block async for block in archive])
    finally:
        await archive.close()


async def _members(root: Path, *, file: Path | None = None) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(await _bytes(Build(root, file=file)))) as tar:
        return {member.name: member for member in tar}


async def test_modes_times_symlinks_and_empty_directories_are_kept(root: Path) -> None:
    (root / "run").write_text("x")
    (root / "run").chmod(0o4751)
    os.utime(root / "run", (1, 1_000_000_000))
    (root / "empty").mkdir(0o700)
    (root / "link").symlink_to("./../somewhere//else")
    (root / "loop").symlink_to("loop")
    members = await _members(root)
    assert list(members) == ["Dockerfile", "empty", "link", "loop", "run"]
    assert (members["run"].mode, members["run"].mtime, members["run"].size) == (0o4751, 1_000_000_000, 1)
    assert (members["empty"].isdir(), members["empty"].mode) == (True, 0o700)
    assert (members["link"].issym(), members["link"].linkname) == (True, "./../somewhere//else")
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}


@pytest.mark.parametrize("outside", [False, True])
async def test_another_dockerfile_is_sent_in_place_of_the_one_that_is_there(root: Path, outside: bool) -> None:
    """With its mode and its time, and nothing else is another."""
    file = root.parent / "Dockerfile" if outside else root / "Dockerfile"
    (root / "run").write_text("x")
    file.write_text("FROM scratch\n")
    recipe = read(Build(root, file=file))
    archive = Archive(recipe, dockerfile=b"FROM another\n")
    try:
        sent = b"".join([block async for block in archive])
    finally:
        await archive.close()
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        given = tar.extractfile(recipe.dockerfile)
        assert given is not None
        assert given.read() == b"FROM another\n"
        members = {member.name: (member.mode, member.mtime, member.size) for member in tar}
    untouched = {name: (each.mode, each.mtime, each.size) for name, each in (await _members(root, file=file)).items()}
    assert members == {**untouched, recipe.dockerfile: (*untouched[recipe.dockerfile][:2], 13)}


async def test_names_are_bytes_and_may_be_long(root: Path) -> None:
    names = [b"caf\xe9", b"new\nline", "ü".encode(), b"x" * 255, b" "]
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
    deep = root / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    with tarfile.open(fileobj=io.BytesIO(await _bytes(Build(root))), encoding="utf-8", errors="surrogateescape") as tar:
        members = {os.fsencode(member.name): member for member in tar}
        for name in names:
            file = tar.extractfile(members[name])
            assert file is not None
            assert file.read() == name
    assert os.fsencode(f"{'d' * 200}/{'e' * 200}/file") in members


async def test_what_is_no_file_is_left_out(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        assert list(await _members(root)) == ["Dockerfile"]


async def test_a_large_context_comes_in_blocks(root: Path) -> None:
    (root / "large").write_bytes(os.urandom(3 * BLOCK_BYTES + 5))
    archive = Archive(read(Build(root)))
    blocks = [block async for block in archive]
    await archive.close()
    assert len(blocks) >= 3
    assert max(map(len, blocks)) < 3 * BLOCK_BYTES
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as tar:
        file = tar.extractfile("large")
        assert file is not None
        assert file.read() == (root / "large").read_bytes()


async def test_ignored_files_stay_out_with_what_is_below_them(root: Path) -> None:
    for name in ("a.log", "keep/a.log", "out/x", "out/sub/y", "in/z"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).touch()
    (root / ".dockerignore").write_text("**/*.log\nout\n!out/sub/y\n")
    assert list(await _members(root)) == [
        ".dockerignore", "Dockerfile", "in", "in/z", "keep", "out", "out/sub", "out/sub/y",
    ]  # fmt: skip


async def test_a_directory_that_is_ignored_is_not_even_read(root: Path) -> None:
    (root / "secret").mkdir(0o000)
    (root / "secret2").mkdir()
    (root / ".dockerignore").write_text("secret*\n")
    assert list(await _members(root)) == [".dockerignore", "Dockerfile"]


async def test_the_dockerfile_is_there_even_where_it_is_ignored(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub/Dockerfile").write_text("FROM scratch\n")
    (root / "sub/other").touch()
    (root / ".dockerignore").write_text("**\n")
    assert list(await _members(root)) == ["Dockerfile"]
    assert list(await _members(root, file=root / "sub/Dockerfile")) == ["sub", "sub/Dockerfile"]
    assert read(Build(root, file=root / "sub/Dockerfile")).dockerfile == "sub/Dockerfile"


async def test_the_dockerfiles_own_ignore_file_goes_before_the_contexts(root: Path) -> None:
    (root / "a").touch()
    (root / "b").touch()
    (root / ".dockerignore").write_text("a\n")
    (root / "Dockerfile.dockerignore").write_text("b\n")
    assert "a" in await _members(root)
    assert "b" not in await _members(root)
    (root / "other.Dockerfile").write_text("FROM scratch\n")
    assert "a" not in await _members(root, file=root / "other.Dockerfile")


async def test_a_dockerfile_outside_comes_along_under_another_name(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("FROM scratch\nLABEL out=side\n")
    build = Build(root, file=outside)
    name = read(build).dockerfile
    assert name.startswith(".")
    assert name == read(build).dockerfile
    assert list(await _members(root, file=outside)) == ["Dockerfile", name]
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").symlink_to(outside)
    name = read(Build(root)).dockerfile
    with tarfile.open(fileobj=io.BytesIO(await _bytes(Build(root)))) as tar:
        file = tar.extractfile(name)
        assert file is not None
        assert file.read() == outside.read_bytes()


async def test_a_dockerfile_in_small_letters_will_do(root: Path) -> None:
    (root / "Dockerfile").rename(root / "dockerfile")
    assert read(Build(root)).dockerfile == "dockerfile"


async def test_a_context_behind_a_symlink_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert list(await _members(tmp_path / "link")) == ["Dockerfile"]
    assert read(Build(tmp_path / "link", file=root / "Dockerfile")).dockerfile == "Dockerfile"


@pytest.mark.parametrize("closed", ["", "context", "context/sub"])
def test_what_may_not_be_entered_is_named(root: Path, tmp_path: Path, closed: str) -> None:
    (root / "sub").mkdir()
    directory = tmp_path / closed
    directory.chmod(0)
    try:
        with (
            as_files_say(),
            pytest.raises(BuildFailed, match=f"cannot read {directory}.*: Permission denied") as raised,
        ):
            list(walk(read(Build(root))))
        assert raised.value.hint
    finally:
        directory.chmod(0o755)


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda root: root.rename(root.parent / "other")])
async def test_a_context_that_goes_after_it_was_looked_at_is_an_error(
    root: Path, gone: Callable[[Path], object]
) -> None:
    build = Build(root)
    recipe = read(build)
    gone(root)
    root.with_name("file").touch()
    for each in (recipe, replace(recipe, context=str(root.with_name("file")))):
        with pytest.raises(BuildFailed, match="is no directory"):
            list(walk(each))
    archive = Archive(recipe)
    with pytest.raises(ContextMoved, match="is no directory"):
        await anext(archive)
    await archive.close()


def test_what_is_missing_or_wrong_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="no Dockerfile .*missing"):
        read(Build(root, file=root / "missing"))
    with pytest.raises(BuildFailed, match="is no directory"):
        read(Build(tmp_path / "nowhere"))
    with pytest.raises(BuildFailed, match="Is a directory"):
        read(Build(root, file=root))
    (tmp_path / "loop").symlink_to("loop")
    for build in (Build(tmp_path / "loop"), Build(tmp_path / "loop/inner"), Build(root, file=tmp_path / "loop/D")):
        with pytest.raises(BuildFailed, match="symbolic links") as raised:
            read(build)
        assert f"{tmp_path}/loop" in raised.value.message
        assert raised.value.hint
    (root / ".dockerignore").write_text("ok\n[\n")
    with pytest.raises(BuildFailed, match=r"\.dockerignore: line 2"):
        read(Build(root))


async def test_a_file_that_shrinks_or_grows_meanwhile_is_an_error(root: Path) -> None:
    # One that is larger than a block is still being read when its header and its first block have come.
    for size in (BLOCK_BYTES, 5 * BLOCK_BYTES):
        (root / "large").write_bytes(bytes(4 * BLOCK_BYTES))
        archive = Archive(read(Build(root)))
        await anext(archive)
        os.truncate(root / "large", size)
        with pytest.raises(BuildFailed, match="large changed while"):
            async for _ in archive:
                pass
        await archive.close()


async def test_a_file_that_goes_meanwhile_is_left_out(root: Path) -> None:
    (root / "a").write_bytes(bytes(2 * BLOCK_BYTES))
    (root / "z").touch()
    archive = Archive(read(Build(root)))
    blocks = [await anext(archive)]
    (root / "z").unlink()
    blocks += [block async for block in archive]
    await archive.close()
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as tar:
        assert tar.getnames() == ["Dockerfile", "a"]


async def test_reading_that_is_cancelled_can_be_closed(root: Path) -> None:
    (root / "large").write_bytes(bytes(8 * BLOCK_BYTES))
    archive = Archive(read(Build(root)))
    task = asyncio.ensure_future(anext(archive))
    await asyncio.sleep(0)
    task.cancel()
    await archive.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await archive.close()


async def test_a_tree_deeper_than_pythons_stack(root: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(root)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        assert len(await _members(root)) == 1501
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", root / "d"], check=True)  # pytest itself could not
