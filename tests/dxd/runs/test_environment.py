"""The environment of a run: what of whose is in it."""

from dxd.runs.environment import DEFAULT_PATH, compose


def variables(image: list[str], caller: list[bytes], wanted: list[str]) -> dict[bytes, bytes]:
    made = compose(image, caller, wanted, cwd=b"/w", home=b"/home/me")
    pairs = dict(each.split(b"=", 1) for each in made)
    assert len(pairs) == len(made)
    return pairs


def test_the_caller_passes_only_what_is_listed() -> None:
    """How to speak to a person, and who that is; no secret that happens to be set."""
    caller = [b"TERM=xterm", b"LC_ALL=\xff", b"TOKEN=secret", b"CI=1", b"DX_STATE_DIR=/x", b"strange", b"=C:=x"]
    assert variables([], caller, []) == {
        b"PATH": DEFAULT_PATH,
        b"TERM": b"xterm",
        b"LC_ALL": b"\xff",
        b"CI": b"1",
        b"HOME": b"/home/me",
        b"PWD": b"/w",
    }


def test_the_image_is_below_and_the_tool_above() -> None:
    """A variable of the image gives way to the caller's, that to the tool's own setting."""
    made = variables(["PATH=/opt/bin", "LANG=C", "A=image"], [b"LANG=de", b"A=caller"], ["A=tool", "EMPTY="])
    assert made[b"PATH"] == b"/opt/bin"
    assert made[b"LANG"] == b"de"
    assert made[b"A"] == b"tool"
    assert made[b"EMPTY"] == b""


def test_a_pattern_passes_names_that_match() -> None:
    """In upper and lower case as it is written."""
    caller = [b"AWS_KEY=k", b"AWS_REGION=r", b"aws_x=1", b"OTHER=o"]
    made = variables([], caller, ["AWS_*"])
    assert (made[b"AWS_KEY"], made[b"AWS_REGION"]) == (b"k", b"r")
    assert b"aws_x" not in made
    assert b"OTHER" not in made


def test_everything_is_all_but_path_home_and_our_own() -> None:
    """`--env '*'`: the image's PATH has to stay, and dx's variables are about the host."""
    caller = [b"PATH=/host", b"HOME=/other", b"DX_DEPTH=1", b"OLDPWD=/o", b"PWD=/p", b"SECRET=s", b"\xfe=\xff"]
    made = variables(["PATH=/image"], caller, ["*"])
    assert made == {b"PATH": b"/image", b"HOME": b"/home/me", b"PWD": b"/w", b"SECRET": b"s", b"\xfe": b"\xff"}
