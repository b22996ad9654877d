"""Which images are builds of a daemon, by what history and the engine say."""

from datetime import UTC, datetime
from typing import Any

from dxd.engine.model import HeldImage, ImageId
from dxd.images.images import ATTEMPT_LABEL, BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL
from dxd.rebuild.names import Names
from dxd.rebuild.ownership import attempt_of, of_this_daemon, own_tags
from dxd.store.model import Build, BuildId, Result

NAMES = Names("0123456789abcdef")
DIGEST = "d" * 64
THEN = datetime(2026, 11, 30, 12, 0, 0, 250_000, UTC)
TAG = f"dx/lint:{'d' * 12}"


def build(result: Result | None = Result.CANCELLED, image: str | None = None, **other: Any) -> Build:
    known: dict[str, Any] = {"id": BuildId(1), "tool": "lint", "digest": DIGEST, "began": THEN, "seconds": None}
    return Build(**{**known, **other}, image_id=image, result=result, cause="", asked_by="run", error="")


def image(name: str, *tags: str, builder: str = NAMES.instance, **labels: str) -> HeldImage:
    ours = {TOOL_LABEL: "lint", BUILD_LABEL: DIGEST, BUILDER_LABEL: builder, ATTEMPT_LABEL: attempt_of(build())}
    return HeldImage(ImageId(name), tags, {**ours, **labels}, 1, THEN)


def owned(images: list[HeldImage], *builds: Build) -> set[str]:
    return {str(each) for each in of_this_daemon(images, builds, NAMES)}


def test_one_that_history_knows_is_ours_with_what_is_built_on_it_left_out() -> None:
    """By its id, whatever names it has by now."""
    assert owned([image("made"), image("child"), image("other", "x:1")], build(Result.GOOD, "made")) == {"made"}


def test_one_with_the_name_of_its_digest_is_ours_where_history_was_lost() -> None:
    assert owned([image("made", TAG, "x:1"), image("child", "dx/lint:latest")]) == {"made"}
    assert owned([image("made", TAG, builder="another")]) == set()


def test_one_that_an_attempt_left_is_ours_while_history_knows_no_image_of_it() -> None:
    """An attempt that made one may have had it named, and somebody may have built on that."""
    left = image("left")
    assert owned([left], build()) == {"left"}
    assert owned([left], build(Result.FAILED)) == {"left"}
    assert owned([left], build(None)) == set()  # it is being looked after
    assert owned([left], build(image="made")) == set()
    assert owned([left]) == set()
    assert owned([left], build(began=THEN.replace(microsecond=0))) == set()  # another history's first
    assert owned([image("named", "x:1")], build()) == set()


def test_only_names_that_dx_gives_are_its_own() -> None:
    """The one by which it is known goes last, so that it is known until the end."""
    mine = ["x:1", "dx/lint:mine", "dx/lint:is-ffffffffff", "dx/other:latest"]
    own = [NAMES.serving("lint"), NAMES.pinned("lint@0123"), "dx/lint:latest", TAG]
    assert own_tags(image("made", TAG, *mine, *own[:-1]), NAMES) == own
