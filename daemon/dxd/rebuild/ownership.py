"""Which images of the engine are builds that this daemon made, and which of their names are its own.

Labels alone do not say: whoever builds `FROM dx/NAME` has an image with the same ones, which is theirs. So one of ours
is known by its id, which history has from before it gets a name, or by the name that only its own digest gives it. An
image that a killed daemon left has neither. It is known by the attempt that its label says, of which history knows no
image: nobody could build on what nobody could name.
"""

from collections.abc import Iterable

from dxd.engine.model import HeldImage, ImageId
from dxd.images.images import ATTEMPT_LABEL, BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL, tag_of
from dxd.rebuild.names import Names
from dxd.store.model import Build


def attempt_of(build: Build) -> str:
    """What tells this attempt from all others, also where history was lost and numbers begin anew."""
    return f"{build.id}-{build.began:%Y%m%dT%H%M%S.%f}"


def of_this_daemon(images: Iterable[HeldImage], builds: Iterable[Build], names: Names) -> dict[ImageId, HeldImage]:
    """Those of the images that are builds of this daemon, by their ids."""
    builds = list(builds)
    known = {each.image_id for each in builds}
    left = {attempt_of(each) for each in builds if each.image_id is None and each.result is not None}
    return {
        each.id: each for each in images
        if each.labels.get(BUILDER_LABEL) == names.instance and each.labels.get(BUILD_LABEL) and (
            each.id in known
            or names.build(each.labels.get(TOOL_LABEL, ""), each.labels[BUILD_LABEL]) in each.tags
            or (not each.tags and each.labels.get(ATTEMPT_LABEL) in left)
        )
    }  # fmt: skip


def own_tags(image: HeldImage, names: Names) -> list[str]:
    """Of the names of a build those that dx gave it, last the one by which it is known; others are somebody else's."""
    tool = image.labels.get(TOOL_LABEL, "")
    known = names.build(tool, image.labels.get(BUILD_LABEL, ""))
    own = [each for each in image.tags if each in (known, tag_of(tool)) or names.is_mark(tool, each)]
    return sorted(own, key=known.__eq__)
