"""The tools in dx.toml, at hand."""

import os
import threading
from pathlib import Path

import pytest

from dxd.errors import BadDefinition, Conflict, Refused, UnknownTool
from dxd.tools.catalogue import Catalogue
from dxd.tools.parse import parse_tool

GOOD = "[tools.jq]\nimage = 'jq'\n[tools.gcc]\nimage = 'gcc'\ncommands = ['cc', 'c++']\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a dx.toml would be."""
    return tmp_path / "dx.toml"


def names(catalogue: Catalogue) -> list[str]:
    """Of all tools."""
    return [tool.name for tool in catalogue.all()]


def write(file: Path, text: str) -> None:
    """As an editor does it: a new file, moved into place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_tools_and_commands_are_found(file: Path) -> None:
    """In the order of the file."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    assert names(catalogue) == ["jq", "gcc"]
    assert catalogue.commands() == ("jq", "cc", "c++")
    assert catalogue.get("gcc") == catalogue.by_command("c++")
    assert catalogue.by_command("gcc") is None
    assert catalogue.problem is None


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "[tools]\n"])
def test_no_file_and_an_empty_one_have_no_tools(file: Path, content: str | None) -> None:
    """Which is no problem; the file is not made either."""
    if content is not None:
        file.write_text(content)
    catalogue = Catalogue(file)
    assert (catalogue.all(), catalogue.problem) == ((), None)
    assert file.exists() is (content is not None)


def test_an_unknown_tool_is_told_with_the_nearest(file: Path) -> None:
    """Commands are near as well."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    for asked, hint in (("jqq", "did you mean jq?"), ("c+", "did you mean c++ or cc?"), ("zzzz", "dx ls")):
        with pytest.raises(UnknownTool) as caught:
            catalogue.get(asked)
        assert caught.value.hint.startswith(hint)
    with pytest.raises(UnknownTool) as caught:
        catalogue.get("a\nb\x1b")
    assert caught.value.message.isprintable()


def test_an_edit_counts_at_the_next_look(file: Path) -> None:
    """Also one in place, of the same length, at the same moment."""
    catalogue = Catalogue(file)
    assert catalogue.all() == ()
    write(file, "[tools.aa]\nimage = 'x'\n")
    assert names(catalogue) == ["aa"]
    for name in ("bb", "cc", "dd"):
        with file.open("r+") as opened:
            opened.write(f"[tools.{name}]")
        assert names(catalogue) == [name]
    file.unlink()
    assert catalogue.all() == ()


def test_a_look_at_an_old_file_reads_nothing(file: Path) -> None:
    """One stat(2): a file that nobody may read any more is not missed."""
    file.write_text(GOOD)
    os.utime(file, (1, 1))
    catalogue = Catalogue(file)
    read = threading.Event()
    while not read.is_set():  # until the change of the times itself is old; the clock is the file system's
        tool = catalogue.get("jq")
        if catalogue.get("jq") is tool and not catalogue._fresh:
            read.set()
    assert catalogue.get("jq") is tool
    assert catalogue.by_command("jq") is tool


BREAKAGES = {
    "syntax": b"[tools.jq\n",
    "not UTF-8": b"[tools.jq]\nimage = '\xff'\n",
    "tools is no table": b"tools = 3\n",
    "nested without end": b"a = " + b"[" * 50_000,
}


@pytest.mark.parametrize("content", BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_file_keeps_what_was_good(file: Path, content: bytes) -> None:
    """The problem names the file; when it is mended, it is gone."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    assert names(catalogue) == ["jq", "gcc"]
    file.write_bytes(content)
    assert names(catalogue) == ["jq", "gcc"]
    assert catalogue.problem is not None
    assert catalogue.problem.startswith(f"{file}:")
    write(file, GOOD)
    assert catalogue.problem is None


@pytest.mark.parametrize("content", BREAKAGES.values(), ids=BREAKAGES)
def test_a_file_that_was_never_good_has_no_tools_and_says_why(file: Path, content: bytes) -> None:
    """Who asks for a tool is told as well."""
    file.write_bytes(content)
    catalogue = Catalogue(file)
    assert catalogue.all() == ()
    with pytest.raises(UnknownTool) as caught:
        catalogue.get("jq")
    assert str(file) in caught.value.hint


@pytest.mark.parametrize("kind", ["directory", "loop", "fifo", "no directory", "too large", "unreadable"])
def test_what_cannot_be_read_is_a_problem_and_no_crash(file: Path, kind: str) -> None:
    """And never a wait."""
    path = file
    if kind == "directory":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "no directory":
        file.write_text("")
        path = file / "dx.toml"
    elif kind == "too large":
        with file.open("wb") as opened:
            opened.truncate(1 << 30)
    else:
        file.symlink_to("/proc/1/mem")
    catalogue = Catalogue(path)
    assert catalogue.all() == ()
    assert catalogue.problem is not None
    assert "cannot be read" in catalogue.problem
    with pytest.raises(Refused):
        catalogue.put(parse_tool("jq", {"image": "jq"}, base=file.parent))


def test_one_broken_tool_keeps_its_last_definition_alone(file: Path) -> None:
    """The others change."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    assert names(catalogue) == ["jq", "gcc"]
    write(file, "[tools.jq]\nimage = 'new'\n[tools.gcc]\nimage = 3\n")
    assert catalogue.get("jq").image == "new"
    assert catalogue.get("gcc").image == "gcc"
    assert catalogue.by_command("cc") is not None
    assert catalogue.problem == f"{file}:4: tools.gcc.image: must be text"


def test_a_tool_that_never_was_right_says_what_is_wrong(file: Path) -> None:
    """Not that it is unknown."""
    file.write_text("[tools.jq]\nimage = 3\n[tools.yq]\nimage = 4\n")
    catalogue = Catalogue(file)
    with pytest.raises(BadDefinition, match=r"dx.toml:2: tools.jq.image: must be text"):
        catalogue.get("jq")
    assert catalogue.problem is not None
    assert catalogue.problem.endswith("(and 1 more)")


def test_an_unknown_key_of_the_file_is_a_problem(file: Path) -> None:
    """With the nearest known one; the tools work."""
    file.write_text(GOOD + "[tool.x]\n")
    catalogue = Catalogue(file)
    assert names(catalogue) == ["jq", "gcc"]
    assert catalogue.problem == f"{file}:6: tool: unknown key; did you mean tools?"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tools.a]\nimage='a'\ncommands=['x']\n[tools.b]\nimage='b'\ncommands=['x']\n", "b offers x, as tool a does"),
        ("[tools.a]\nimage='a'\ncommands=['x']\n[tools.x]\nimage='b'\n", "x offers x, as tool a does"),
        ("[tools.x]\nimage='b'\n[tools.a]\nimage='a'\ncommands=['x']\n", "a offers x, as tool x does"),
        (
            "[tools.x]\nimage='b'\ncommands=['y']\n[tools.a]\nimage='a'\ncommands=['x']\n",
            "a offers x, which is another tool's name",
        ),
        (
            "[tools.a]\nimage='a'\ncommands=['x']\n[tools.x]\nimage='b'\ncommands=['y']\n",
            "x is a command of tool a",
        ),
    ],
)
def test_two_tools_never_offer_the_same_command(file: Path, text: str, complaint: str) -> None:
    """The first of the file has it, the second is wrong."""
    file.write_text(text)
    catalogue = Catalogue(file)
    assert len(catalogue.all()) == 1
    assert catalogue.problem is not None
    assert complaint in catalogue.problem


def test_a_command_that_moved_goes_with_the_tool_that_is_right(file: Path) -> None:
    """The old definition of a broken tool gives way."""
    file.write_text("[tools.a]\nimage='a'\ncommands=['x']\n")
    catalogue = Catalogue(file)
    assert names(catalogue) == ["a"]
    write(file, "[tools.a]\nimage=3\n[tools.b]\nimage='b'\ncommands=['x']\n")
    assert names(catalogue) == ["b"]


def test_put_and_delete_change_the_file(file: Path) -> None:
    """And what is found, at once."""
    catalogue = Catalogue(file)
    tool = parse_tool("jq", {"image": "jq"}, base=file.parent)
    assert catalogue.put(tool) is True
    assert catalogue.get("jq") == tool
    assert file.read_text() == '[tools.jq]\nimage = "jq"\n'
    assert catalogue.put(parse_tool("jq", {"image": "jq:2"}, base=file.parent)) is False
    assert Catalogue(file).get("jq").image == "jq:2"
    catalogue.delete("jq")
    assert catalogue.all() == ()
    with pytest.raises(UnknownTool):
        catalogue.delete("jq")


def test_put_refuses_a_command_that_is_taken(file: Path) -> None:
    """The file stays as it is."""
    file.write_text(GOOD)
    with pytest.raises(Conflict, match="x offers cc, as tool gcc does"):
        Catalogue(file).put(parse_tool("x", {"image": "x", "commands": ["cc"]}, base=file.parent))
    assert file.read_text() == GOOD


def test_put_into_a_broken_file_says_what_is_wrong(file: Path) -> None:
    """It cannot be changed without knowing what it says."""
    file.write_text("[tools\n")
    with pytest.raises(BadDefinition, match=r"dx.toml:1: "):
        Catalogue(file).put(parse_tool("jq", {"image": "jq"}, base=file.parent))
    assert file.read_text() == "[tools\n"


def test_a_broken_tool_can_be_taken_out_and_replaced(file: Path) -> None:
    """While another one is broken too."""
    file.write_text("[tools.a]\nimage = 3\n[tools.b]\nimage = 4\n")
    catalogue = Catalogue(file)
    catalogue.put(parse_tool("a", {"image": "a"}, base=file.parent))
    assert names(catalogue) == ["a"]
    catalogue.delete("b")
    assert catalogue.problem is None


def test_changes_by_many_at_once_are_all_kept(file: Path) -> None:
    """Of other processes too, which know nothing of this catalogue's lock: each has one of its own."""
    gate = threading.Barrier(6)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        catalogue = Catalogue(file)
        gate.wait(10)
        try:
            for step in range(5):
                catalogue.put(parse_tool(f"t{number}-{step}", {"image": "x"}, base=file.parent))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(Catalogue(file).all()) == 30


def test_an_edit_between_reading_and_writing_is_not_lost(file: Path) -> None:
    """The change is made again, on top of it."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    attempts = []

    def change(document: object, reading: object) -> tuple[bytes, int]:
        attempts.append(file.read_bytes())
        if len(attempts) == 1:
            write(file, GOOD + "# said meanwhile\n")
        return attempts[-1] + b"# added\n", len(attempts)

    assert catalogue._edit(change) == 2
    assert file.read_text() == GOOD + "# said meanwhile\n# added\n"


def test_a_file_that_cannot_be_written_is_left(tmp_path: Path) -> None:
    """/proc stands in for a read-only disk: root may not write there either."""
    with pytest.raises(Refused, match="cannot be changed"):
        Catalogue(Path("/proc/dx/dx.toml")).put(parse_tool("jq", {"image": "jq"}, base=tmp_path))


def test_wrong_settings_are_a_problem_too(file: Path) -> None:
    """They are not the tools' business, but the file is where they are mended."""
    file.write_text("[daemon]\nmax_warm = 0\n" + GOOD)
    catalogue = Catalogue(file)
    assert names(catalogue) == ["jq", "gcc"]
    assert catalogue.problem == f"{file}:2: daemon.max_warm: must be from 1 to 10000"


def test_check_reads_without_taking_over(file: Path) -> None:
    """What an editor wants to know before it saves."""
    file.write_text(GOOD)
    catalogue = Catalogue(file)
    catalogue.check(b"[tools.x]\nimage = 'x'\n")
    assert names(catalogue) == ["jq", "gcc"]
    with pytest.raises(BadDefinition, match=r"dx.toml:2: tools.x.image: must be text \(and 1 more\)"):
        catalogue.check(b"[tools.x]\nimage = 3\n[tools.y]\nimage = 3\n")
    with pytest.raises(BadDefinition, match=r"dx.toml:1:"):
        catalogue.check(b"\xff")
