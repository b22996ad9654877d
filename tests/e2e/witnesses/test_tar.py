"""`tar` of very many small files, from an image and natively: the same archive, and the same tree out of it."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House

DIRECTORIES = 200
IN_EACH = int(os.environ.get("DX_TEST_FILES", "20000")) // DIRECTORIES
"""A million takes a quarter of an hour; the same things can go wrong with fewer."""
SLOW_S = 500.0


@pytest.fixture(scope="module")
def tree(home: House) -> Iterator[Path]:
    """Small files in directories: some are empty, some have a mode, each has its name as content."""
    place = Path(os.fsdecode(home.place()))
    (top := place / "tree").mkdir()
    for number in range(DIRECTORIES):
        directory = top / f"directory {number:03}"
        directory.mkdir()
        for file in range(IN_EACH):
            name = f"{directory}/{file:05} ü"
            descriptor = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644 if file % 7 else 0o600)
            if file % 5:
                os.write(descriptor, name[-10:].encode())
            os.close(descriptor)
    subprocess.run(["chown", "-R", f"{home.person.uid}:{home.person.gid}", top], check=True, timeout=SLOW_S)
    yield place
    subprocess.run(["rm", "-rf", place], check=True, timeout=SLOW_S)


def digest_of(process: "subprocess.Popen[bytes]") -> str:
    """Of all that it prints, when it has ended well."""
    with process:
        assert process.stdout is not None
        digest = hashlib.sha256()
        while piece := process.stdout.read(1 << 16):
            digest.update(piece)
    assert process.returncode == 0
    return digest.hexdigest()


@pytest.mark.timeout(600)
def test_the_same_archive_and_the_same_tree(home: House, tree: Path) -> None:
    """Through pipes, in order, with owners, modes and times."""
    create = ["tar", "--create", "--sort=name", "--format=posix", "--pax-option=delete=atime,delete=ctime"]
    create += ["--numeric-owner", "tree"]
    options = {**home.options({"cwd": tree}), "stdout": subprocess.PIPE}
    native = digest_of(subprocess.Popen(create, **options))
    assert digest_of(home.popen(["run", *create], cwd=tree, stdout=subprocess.PIPE)) == native
    out = tree / "out"
    out.mkdir()
    home.own(out)
    with subprocess.Popen(create, **options) as packing:
        done = home.run(["tar", "--extract", "--directory=out"], cwd=tree, stdin=packing.stdout, timeout=SLOW_S)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert digest_of(subprocess.Popen(create, **{**options, "cwd": out})) == native
