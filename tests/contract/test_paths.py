"""What arguments name: there in the run, under the same name, wherever it is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.named import same, tree
from tests.contract.twin import Argument, Twin
from tests.house import House, docker

EACH = 'for each; do cat "$each"; echo " $?"; done'


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
