"""TOML that knows where things stand."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.kit import toml
from dxd.kit.toml import BadToml, Spot

FILE = Path("/etc/dx.toml")
TEXT = '''# a comment with [brackets] = "and quotes
title = "x" # tail

[tools.jq]
image = "jq"  # "quoted
env = [
  "A=1", # first
  "B]=2",
  [ "nested",
    "x" ],
]
"odd key" = """
[not.a.header]
key = 'x' \\""" ""
"""
lit = \'\'\'
[nor.this]
\'\'\'
build = { context = ".", args = { A = "1",
 } }
dotted.key."and 'more'".x = 1.5

[ tools . "b c" ] # header
image = 'b'

[[list]]
a = 1
[[list]]
a = 2
'''.replace("\n } }", " } }").replace('"1", }', '"1" }')


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("title",), 2),
        (("tools",), 4),
        (("tools", "jq"), 4),
        (("tools", "jq", "image"), 5),
        (("tools", "jq", "env"), 6),
        (("tools", "jq", "env", 0), 7),
        (("tools", "jq", "env", 1), 8),
        (("tools", "jq", "env", 2, 1), 10),
        (("tools", "jq", "env", 7), 6),
        (("tools", "jq", "odd key"), 12),
        (("tools", "jq", "lit"), 16),
        (("tools", "jq", "build", "args", "A"), 19),
        (("tools", "jq", "dotted", "key", "and 'more'", "x"), 20),
        (("tools", "b c"), 22),
        (("tools", "b c", "image"), 23),
        (("tools", "b c", "missing"), 22),
        (("list", 1, "a"), 28),
        (("nothing",), 1),
    ],
)
def test_every_key_has_its_line(keys: toml.Keys, line: int) -> None:
    """Where a key is missing, the line is that of the table around it."""
    assert toml.parse(TEXT.encode(), FILE).line(keys) == line


def test_sections_end_with_their_last_pair() -> None:
    """Comments that follow belong to what comes next."""
    document = toml.parse(b"a = 1\n[x]\nb = [\n1,\n]\n\n# about y\n[y]\n# empty\n[z.w]\nc = 1", FILE)
    found = [(section.keys, section.first_line, section.last_line) for section in document.sections]
    assert found == [(("x",), 2, 5), (("y",), 8, 8), (("z", "w"), 10, 11)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[tools.jq]\nimage = \n", "/etc/dx.toml:2: in [tools.jq]: invalid value"),
        (b"a = 1\n\nimage\n", "/etc/dx.toml:3: expected '=' after a key in a key/value pair"),
        (b"[tools.jq", "/etc/dx.toml:1: expected ']' at the end of a table declaration"),
        (b'a = 1\nb = "\xff"\n', "/etc/dx.toml:2: not UTF-8"),
        (b"a = " + b"[" * 20_000, "/etc/dx.toml: nested too deeply"),
        (b"\xef\xbb\xbfa = 1", "/etc/dx.toml:1: invalid statement"),
        (b"a = 2026-02-31", "/etc/dx.toml:1: invalid date or datetime"),
    ],
)
def test_broken_text_is_told_with_its_line(content: bytes, message: str) -> None:
    """And with the table that the line is in."""
    with pytest.raises(BadToml) as caught:
        toml.parse(content, FILE)
    assert caught.value.message == message


def test_a_number_without_end_is_no_crash() -> None:
    """int() refuses numbers of more than 4,300 digits in its own way."""
    with pytest.raises(BadToml):
        toml.parse(b"a = " + b"9" * 5000, FILE)


def test_an_unknown_key_is_told_with_the_nearest_one() -> None:
    """File, line and key; without a document the key alone."""
    document = toml.parse(b"[tools.jq]\nimage='jq'\nnetwrk='none'\n", FILE)
    with pytest.raises(BadToml) as caught:
        toml.table({"netwrk": "none"}, ["image", "network"], Spot(document).at("tools", "jq"))
    assert caught.value.message == "/etc/dx.toml:3: tools.jq.netwrk: unknown key"
    assert caught.value.hint == "did you mean network?"
    with pytest.raises(BadToml, match=r"^zzz: unknown key$"):
        toml.table({"zzz": 1}, ["image"], Spot())


def test_a_name_from_outside_is_shown_safely() -> None:
    """No control character reaches a terminal, no message grows without end."""
    assert toml.quote('a\n\x1b[31m"\udcff') == '"a\\n\\x1b[31m\\x22\\udcff"'.replace("\\x22", '"')
    assert len(toml.quote("x" * 1000)) == 82


_keys = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=5)
_values = st.recursive(
    st.integers(-5, 5) | st.booleans() | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


def _write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(k)} = {_write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",  # ]} \n".join(_write(each) for each in value) + "\n]"
    if isinstance(value, bool):
        return str(value).lower()
    return _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    return '"' + "".join(c if c.isalnum() or c in " #[]{}.,='" else f"\\U{ord(c):08x}" for c in text) + '"'


def _ways(value: object, keys: toml.Keys) -> list[toml.Keys]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [keys, *(way for key, each in inner for way in _ways(each, (*keys, key)))]


@given(st.dictionaries(_keys, _values, max_size=4))
def test_no_key_of_a_valid_document_is_missed(data: dict[str, object]) -> None:
    """Whatever stands in strings and comments, the lines rise and every value has one."""
    text = "".join(f"{_string(key)} = {_write(value)}\n" for key, value in data.items())
    assert tomllib.loads(text) == data
    document = toml.parse(text.encode(), FILE)
    lines = [document.line(way) for key, value in data.items() for way in _ways(value, (key,))]
    assert lines == sorted(lines)
    starts = [document.line((key,)) for key in data]
    assert len(set(starts)) == len(data)
