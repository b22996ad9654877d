"""What arguments name: there in the run, under the same name, wherever it is."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.twin import Argument, Twin
from tests.house import STRANGER, House, docker

EACH = 'for each; do cat "$each"; echo " $?"; done'


def tree(place: bytes) -> None:
    """`here`, where commands begin, and `there`, with files of many names, and links to and fro."""
    top = Path(os.fsdecode(place))
    (top / "here" / "in").mkdir(parents=True)
    (top / "here" / "file").write_text("a file here\n")
    deep = top / "there" / "deep" / "down"
    deep.mkdir(parents=True)
    (deep / "file").write_text("a deep file\n")
    for name in ("file", "a file", "a\nfile", "-file", "~", "a:b", "k=v", "é", "'\"$x`*", ".hidden", "x" * 255):
        (top / "there" / name).write_text(f"{name} there\n")
    with open(place + b"/there/\xff\xfe", "wb") as file:
        file.write(b"no text\n")
    links = top / "links"
    links.mkdir()
    (links / "file").symlink_to(top / "there" / "file")
    (links / "relative").symlink_to("../there/file")
    (links / "directory").symlink_to(top / "there")
    (links / "chain").symlink_to("directory/deep/down/file")
    (links / "new").symlink_to(top / "there" / "new")
    (top / "there" / "deep" / "up").symlink_to("..")
    (top / "here" / "out").symlink_to("../there/file")
    (top / "here" / "aside").symlink_to(top / "there")
    (top / "here" / "tothelinks").symlink_to("../links/chain")


@pytest.fixture
def place(twin: Twin) -> bytes:
    """A directory for `tree`, below which no marker makes a project."""
    return twin.house.place("top")


def same(twin: Twin, place: bytes, *argv: Argument, **how: Any) -> bytes:
    """Do it both ways in `here`, `%` in an argument being the directory; what came out."""
    words = [os.fsencode(each).replace(b"%", place) for each in argv]
    return twin.same(words, place=place, prepare=tree, **{"cwd": place + b"/here"} | how).out


def cases(*lines: tuple[Argument, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test for each line of words."""
    return pytest.mark.parametrize("argv", [pytest.param(line, id=repr(line)[1:-1]) for line in lines])


@cases(
    ("%/there/file",),
    ("../there/file",),
    ("./../there/./file",),
    ("in/../../there/file",),
    ("%//there///file",),
    ("%/there/a file",),
    ("%/there/a\nfile",),
    ("%/there/-file",),
    ("%/there/~",),
    ("%/there/a:b",),
    ("%/there/k=v",),
    ("%/there/é",),
    ("%/there/'\"$x`*",),
    ("%/there/.hidden",),
    ("%/there/" + "x" * 255,),
    (b"%/there/\xff\xfe",),
    (b"../there/\xff\xfe",),
    ("../there/file", "%/there/a file", "file", "../there/file"),
    ("%/there/deep/down/file", "%/there/file"),
    ("%/there/deep/../file",),
    ("%/there/deep/down/../../file",),
    ("../there/deep/../../there/file",),
    ("%/there/nothing/file",),
    ("%/there/file/",),
    ("%/there/file/x",),
)
def test_a_file(twin: Twin, place: bytes, argv: tuple[Argument, ...]) -> None:
    """By any name for it, with any bytes in that."""
    same(twin, place, "cat", *argv)


@cases(
    ("%/links/file",),
    ("%/links/relative",),
    ("../links/relative",),
    ("%/links/directory/file",),
    ("%/links/directory/deep/down/file",),
    ("%/links/chain",),
    ("%/links/file", "%/links/chain", "%/there/file", "%/links/directory/a file"),
    ("%/links/directory/deep/up/file",),
    ("%/links/directory/../there/file",),
    ("%/links/directory/deep/../deep/down/file",),
    ("out",),
    ("aside/file",),
    ("./out", "aside/deep/down/file"),
    ("tothelinks",),
    ("aside/deep/up/deep/up/file",),
)
def test_a_link(twin: Twin, place: bytes, argv: tuple[Argument, ...]) -> None:
    """The link's own name works in the run, and so does where it leads."""
    same(twin, place, "cat", *argv)
    same(twin, place, "sh", "-c", 'for each; do cat "$(readlink -f "$each")"; readlink "$each"; done', "sh", *argv)


@cases(
    ("ls", "-A", "%/there"),
    ("ls", "-A", "../there/"),
    ("ls", "-A", "%/links/directory/"),
    ("ls", "-A", "aside/"),
    ("ls", "-A", ".."),
    ("ls", "-A", "../..//top"),
    ("find", "%/there", "-type", "f"),
    ("sh", "-c", 'cd "$1"; pwd; ls', "sh", "%/there/deep"),
    ("sh", "-c", 'mkdir "$1/made"; echo x > "$1/made/x"; mv "$1/file" "$1/moved"; rm "$1/a file"', "sh", "%/there"),
    ("cp", "-r", "%/there/deep", "in"),
    ("cp", "-r", "in", "%/there/deep"),
    ("sh", "-c", 'sed -i s/deep/flat/ "$1/down/file"', "sh", "%/there/deep"),
    ("sh", "-c", 'tar -c -C "$1" deep | tar -t', "sh", "%/there"),
)
def test_a_directory(twin: Twin, place: bytes, argv: tuple[Argument, ...]) -> None:
    """With all that is in it, to be read and changed."""
    same(twin, place, *argv)


@cases(
    ("cp", "file", "%/there/new"),
    ("cp", "file", "../there/new"),
    ("cp", "file", "%/there/deep/down/a new\none"),
    ("cp", "file", "%/links/directory/new"),
    ("sh", "-c", 'echo x > "$1"', "sh", "%/links/new"),
    ("mkdir", "%/there/new"),
    ("mkdir", "%/there/new/"),
    ("touch", "%/there/a", "%/there/b", "%/there/file"),
    ("mv", "file", "%/there/new"),
    ("ln", "-s", "file", "%/there/new"),
    ("rm", "-f", "%/there/new"),
    ("ls", "%/there/new"),
    ("cp", "file", "%/there/new/one"),
    ("sort", "-o", "%/there/sorted", "%/there/file"),
)
def test_something_new(twin: Twin, place: bytes, argv: tuple[Argument, ...]) -> None:
    """In a directory that exists, it is made there."""
    same(twin, place, *argv)


@cases(
    ("dd", "if=%/there/file", "of=%/there/deep/new"),
    ("dd", "if=../there/file", "of=../there/new"),
    ("grep", "-f%/there/file", "%/there/file"),
    ("sort", "-o%/there/sorted", "file"),
    ("sort", "-o../there/sorted", "file"),
    ("sh", "-c", 'tar "$@" && tar -tf "${1#-cf}"; rm "${1#-cf}"', "sh", "-cf%/there/new.tar", "-C%/there", "file"),
    ("grep", "-c", "--file=%/there/file", "%/there/file"),
    ("sh", "-c", 'cat "${1#--in=}" "${2#@}" "${3#-f@}" "${4#k=@}"', "sh",
     "--in=%/there/file", "@%/there/a file", "-f@%/there/~", "k=@%/there/.hidden"),
    ("sh", "-c", 'IFS=:; for each in ${1#*=}; do cat "$each"; done', "sh", "%/there/file:../there/a file:file"),
    ("sh", "-c", 'IFS=:; for each in ${1#*=}; do cat "$each"; done', "sh", "--all=%/there/file::%/links/chain"),
    ("sh", "-c", 'IFS=:; for each in ${1#*=}; do ls "$each"; done', "sh", "-I%/there/deep:%/there/deep/down"),
)  # fmt: skip
def test_a_part_of_an_argument(twin: Twin, place: bytes, argv: tuple[Argument, ...]) -> None:
    """`--opt=PATH`, `key=PATH`, `-oPATH`, `@PATH`, and lists of paths."""
    same(twin, place, *argv)


@pytest.mark.parametrize("name", ["f", "a b", "~"])
def test_the_home_by_its_sign(twin: Twin, name: str) -> None:
    """A file in the home directory is not the home; a `~` that no shell has expanded counts too."""
    file = twin.house.home / name
    file.write_text("mine\n")
    twin.house.own(file)
    try:
        for word in (f"~/{name}", f"--in=~/{name}", f"{twin.house.home}/{name}"):
            seen = twin.same(["sh", "-c", 'cat ~/"${1##*/}"', "sh", word])
            assert seen.out == b"mine\n"
    finally:
        file.unlink()


@pytest.mark.parametrize("inner", ["", "/deep", "/deep/down"])
def test_a_directory_entered_through_a_link(twin: Twin, place: bytes, inner: str) -> None:
    """Keeps the name by which it was entered, and the other one."""
    line = 'pwd; pwd -P; readlink -f /proc/self/cwd; ls; cd ..; pwd; cd "$OLDPWD"; pwd; ls; echo x > made'
    out = same(twin, place, "sh", "-c", line, script=f'cd -L ../links/directory{inner} && exec "$@"')
    assert out.startswith(place + b"/links/directory" + os.fsencode(inner) + b"\n" + place + b"/there")


def test_a_name_that_is_not_the_current_directorys(twin: Twin, place: bytes) -> None:
    """A variable PWD that is wrong is nothing to go by."""
    for wrong in ("%/links/directory", "/", "relative", "%/here/../here", "%/nothing"):
        value = os.fsencode(wrong).replace(b"%", place)
        environ = {"PWD": os.fsdecode(value)}
        outcome = twin.do(["env"], place=place, prepare=tree, cwd=place + b"/here", environ=environ)
        assert b"PWD=%s/here" % place in outcome.out.splitlines()


def test_nothing_more_than_what_is_named(twin: Twin, place: bytes) -> None:
    """A file is granted without its neighbours."""
    how: dict[str, Any] = {"place": place, "prepare": tree, "cwd": place + b"/here"}
    words: list[Argument] = ["sh", "-c", 'ls -A "${1%/*}"', "sh", place + b"/there/file"]
    assert twin.do(words, **how).out == b"file\n"
    assert twin.do([*words[:-1], place + b"/links/directory/file"], **how).out == b"file\n"
    assert twin.do([*words[:-1], place + b"/there/nothing/at/all"], **how).out == b""


def test_grants_of_arguments_are_as_harmless_as_others(twin: Twin, place: bytes) -> None:
    """Neither setuid nor devices."""
    out = twin.do(
        ["sh", "-c", 'for each; do grep " $each " /proc/self/mountinfo; done', "sh", place + b"/there/file",
         place + b"/there/deep"],
        place=place, prepare=tree, cwd=place + b"/here",
    ).out  # fmt: skip
    options = [set(line.split()[5].split(b",")) for line in out.splitlines()]
    assert len(options) == 2
    assert all({b"nosuid", b"nodev", b"rw"} <= each for each in options)


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


@pytest.mark.parametrize(
    "word", ["/", "/etc", "/etc/passwd", "/proc/self/status", "/sys", "/dev/null", "/bin/ls", "/new"]
)
def test_the_images_own_names(twin: Twin, word: str) -> None:
    """Mean what the image has."""
    outcome = twin.do(["ls", "-d", word])
    assert outcome.status == (word == "/new")
    assert b" /etc " not in twin.do(["cat", "/proc/self/mountinfo", word]).out


def test_a_file_that_only_the_image_has(home: House, image: str) -> None:
    """Is not taken for something new in the host's directory of that name."""
    directory, elsewhere = Path(os.fsdecode(home.place("shared"))), home.place()
    name = f"dx-test-{os.path.basename(home.root)}"
    built = f"{name}:latest"
    file = f"FROM {image}\nRUN mkdir -p {directory} && echo image > {directory}/given\n"
    docker("build", "--quiet", "--tag", built, "-", stdin=file.encode())
    try:
        (directory / "host").touch()
        done = home.run([built, "cat", directory / "given"], cwd=elsewhere)
        assert (done.stdout, done.stderr) == (b"image\n", b"")
        done = home.run([built, "touch", directory / "new"], cwd=elsewhere)
        assert done.returncode == 125
        assert b"the image has files of its own" in done.stderr
        assert home.run([built, "ls", directory], cwd=elsewhere).stdout == b"host\n"
    finally:
        home.dx(["stop", "--all"])
        docker("image", "rm", "--force", built)


def test_more_than_can_be_granted(twin: Twin, place: bytes) -> None:
    """A clear word; their directory is one grant."""

    def prepare(top: bytes) -> None:
        (there := Path(os.fsdecode(top)) / "many").mkdir()
        (there.parent / "here").mkdir()
        for n in range(129):
            (there / f"{n}").write_text(f"{n}\n")

    words = [place + b"/many/%d" % n for n in range(129)]
    how: dict[str, Any] = {"place": place, "prepare": prepare, "cwd": place + b"/here"}
    assert "128" in twin.refused(twin.do(["cat", *words], **how))
    twin.same(["cat", *words[:127]], **how)
    twin.same(["cat", *words, place + b"/many"], **how)


def test_a_pipe_with_a_name(twin: Twin, place: bytes) -> None:
    """What is no file is granted like one."""

    def prepare(top: bytes) -> None:
        tree(top)
        os.mkfifo(top + b"/there/fifo")

    how: dict[str, Any] = {"place": place, "prepare": prepare, "cwd": place + b"/here"}
    line = 'test -p "$1" && { echo hello > "$1" & cat "$1"; }'
    assert twin.same(["sh", "-c", line, "sh", place + b"/there/fifo"], **how).out == b"hello\n"


@pytest.mark.parametrize(("paths", "seen"), [("auto", "here there"), ("project", "here"), ("none", "")])
def test_a_tool_may_see_less(home: House, image: str, paths: str, seen: str) -> None:
    """`project` is only the project around the current directory; `none` is nothing, and a run begins at home."""
    top = Path(os.fsdecode(home.place()))
    for name in ("here", "there"):
        (top / name).write_text(name)
        (top / f"in-{name}").mkdir()
    before = home.file.read_text()
    home.define(f"{before}[tools.modest]\nimage = '{image}'\nentrypoint = ['sh', '-c']\npaths = '{paths}'\n")
    try:
        line = 'pwd; for each; do [ -d "$each" ] && echo "${each##*/in-}"; done'
        done = home.run(
            ["modest", line, "sh", top / "in-here", top / "in-there", f"{home.home}/new" if paths != "auto" else "x"],
            cwd=top / "in-here",
        )
        assert done.stderr == b""
        place = home.home if paths == "none" else top / "in-here"
        assert done.stdout.decode().split() == [str(place), *seen.split()]
    finally:
        home.define(before)


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
