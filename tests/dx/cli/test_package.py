"""dx import."""

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State

TOLD = {
    "description": {
        "definition": {"image": "whalebrew/aws", "env": ["AWS_KEY"]},
        "asks": [{"key": "env", "text": "see your variables AWS_KEY"}],
        "notes": ["cannot be mounted: $X:/x"],
    }
}


@pytest.mark.parametrize(("options", "name"), [([], "aws"), (["--name", "a"], "a")])
def test_a_package_file_becomes_a_tool(dx: Dx, daemon: State, options: list[str], name: str) -> None:
    """Of its name; what cannot be had is said."""
    (dx.root / "aws").write_text("image: whalebrew/aws\n")
    daemon.describe = [TOLD]
    done = dx("import", "aws", "--yes", *options)
    assert (done.status, done.err) == (0, "dx: cannot be mounted: $X:/x\n")
    assert daemon.tools == {name: {"name": name, **TOOL_DEFAULTS, "image": "whalebrew/aws", "env": ["AWS_KEY"]}}


def test_what_a_package_asks_for_is_no_without_a_terminal(dx: Dx, daemon: State) -> None:
    """One line after the notes."""
    (dx.root / "aws").write_text("image: whalebrew/aws\n")
    daemon.describe = [TOLD]
    done = dx("import", "aws")
    assert (done.status, daemon.tools) == (125, {})
    assert done.err.splitlines()[1] == "dx: the package asks to see your variables AWS_KEY; allow it with --yes"


@pytest.mark.parametrize("content", [None, b"\x7fELF\xff", b" " * (1 << 20) + b" "])
def test_what_is_no_package_file_never_reaches_the_daemon(dx: Dx, daemon: State, content: bytes | None) -> None:
    """It may be any program."""
    if content is not None:
        (dx.root / "aws").write_bytes(content)
    done = dx("import", "aws")
    assert (done.status, daemon.asked) == (125, [])
    assert done.err.count("\n") == 1
