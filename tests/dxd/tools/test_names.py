"""Which texts may name something."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.errors import BadName
from dxd.tools.names import RESERVED, check_name, is_image, is_name


@pytest.mark.parametrize("name", ["jq", "g++", "7z", "python3.11", "A_b-c+d.e", "x" * 128, "..".join("ab")])
def test_names_of_real_commands_are_fine(name: str) -> None:
    """Whatever people call their programs."""
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-x",
        ".hidden",
        "a/b",
        "../x",
        "a b",
        "jq\n",
        "jq\0",
        "ä",
        "\uff11",
        "x" * 129,
        "a=b",
        "a:b",
        "~",
        "*",
    ],
)
def test_what_could_escape_or_confuse_is_no_name(name: str) -> None:
    """The message shows it without its control characters."""
    assert not is_name(name)
    with pytest.raises(BadName) as caught:
        check_name(name)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_programs_of_dx_are_not_hidden(name: str) -> None:
    """A shim `dx` would call itself."""
    assert not is_name(name)
    with pytest.raises(BadName, match="a program of dx"):
        check_name(name)


@given(st.text(max_size=10) | st.from_regex(re.compile(r"[A-Za-z0-9._+/-]*\n?"), fullmatch=True))
def test_a_name_is_one_plain_part_of_a_path(name: str) -> None:
    """Whatever passes cannot leave a directory, be an option, or be hidden."""
    if is_name(name):
        assert name.isascii()
        assert not set(name) & set("/\0\n \t'\"\\$`")
        assert name[0] not in "-."


@pytest.mark.parametrize(
    "text",
    [
        "jq",
        "jq:1.7",
        "team/jq",
        "registry.example/team/jq:v1",
        "localhost:5000/jq",
        "[::1]:5000/a/b",
        "jq@sha256:" + "0" * 64,
        "jq:1@sha256:" + "0" * 64,
        "sha256:" + "0" * 64,
        "0123456789ab",
        "a__b/c--d",
        "Host.Example/x",
    ],
)
def test_references_to_images(text: str) -> None:
    """Names, tags, digests and ids."""
    assert is_image(text)


@pytest.mark.parametrize("text", ["", "JQ", "-jq", "jq:", "jq ", "jq\n", "a//b", "a/", "/a", "a@b", "a___b", "x" * 600])
def test_what_refers_to_no_image(text: str) -> None:
    """The engine would answer with `invalid reference format`."""
    assert not is_image(text)


def test_long_texts_are_refused_at_once() -> None:
    """No text makes the patterns slow; this would take the test's whole deadline otherwise."""
    for text in ("a" * 500 + "!", "a-" * 250, "a." * 250 + "/", "a/" * 250, "0" * 100_000 + "@"):
        assert not is_image(text)
