"""dx edit."""

import json
import os
import stat
import sys
from pathlib import Path

from tests.dx.installed import Dx
from tests.fakes.daemon import State

GOOD = "# mine\n[tools.jq]\nimage = 'jq'\n"


def editor(dx: Dx, *texts: str) -> str:
    """An editor that writes these, one each time it is opened; "" leaves the text as it is."""
    (dx.root / "texts").write_text(json.dumps(texts))
    (dx.root / "seen").mkdir()
    dx.script(
        "my-editor",
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"root = {str(dx.root)!r}\n"
        "texts = json.load(open(root + '/texts'))\n"
        "count = len(os.listdir(root + '/seen'))\n"
        "assert sys.argv[1:-1] == ['--wait'], sys.argv\n"
        "open(f'{root}/seen/{count}', 'w').write(open(sys.argv[-1]).read())\n"
        "if texts[count]: open(sys.argv[-1], 'w').write(texts[count])\n",
    )
    return "my-editor --wait"


def seen(dx: Dx) -> list[str]:
    """What the editor was shown, each time."""
    return [path.read_text() for path in sorted((dx.root / "seen").iterdir())]


def left_copies(dx: Dx) -> list[Path]:
    """Copies that were kept for the user."""
    return list((dx.root / "tmp").glob("dx-edit-*/dx.toml"))


def test_what_is_right_takes_the_place(dx: Dx, daemon: State) -> None:
    """With the mode that the file had; the shims follow; no copy is left."""
    (dx.root / "tmp").mkdir()
    dx.file.write_text(GOOD)
    dx.file.chmod(0o640)
    done = dx("edit", EDITOR=editor(dx, "[tools.yq]\n"), TMPDIR=str(dx.root / "tmp"))
    assert done.status == 0, done.err
    assert seen(dx) == [GOOD]
    assert dx.file.read_text() == "[tools.yq]\n"
    assert stat.S_IMODE(dx.file.stat().st_mode) == 0o640
    assert daemon.asked == ["POST /v1/check", "POST /v1/shims"]
    assert os.listdir(dx.root / "config") == ["dx.toml"]
    assert os.listdir(dx.root / "tmp") == []


def test_a_new_file_begins_with_an_example(dx: Dx, daemon: State) -> None:
    """And is private, as it may hold secrets."""
    done = dx("edit", VISUAL=editor(dx, "[tools.x]\n"), EDITOR="false")
    assert done.status == 0, done.err
    assert seen(dx)[0].startswith("# The tools of dx.")
    assert stat.S_IMODE(dx.file.stat().st_mode) == 0o600


def test_nothing_changed_is_nothing_done(dx: Dx, daemon: State) -> None:
    """No file is made either."""
    done = dx("edit", EDITOR=editor(dx, ""))
    assert done.status == 0
    assert "as it was" in done.err
    assert not dx.file.exists()
    assert daemon.asked == ["POST /v1/shims"]


def test_a_symlink_stays_one(dx: Dx, daemon: State) -> None:
    """A dx.toml kept elsewhere."""
    (dx.root / "dots").mkdir()
    (dx.root / "dots" / "tools.toml").write_text(GOOD)
    dx.file.symlink_to(dx.root / "dots" / "tools.toml")
    assert dx("edit", EDITOR=editor(dx, "[tools.x]\n")).status == 0
    assert dx.file.is_symlink()
    assert dx.file.read_text() == "[tools.x]\n"


def test_what_is_wrong_stays_out_and_is_kept(dx: Dx, daemon: State) -> None:
    """Without a terminal there is no second try."""
    (dx.root / "tmp").mkdir()
    dx.file.write_text(GOOD)
    done = dx("edit", EDITOR=editor(dx, "bad = 1\n"), TMPDIR=str(dx.root / "tmp"))
    assert done.status == 125
    assert "dx: /dx.toml:1: bad: unknown key; did you mean good?" in done.err
    assert dx.file.read_text() == GOOD
    (copy,) = left_copies(dx)
    assert copy.read_text() == "bad = 1\n"
    assert str(copy) in done.err
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_on_a_terminal_it_is_edited_again(dx: Dx, daemon: State) -> None:
    """Going on from what was written."""
    dx.file.write_text(GOOD)
    done = dx.on_terminal("edit", answer="y\n", EDITOR=editor(dx, "bad = 1\n", "[tools.x]\n"))
    assert done.status == 0, done.out
    assert "Edit it again?" in done.out
    assert seen(dx) == [GOOD, "bad = 1\n"]
    assert dx.file.read_text() == "[tools.x]\n"


def test_a_change_by_somebody_else_is_not_lost(dx: Dx, daemon: State) -> None:
    """Theirs is in place, ours in the copy."""
    (dx.root / "tmp").mkdir()
    dx.file.write_text(GOOD)
    dx.script("slow", f"#!/bin/sh\necho '# theirs' >> {dx.file}\necho '# ours' >> $1\n")
    done = dx("edit", EDITOR="slow", TMPDIR=str(dx.root / "tmp"))
    assert done.status == 125
    assert "changed by somebody else" in done.err
    assert dx.file.read_text() == GOOD + "# theirs\n"
    assert left_copies(dx)[0].read_text() == GOOD + "# ours\n"


def test_an_editor_that_fails_changes_nothing(dx: Dx, daemon: State) -> None:
    """As vim's :cq."""
    dx.file.write_text(GOOD)
    done = dx("edit", EDITOR="sh -c 'echo x > $1; exit 3' sh")
    assert done.status == 125
    assert "status 3" in done.err
    assert dx.file.read_text() == GOOD


def test_bytes_that_are_no_text_stay_out(dx: Dx, daemon: State) -> None:
    """TOML is UTF-8."""
    dx.file.write_text(GOOD)
    done = dx("edit", EDITOR="printf '\\377' > ")
    assert done.status == 125
    assert "not UTF-8" in done.err
    assert dx.file.read_text() == GOOD


def test_without_a_daemon_the_syntax_is_checked(dx: Dx) -> None:
    """A wrong setting can keep the daemon from starting, and this is how to mend it."""
    dx.file.write_text("[daemon]\nmax_warm = 'x'\n")
    (dx.root / "tmp").mkdir()
    environ = {"FAKE_START_FAILS": "no such luck", "TMPDIR": str(dx.root / "tmp")}
    done = dx("edit", EDITOR=editor(dx, "[broken\n", "[daemon]\n"), **environ)
    assert done.status == 125
    assert "only the syntax is checked" in done.err
    assert "line 1" in done.err
    done = dx("edit", EDITOR="my-editor --wait", **environ)
    assert dx.file.read_text() == "[daemon]\n"
    assert done.err.rstrip().splitlines()[-1] == "dx: no such luck; see: dx daemon logs"


def test_without_a_terminal_and_an_editor_it_says_so(dx: Dx) -> None:
    """Instead of waiting for an editor that nobody sees."""
    done = dx("edit")
    assert done.status == 125
    assert str(dx.file) in done.err
    assert dx("edit", "--path").out == f"{dx.file}\n"
