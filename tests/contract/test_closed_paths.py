"""What arguments name and do not open, or not for writing."""

import os
import threading
from pathlib import Path

import pytest

from tests.contract.named import tree
from tests.contract.twin import Twin
from tests.house import STRANGER


@pytest.fixture
def foreign(place: bytes) -> Path:
    """Somebody else's directory, with a file that everybody may read and one that everybody may write."""
    directory = Path(os.fsdecode(place)) / "foreign"
    directory.mkdir(mode=0o755)
    for name, mode in (("read", 0o644), ("write", 0o666), ("closed", 0o600)):
        (directory / name).write_text(name)
        (directory / name).chmod(mode)
    return directory


def test_read_only_where_the_caller_cannot_write(twin: Twin, foreign: Path) -> None:
    """Files are so by the mount as well; in a directory each file's own mode holds. Root may write everywhere."""
    names = [str(foreign / name) for name in ("read", "write", "closed")]
    line = 'for each; do [ -r "$each" ] && grep " $each " /proc/self/mountinfo | cut -d" " -f6; done; echo "$2" >> "$2"'
    seen = twin.do(["sh", "-c", line, "sh", *names])
    flags = [set(each.split(b",")) & {b"ro", b"rw"} for each in seen.out.splitlines()]
    assert flags == ([{b"ro"}, {b"rw"}] if twin.person is STRANGER else [{b"rw"}] * 3)
    assert (foreign / "write").read_text() == f"write{foreign / 'write'}\n"
    for argv in (
        ["touch", str(foreign / "new")],
        ["sh", "-c", 'echo x > "$1/write"; cat "$1/write"; echo x > "$1/read"', "sh", str(foreign)],
        ["sh", "-c", 'cat "$1"; : >> "$1"', "sh", str(foreign / "read")],
    ):
        twin.same(argv)


@pytest.mark.parametrize("name", [b"", b"/", b"/.ssh", b"/.ssh/key", b"/.ssh/new", b"/.gnupg", b"/new", b"/new/"])
@pytest.mark.parametrize("form", [b"%s", b"--out=%s", b"-o%s", b"@%s"])
def test_what_no_argument_opens(twin: Twin, name: bytes, form: bytes) -> None:
    """The home as a whole, something new in it, and keys: told before anything starts."""
    home = twin.house.home
    (home / ".ssh").mkdir()
    (home / ".gnupg").mkdir()
    (home / ".ssh" / "key").write_text("secret")
    for each in (home / ".ssh", home / ".gnupg", home / ".ssh" / "key"):
        twin.house.own(each)
    word = form % (os.fsencode(home) + name)
    place = twin.house.place()
    try:
        outcome = twin.do(["sh", "-c", 'ls -A "$1" ~', "sh", word], place=place)
        if name in (b"", b"/") and form != b"%s":
            # It says where the home is, and there is one.
            assert b"key" not in outcome.out + outcome.err
        else:
            assert f"dx run --mount {home}" in twin.refused(outcome)
    finally:
        (home / ".ssh" / "key").unlink()
        (home / ".ssh").rmdir()
        (home / ".gnupg").rmdir()


def test_no_link_leads_to_what_is_closed(twin: Twin, place: bytes) -> None:
    """Neither one outside of the project nor one in it."""

    def prepare(top: bytes) -> None:
        tree(top)
        for name in (b"/links/home", b"/here/home"):
            os.symlink(twin.house.home, top + name)
        os.symlink(twin.house.runtime / "dxd.sock", top + b"/here/daemon")

    for word in (place + b"/links/home", b"./home", b"home/", place + b"/here/daemon", b"./daemon"):
        twin.refused(twin.do(["ls", word], place=place, prepare=prepare, cwd=place + b"/here"))


@pytest.mark.parametrize("word", ["dxd.sock", "a", "start.lock", "new"])
def test_our_own_sockets_are_closed(twin: Twin, word: str) -> None:
    """The daemon's and those of agents."""
    assert "never granted unasked" in twin.refused(twin.do(["ls", f"{twin.house.runtime}/{word}"]))


def test_a_link_that_is_put_there_meanwhile_opens_nothing(twin: Twin) -> None:
    """Between the daemon's look and the launcher's, a directory on the way becomes a link to the user's keys."""
    top = Path(os.fsdecode(twin.house.place()))
    keys = twin.house.home / ".ssh"
    for directory, content in ((top / "swapped", "fine"), (keys, "secret")):
        directory.mkdir()
        (directory / "file").write_text(content)
    for path in (top / "swapped", top / "swapped" / "file", keys, keys / "file"):
        twin.house.own(path)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (top / "swapped").rename(top / "aside")
            (top / "swapped").symlink_to(keys)
            (top / "swapped").unlink()
            (top / "aside").rename(top / "swapped")

    swapping = threading.Thread(target=swap)
    swapping.start()
    place = twin.house.place()
    try:
        seen = {twin.do(["cat", str(top / "swapped" / "file")], place=place).out for _ in range(30)}
    finally:
        done.set()
        swapping.join()
        (keys / "file").unlink()
        keys.rmdir()
    assert seen <= {b"fine", b""}
