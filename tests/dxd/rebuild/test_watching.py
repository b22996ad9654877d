"""What of a context is watched agrees with what is sent."""

from pathlib import Path

import pytest

from dxd.images import context
from dxd.rebuild.terminal import session_of
from dxd.rebuild.watching import same_watch, specs_of
from dxd.tools.model import Build
from dxd.watch.model import File, Tree


def made(at: Path, ignore: str, *names: str) -> Build:
    """A context with such files."""
    for name in ("Dockerfile", *names):
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text("FROM scratch\n")
    (at / ".dockerignore").write_text(ignore)
    return Build(at)


@pytest.mark.parametrize(
    ("ignore", "pruned", "ignored"),
    [
        ("", set(), set()),
        ("node_modules\n*.log\n", {"node_modules"}, {"node_modules", "node_modules/x", "a.log"}),
        ("a\n!a/b/c\n", set(), {"a", "a/b", "a/x"}),
        (
            "*\n!src\n",
            {"node_modules", "a", "a/b"},
            {"node_modules", "node_modules/x", "a.log", "a", "a/x", "a/b", "a/b/c"},
        ),
    ],
)
def test_what_is_left_out(tmp_path: Path, ignore: str, pruned: set[str], ignored: set[str]) -> None:
    """Costs no watch where nothing below it is sent, and is no change."""
    build = made(tmp_path, ignore, "node_modules/x", "a.log", "a/b/c", "a/x", "src/main.c")
    tree = specs_of(build, context.read(build))[0]
    assert isinstance(tree, Tree)
    assert {each for each in ("node_modules", "a", "a/b", "src") if tree.prune(each)} == pruned
    names = ("node_modules", "node_modules/x", "a.log", "a", "a/x", "a/b", "a/b/c", "src", "src/main.c", "Dockerfile")
    assert {each for each in names if tree.ignores(each)} == ignored


def test_the_files_that_say_how(tmp_path: Path) -> None:
    """Count wherever they are, and though they do not exist yet."""
    (tmp_path / "context").mkdir()
    made(tmp_path / "context", "")
    outside = tmp_path / "D"
    outside.write_text("FROM scratch\n")
    build = Build(tmp_path / "context", file=outside)
    files = {each.path for each in specs_of(build, context.read(build)) if isinstance(each, File)}
    assert files == {str(outside), f"{outside}.dockerignore", str(tmp_path / "context" / ".dockerignore")}


def test_another_dockerignore_is_another_watch(tmp_path: Path) -> None:
    """Any other change is not."""
    build = made(tmp_path, "a\n", "b")
    first = context.read(build)
    (tmp_path / "b").write_text("other")
    assert same_watch(first, context.read(build))
    (tmp_path / ".dockerignore").write_text("b\n")
    assert not same_watch(first, context.read(build))


def test_a_process_that_is_gone_has_no_session() -> None:
    assert session_of(1 << 22) == 0
