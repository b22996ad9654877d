"""A Dockerfile in which images have the names that a lock has for them, so that a tag which moves changes nothing.

Only what is sent to the engine is another; every builder takes `name@sha256:...`, and the engine's own image where it
has that. Lines stay where they are, so what a builder says of them is about the user's file.
"""

from collections.abc import Mapping

from dxd.errors import BuildFailed
from dxd.images.context import Recipe
from dxd.images.dockerfile import bases_of, renamed
from dxd.tools.model import Build


def pinned(recipe: Recipe, build: Build, pins: Mapping[str, str], platform: str) -> bytes:
    """The Dockerfile's content with those names in place of the others; raises `BuildFailed` where one would stay."""
    args = dict(build.args)
    text = renamed(
        recipe.content.decode(errors="surrogateescape"), pins, args=args, target=build.target, platform=platform
    )
    bases = bases_of(text, args=args, target=build.target, platform=platform)
    for each in bases.needed:
        if each.name in pins and pins[each.name] != each.name:
            hint = "write its name in one word, on one line"
            raise BuildFailed(
                f"the Dockerfile names {each.name}, which is locked, in a way that cannot be pinned", hint
            )
    return text.encode(errors="surrogateescape")
