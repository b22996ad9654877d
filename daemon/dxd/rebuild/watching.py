"""What is watched for a build: its context without what .dockerignore leaves out, and the files that say how."""

from functools import lru_cache

from dxd.images.context import Recipe
from dxd.images.ignore import Ignore, Verdict
from dxd.tools.model import Build
from dxd.watch.model import File, Spec, Tree

REMEMBERED = 1024
"""Directories whose verdicts are kept, of one context."""


class _Judged:
    """The decisions of a context's .dockerignore, by name alone."""

    def __init__(self, ignore: Ignore, dockerfile: str | None) -> None:
        self._ignore = ignore
        self._dockerfile = dockerfile
        """Its name in the context, where it is in there: it counts though it may be ignored."""
        self._verdict = lru_cache(REMEMBERED)(self._judged)

    def prune(self, name: str) -> bool:
        """Whether nothing below that directory is sent."""
        if self._dockerfile is not None and self._dockerfile.startswith(f"{name}/"):
            return False
        return self._verdict(name)[0] and not self._ignore.may_include_below(name)

    def ignores(self, name: str) -> bool:
        """Whether that entry is not sent."""
        return name != self._dockerfile and self._verdict(name)[0]

    def _judged(self, name: str) -> Verdict:
        parent = name.rpartition("/")[0]
        return self._ignore.judge(name, self._verdict(parent) if parent else self._ignore.root)


def specs_of(build: Build, recipe: Recipe) -> tuple[Spec, ...]:
    """Everything that can make the build another one, the images that it is built on aside."""
    judged = _Judged(recipe.ignore, None if recipe.is_outside else recipe.dockerfile)
    file = build.file or build.context / "Dockerfile"
    files = [f"{file}.dockerignore", str(build.context / ".dockerignore")]
    if recipe.is_outside:
        files.append(str(file))
    return (Tree(recipe.context, prune=judged.prune, ignores=judged.ignores), *map(File, files))


def same_watch(one: Recipe, other: Recipe) -> bool:
    """Whether the same is to be watched for both."""
    return (one.context, one.dockerfile, one.is_outside, one.ignore.lines) == (
        other.context, other.dockerfile, other.is_outside, other.ignore.lines,
    )  # fmt: skip
