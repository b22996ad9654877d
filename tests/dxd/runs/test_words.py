"""Which paths an argument may name."""

import pytest

from dxd.runs.words import MAX_PATH, Form, candidates


def read(word: bytes) -> list[tuple[str, list[bytes]]]:
    """Each reading of an argument: its form and its paths."""
    return [(each.form.name.lower(), list(each.paths)) for each in candidates(word, b"/home/me")]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (b"", []),
        (b"-", [("whole", [b"-"])]),
        (b"/a/b", [("whole", [b"/a/b"])]),
        (b"a b\n\xff", [("whole", [b"a b\n\xff"])]),
        (b"--out=/a", [("whole", [b"--out=/a"]), ("part", [b"/a"])]),
        (b"--out=", [("whole", [b"--out="])]),
        (b"of=/a", [("whole", [b"of=/a"]), ("part", [b"/a"])]),
        (b"-o/a", [("whole", [b"-o/a"]), ("part", [b"/a"])]),
        (b"-o=/a", [("whole", [b"-o=/a"]), ("part", [b"/a"]), ("part", [b"=/a"])]),
        (b"-o", [("whole", [b"-o"])]),
        (b"@/a", [("whole", [b"@/a"]), ("part", [b"@/a"]), ("part", [b"/a"])]),
        (b"-d@a", [("whole", [b"-d@a"]), ("part", [b"@a"]), ("part", [b"a"])]),
        (b"f=@a", [("whole", [b"f=@a"]), ("part", [b"@a"]), ("part", [b"a"])]),
        (b"a:b", [("whole", [b"a:b"]), ("list", [b"a", b"b"])]),
        (b":/a::b:", [("whole", [b":/a::b:"]), ("list", [b"/a", b"b"])]),
        (b"p=/a:b", [("whole", [b"p=/a:b"]), ("list", [b"p=/a", b"b"]), ("part", [b"/a:b"]), ("list", [b"/a", b"b"])]),
        (b"http://a/b", [("whole", [b"http://a/b"])]),
        (b"::", [("whole", [b"::"])]),
        (b"~", [("whole", [b"/home/me"])]),
        (b"~/a", [("whole", [b"/home/me/a"])]),
        (b"~you/a", [("whole", [b"~you/a"])]),
        (b"--o=~/a", [("whole", [b"--o=~/a"]), ("part", [b"/home/me/a"])]),
        (b"~/a:~/b", [("whole", [b"/home/me/a:~/b"]), ("list", [b"/home/me/a", b"/home/me/b"])]),
        (b"x" * (MAX_PATH + 1), []),
    ],
)  # fmt: skip
def test_readings(word: bytes, expected: list[tuple[str, list[bytes]]]) -> None:
    """The whole first; then what stands after an option's letter, an `=` or an `@`; lists where there are colons."""
    assert read(word) == expected


def test_a_tilde_without_a_home() -> None:
    """Is a letter like any other."""
    assert [each.paths for each in candidates(b"~/a", b"")] == [(b"~/a",)]


def test_a_tilde_is_marked() -> None:
    """The tool would have to expand it."""
    assert [each.tilde for each in candidates(b"~/a", b"/h")] == [True]
    assert [each.tilde for each in candidates(b"/h/a", b"/h")] == [False]
    assert [each.form for each in candidates(b"~/a", b"/h")] == [Form.WHOLE]
