"""Changes to a dx.toml that people write by hand."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.errors import Refused
from dxd.kit import toml
from dxd.tools.edit import delete_tool, put_tool
from dxd.tools.model import Build, Limits, Missing, Mount, Network, Tool, ToolName
from dxd.tools.parse import parse_tool

FILE = Path("/etc/dx/dx.toml")
TEXT = """\
# My tools.

[daemon]
idle_s = 60  # one minute

# About jq:
# it is fine.
[tools.jq]
image = "jq"  # the newest
# which variables
env = ["LC_*"]

# About gcc.

[tools.gcc]
image = "gcc"
network = "bridge"  # said for clarity
memory = "1024m"
commands = [
    "cc",  # C
    "c++", # C++
]
"""


def document(text: str) -> toml.Document:
    """The text as if it were in FILE."""
    return toml.parse(text.encode(), FILE)


def put(text: str, tool: Tool) -> str:
    """The text with the tool."""
    return put_tool(document(text), tool)[0].decode()


def delete(text: str, name: str) -> str:
    """The text without the tool."""
    return delete_tool(document(text), name).decode()


def tool(name: str, **table: object) -> Tool:
    """A tool as it would be read from FILE."""
    return parse_tool(name, table, base=FILE.parent)


def test_the_first_tool_of_an_empty_file() -> None:
    """The table has a header of its own."""
    assert put("", tool("jq", image="jq")) == '[tools.jq]\nimage = "jq"\n'


def test_a_new_tool_goes_to_the_end() -> None:
    """What was there stays as it was, to the byte."""
    new, is_new = put_tool(document(TEXT), tool("g++.x", image="gcc", build=None, memory="64m", cpus=1.5))
    assert is_new
    assert new.decode() == TEXT + '\n[tools."g++.x"]\nimage = "gcc"\nmemory = "64m"\ncpus = 1.5\n'


def test_a_build_is_written_on_one_line() -> None:
    """As people would write it."""
    new = put("", tool("x", build={"context": "/s", "target": "t", "args": {"A": "1"}}, mounts=["/a:/b:ro"]))
    assert new == ('[tools.x]\nbuild = {context = "/s", target = "t", args = {A = "1"}}\nmounts = ["/a:/b:ro"]\n')


def test_a_tool_is_changed_in_its_place() -> None:
    """Comments stay, values that mean the same stay, only what differs is written."""
    changed = tool("gcc", image="gcc:13", commands=["cc", "c++"], memory="1g", pids=10)
    new, is_new = put_tool(document(TEXT), changed)
    assert not is_new
    assert new.decode() == TEXT.replace('image = "gcc"', 'image = "gcc:13"') + "pids = 10\n"


def test_a_new_key_stands_before_the_comments_of_the_next_table() -> None:
    """They are not about it."""
    new = put(TEXT, tool("jq", image="jq", env=["LC_*"], network="none"))
    assert new == TEXT.replace('env = ["LC_*"]\n', 'env = ["LC_*"]\nnetwork = "none"\n')


def test_a_key_that_is_no_longer_there_goes() -> None:
    """A comment above it stays: words of people are not thrown away."""
    assert put(TEXT, tool("jq", image="jq")) == TEXT.replace('env = ["LC_*"]\n', "")


def test_an_image_becomes_a_build() -> None:
    """And the table remains where it is."""
    new = put(TEXT, tool("jq", build="/src", env=["LC_*"]))
    assert new == TEXT.replace('image = "jq"  # the newest\n', "").replace(
        'env = ["LC_*"]\n', 'env = ["LC_*"]\nbuild = {context = "/src"}\n'
    )


def test_a_tool_is_taken_out() -> None:
    """The comments around it stay, what was inside goes."""
    assert delete(TEXT, "gcc") == TEXT[: TEXT.index("\n[tools.gcc]")]
    assert delete(TEXT, "jq") == TEXT[: TEXT.index("[tools.jq]")] + TEXT[TEXT.index("\n# About gcc") :]


def test_the_last_tool_leaves_an_empty_file() -> None:
    """Which has no tools."""
    assert delete('[tools.jq]\nimage = "jq"\n', "jq") == ""


def test_a_wrong_tool_can_be_replaced_and_taken_out() -> None:
    """Also what is no table at all."""
    for text in ("[tools.jq]\nnonsense = 1\nimage = 3\n[tools.jq.build]\nx = 1\n", "[tools]\njq = 3\n"):
        assert tomllib.loads(put(text, tool("jq", image="jq"))) == {"tools": {"jq": {"image": "jq"}}}
        assert tomllib.loads(delete(text, "jq")) in ({}, {"tools": {}})


def test_lines_end_as_they_did() -> None:
    """An editor on another system wrote the file."""
    text = TEXT.replace("\n", "\r\n")
    assert put(text, tool("yq", image="yq")).startswith(text)
    assert delete(text, "gcc").replace("\r\n", "\n") == delete(TEXT, "gcc")
    assert tomllib.loads(put(text, tool("jq", image="other")))["tools"]["jq"] == {"image": "other"}


def test_a_line_separator_in_a_comment_is_no_line() -> None:
    """Python's splitlines would say it is."""
    text = "# a\u2028b\x0bc\u0085\n[tools.a]\nimage = 'a'\n[tools.b]\nimage = 'b'\n".replace("\x0b", "")
    assert delete(text, "a") == text.replace("[tools.a]\nimage = 'a'\n", "")


LAYOUTS = {
    "headers": "[tools.a]\nimage = 'a'\n[tools.b]\nimage = 'b'\n[tools.c]\nimage = 'c'\n",
    "one header": "[tools]\na = {image = 'a'} # x\nb = {image = 'b'}\nc.image = 'c'\n",
    "dotted": "tools.a.image = 'a'\ntools.b = {image = 'b'}\ntools.c.image = 'c'\n",
    "inline": "tools = {a = {image = 'a'}, b = {image = 'b'}, c = {image = 'c'}}\n",
    "out of order": "[tools.a]\nimage='a'\n[daemon]\nidle_s=3\n[tools.b]\nimage='b'\n[other]\n[tools.c]\nimage='c'\n",
    "split": "[tools.a.build]\ncontext='.'\n[tools.c]\nimage='c'\n[tools.b]\nimage='b'\n[tools.a]\npids=3\n",
    "sub-tables": "[tools.a]\n[tools.a.build]\ncontext = '.'\n[tools.a.build.args]\nA='1'\n[tools.b]\nimage='b'\n",
    "no newline at the end": "[tools.a]\nimage='a'\n[tools.b]\nimage='b'",
    "spaces": " [ tools . a ] \n\timage='a'\n  [tools.'b']\n  image='b'\n\n\n# end",
    "quoted": "['tools'.\"a\"]\nimage='a'\n[tools.b]\nimage='b'\n",
    "empty table": "[tools]\n[tools.a]\nimage='a'\n[tools.b]\nimage = 'b'",
    "header and inline": "[tools]\nb = {image='b'}\n\n[tools.a]\nimage='a'\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
def test_every_way_of_writing_tools_can_be_changed(text: str) -> None:
    """Added to, replaced in, taken from; the rest means the same after."""
    before: dict[str, Any] = tomllib.loads(text)
    others = {name: each for name, each in before["tools"].items() if name != "a"}
    wanted = tool("a", build={"context": "/x", "args": {"B": "2"}}, env=["X=1"])
    changed = tomllib.loads(put(text, wanted))
    assert parse_tool("a", changed["tools"].pop("a"), base=FILE.parent) == wanted
    assert changed == {**before, "tools": others}
    added = tomllib.loads(put(text, tool("new", image="new")))
    assert added == {**before, "tools": {**before["tools"], "new": {"image": "new"}}}
    left = tomllib.loads(delete(text, "a"))
    assert left.pop("tools") == others
    assert left == {key: each for key, each in before.items() if key != "tools"}


_name = st.sampled_from(["a", "b", "c.d", "e+f"])
_tool = st.builds(
    Tool,
    name=_name.map(ToolName),
    image=st.sampled_from(["jq", "gcc:13"]),
    env=st.sampled_from([(), ("A=1",), ("A=\"'\n#", "B*"), ("LONG=" + "x" * 100,)]),
    network=st.sampled_from(Network),
    mounts=st.sampled_from(
        [(), (Mount("/a:b", "/c", readonly=True), Mount("/d", "/d")), (Mount("/e", "/f", missing=Missing.SKIP),)]
    ),
    limits=st.builds(Limits, memory_bytes=st.sampled_from([None, 64 << 20]), cpus=st.sampled_from([None, 0.5])),
) | st.builds(
    Tool,
    name=_name.map(ToolName),
    build=st.builds(Build, st.just(Path("/s p/ä")), st.none(), st.none(), st.sampled_from([(), (("A", "1 '\""),)])),
    commands=st.sampled_from([(), ("cc", "c++")]),
    entrypoint=st.sampled_from([None, (), ("sh", "-c", "")]),
)


@given(st.sampled_from([*LAYOUTS.values(), "", TEXT]), st.lists(_tool | _name, max_size=6))
def test_many_changes_in_a_row_end_where_they_should(text: str, steps: list[Tool | str]) -> None:
    """Whatever the file looked like, after each step it holds what it should and nothing else changed."""
    for step in steps:
        before: dict[str, Any] = tomllib.loads(text)
        tools = before.get("tools", {})
        if isinstance(step, Tool):
            text = put(text, step)
            after: dict[str, Any] = tomllib.loads(text)
            assert parse_tool(step.name, after["tools"].pop(step.name), base=FILE.parent) == step
            tools.pop(step.name, None)
        elif step in tools:
            text = delete(text, step)
            after = tomllib.loads(text)
            del tools[step]
        else:
            continue
        assert after.get("tools", {}) == tools
        assert {**after, "tools": 0} == {**before, "tools": 0}


def test_where_no_way_leads_nothing_is_done() -> None:
    """The message says how to write it instead."""
    with pytest.raises(Refused, match="cannot be changed in the way this file is written"):
        put_tool(document("[[tools]]\nname = 'x'\n"), tool("jq", image="jq"))
