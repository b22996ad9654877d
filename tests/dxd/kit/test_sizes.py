"""Sizes as Docker writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.kit.sizes import MAX_BYTES, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10b", 10),
        ("1k", 1024),
        ("512m", 512 << 20),
        ("2G", 2 << 30),
        ("1.5g", 3 << 29),
        ("1 GiB", 1 << 30),
        ("64MB", 64 << 20),
        (" 3t ", 3 << 40),
        (str(MAX_BYTES), MAX_BYTES),
    ],
)
def test_a_size_is_read_as_docker_reads_it(text: str, size: int) -> None:
    """go-units, RAMInBytes: 1024 is the factor, `i` and `b` may follow."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "1,5g", "1e9", "inf", "٣m", "9999999p", "1m\n2", ".5g"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Also what the engine could not carry."""
    with pytest.raises(ValueError, match=r"size|large"):
        parse_size(text)


@given(st.integers(0, MAX_BYTES))
def test_a_size_written_is_read_again(size: int) -> None:
    """No byte is lost."""
    assert parse_size(format_size(size)) == size


def test_a_size_is_written_in_its_largest_unit() -> None:
    """As short as it can be exactly."""
    sizes = (0, 1000, 1536 << 10, 512 << 20, 1 << 30)
    assert [format_size(each) for each in sizes] == [
        "0b",
        "1000b",
        "1536k",
        "512m",
        "1g",
    ]
