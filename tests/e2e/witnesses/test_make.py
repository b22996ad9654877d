"""`make -j8` with a compiler in an image: its jobserver is pipes that every process of the tree inherits."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.witnesses.conftest import SOURCES
from tests.house import DEADLINE_S, House

PARTS = 24
DIRECTORIES = 4
TOP = """\
all: program
program: parts
\t@gcc -o program main.c part.c */*.o
parts: $(foreach each,1 2 3 4,parts-$(each))
parts-%:
\t@$(MAKE) --no-print-directory -C $*
"""
BELOW = """\
all: $(patsubst %.c,%.o,$(wildcard *.c))
%.o: %.c
\t@mkdir slot-$*; set ../*/slot-*; echo $$# >> ../counts; sleep 0.05; gcc -c -o $@ $< && rmdir slot-$*
"""
"""Counts, as each job begins, how many there are."""


@pytest.fixture
def tree(home: House) -> Path:
    """A program in parts, of directories with a Makefile each."""
    place = Path(os.fsdecode(home.place()))
    for each in SOURCES.glob("*.c"):
        shutil.copy(each, place)
    (place / "Makefile").write_text(TOP)
    for number in range(1, DIRECTORIES + 1):
        (below := place / str(number)).mkdir()
        (below / "Makefile").write_text(BELOW)
        for part in range(PARTS // DIRECTORIES):
            name = f"p{number}_{part}"
            (below / f"{name}.c").write_text(f"int {name}(void);\nint {name}(void) {{ return {part}; }}\n")
    for at, directories, files in os.walk(place):
        for name in (*directories, *files):
            home.own(Path(at, name))
    return place


def most_at_once(tree: Path) -> int:
    """Jobs; all of them were counted."""
    counts = [int(line) for line in (tree / "counts").read_text().split()]
    assert len(counts) == PARTS
    return max(counts)


def test_make_in_an_image(home: House, tree: Path) -> None:
    """One jobserver for the makes of all directories: more than one job at once, and never more than eight."""
    done = home.run(["make", "-j8"], cwd=tree)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    assert 1 < most_at_once(tree) <= 8
    program = tree / "program"
    assert program.stat().st_uid == home.person.uid
    assert subprocess.check_output([program], timeout=DEADLINE_S) == b"42\n"
    assert home.run(["make", "-j8", "-q", "-C", "1"], cwd=tree).returncode == 0


def test_the_hosts_make_with_makes_in_images(home: House, tree: Path) -> None:
    """They take their tokens from its jobserver, through the descriptors that it left open for them."""
    makefile = tree / "Makefile"
    makefile.write_text(TOP.replace("$(MAKE)", f"+{home.shims}/make"))
    done = subprocess.run(["make", "-j3"], **home.options({"cwd": tree}), capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b""), done
    assert 1 < most_at_once(tree) <= 3
