import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.images.ignore import BadPattern, Ignore

FILES = [
    "!bang", "#hash", ".hidden", "Makefile", "README.md", "a.txt", "a[b]", "b.log", "back\\slash", "dir.d/z",
    "dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log",
    "docs/README.md", "docs/x.md", "foo/bar/baz", "foo/bar/qux",
    "foo/only", "keep.log", "node_modules/x/i.js", "sp ace", "src/main.c", "src/main.o", "src/node_modules/y.js",
    "src/t/main.o", "x?y",
]  # fmt: skip

# What Docker's own command line kept out of a context of these files (docker 28.2.2, engine 20.10.24, classic builder).
IGNORED: dict[str, list[str]] = {
    "*.log": ["b.log", "keep.log"],
    "**/*.log": ["b.log", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log", "keep.log"],
    "*.log\n!keep.log": ["b.log"],
    "**/*.log\n!**/keep.log": ["b.log", "dir/b.log", "dir/sub/c.log"],
    "dir": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "dir/": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "/dir": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "dir/*": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "dir/**": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "**/node_modules": ["node_modules/x/i.js", "src/node_modules/y.js"],
    "node_modules": ["node_modules/x/i.js"],
    "foo/bar\n!foo/bar/baz": ["foo/bar/qux"],
    "foo\n!foo/bar/baz": ["foo/bar/qux", "foo/only"],
    "*\n!src/*.c": [
        "!bang",
        "#hash",
        ".hidden",
        "Makefile",
        "README.md",
        "a.txt",
        "a[b]",
        "b.log",
        "back\\slash",
        "dir.d/z",
        "dir/a.txt",
        "dir/b.log",
        "dir/sub/c.log",
        "dir/sub/keep.log",
        "docs/README.md",
        "docs/x.md",
        "foo/bar/baz",
        "foo/bar/qux",
        "foo/only",
        "keep.log",
        "node_modules/x/i.js",
        "sp ace",
        "src/main.o",
        "src/node_modules/y.js",
        "src/t/main.o",
        "x?y",
    ],
    "*\n!src": [
        "!bang",
        "#hash",
        ".hidden",
        "Makefile",
        "README.md",
        "a.txt",
        "a[b]",
        "b.log",
        "back\\slash",
        "dir.d/z",
        "dir/a.txt",
        "dir/b.log",
        "dir/sub/c.log",
        "dir/sub/keep.log",
        "docs/README.md",
        "docs/x.md",
        "foo/bar/baz",
        "foo/bar/qux",
        "foo/only",
        "keep.log",
        "node_modules/x/i.js",
        "sp ace",
        "x?y",
    ],
    "**\n!src/main.c": [
        "!bang",
        "#hash",
        ".hidden",
        "Makefile",
        "README.md",
        "a.txt",
        "a[b]",
        "b.log",
        "back\\slash",
        "dir.d/z",
        "dir/a.txt",
        "dir/b.log",
        "dir/sub/c.log",
        "dir/sub/keep.log",
        "docs/README.md",
        "docs/x.md",
        "foo/bar/baz",
        "foo/bar/qux",
        "foo/only",
        "keep.log",
        "node_modules/x/i.js",
        "sp ace",
        "src/main.o",
        "src/node_modules/y.js",
        "src/t/main.o",
        "x?y",
    ],
    "*/*.o": ["src/main.o"],
    "**/*.o": ["src/main.o", "src/t/main.o"],
    "#hash": [],
    "\\#hash": ["#hash"],
    "!bang": [],
    "\\!bang": ["!bang"],
    "sp ace": ["sp ace"],
    "  a.txt  ": ["a.txt"],
    "a\\[b\\]": ["a[b]"],
    "a[[]b]": ["a[b]"],
    "x\\?y": ["x?y"],
    "x?y": ["x?y"],
    "?.txt": ["a.txt"],
    "[ab].*": ["a.txt", "b.log"],
    "[!a].*": ["a.txt"],
    "[^a].*": ["b.log"],
    ".*": [".hidden"],
    "./a.txt": ["a.txt"],
    "../a.txt": [],
    "/": [],
    ".": [],
    " ": [],
    "dir/../a.txt": ["a.txt"],
    "**/sub/**": ["dir/sub/c.log", "dir/sub/keep.log"],
    "**/sub": ["dir/sub/c.log", "dir/sub/keep.log"],
    "src/**/main.o": ["src/main.o", "src/t/main.o"],
    "docs/*.md\n!docs/README.md": ["docs/x.md"],
    "*.md\n!README*.md\nREADME-secret.md": [],
    "dir*": ["dir.d/z", "dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "di?": ["dir/a.txt", "dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "foo/*/baz": ["foo/bar/baz"],
    "**/ba*": ["back\\slash", "foo/bar/baz", "foo/bar/qux"],
    "a.txt\n!a.txt\na.txt": ["a.txt"],
    "!a.txt\na.txt": ["a.txt"],
    "*.tx[st]": ["a.txt"],
    "foo/bar/": ["foo/bar/baz", "foo/bar/qux"],
    "**/": FILES,
    "**/foo/**/baz": ["foo/bar/baz"],
    "dir/**/*.log\n!dir/sub": ["dir/b.log", "dir/sub/c.log", "dir/sub/keep.log"],
    "dir//a.txt": ["dir/a.txt"],
    "DIR": [],
    "\ufeffa.txt": ["a.txt"],
    "a.txt\r\nb.log": ["a.txt", "b.log"],
}

BAD = (
    "[", "a[", "[]", "[a", "[a-", "[-a]", "a\\", "[b-a]", "[^", "!", "[a-]", "[]a]", "\\", "x/[", "**/[", "!  ", "[a/b",
    "**[", "[[:x:]]", "[a-\\b].*", "obj\\Release", "\\1.txt", "[\\q].txt", "a*{2}", "a{2,1}*",
)  # fmt: skip
"""Patterns that it refuses."""


def ignored(ignore: Ignore) -> list[str]:
    found = []
    for file in FILES:
        verdict, parts = ignore.root, file.split("/")
        for depth in range(1, len(parts) + 1):
            verdict = ignore.judge("/".join(parts[:depth]), verdict)
        if verdict[0]:
            found.append(file)
    return found


@pytest.mark.parametrize("patterns", IGNORED)
def test_what_docker_ignores_isignored(patterns: str) -> None:
    assert ignored(Ignore(patterns.split("\n"))) == IGNORED[patterns]


@pytest.mark.parametrize("pattern", BAD)
def test_a_bad_pattern_is_named_with_its_line(pattern: str) -> None:
    with pytest.raises(BadPattern, match="line 3: not a pattern") as raised:
        Ignore(["# about", "good", pattern])
    assert raised.value.line == 3


@pytest.mark.parametrize(
    ("patterns", "directory", "may"),
    [
        ("x", "x", False),
        ("x\n!x/keep", "x", True),
        ("x\n!y/keep", "x", False),
        ("x\n!x/y/keep", "x/y", True),
        ("x\n!x/y/keep", "x/z", False),
        ("x\n!**/keep", "x/z", True),
        ("x\n!*/keep", "x", True),
        ("x\n!*/keep", "x/y", False),
        ("x\n!x", "x/y", False),
    ],
)
def test_a_directory_is_looked_into_only_where_something_may_come_back(
    patterns: str, directory: str, may: bool
) -> None:
    assert Ignore(patterns.split("\n")).may_include_below(directory) is may


def test_names_that_are_no_unicode_match_as_they_are() -> None:
    name = os.fsdecode(b"caf\xe9.log")
    assert Ignore(["*.log"]).judge(name, Ignore(["*.log"]).root)[0]
    assert Ignore([name]).judge(name, (False, (False,)))[0]
    assert Ignore(["caf?.log"]).judge(name, (False, (False,)))[0]


@given(st.text(alphabet="ab*?[]^!-\\/. \n#", max_size=20), st.text(alphabet="ab/-.[", min_size=1, max_size=8))
def test_any_text_is_patterns_or_a_bad_pattern(text: str, path: str) -> None:
    try:
        ignore = Ignore(text.split("\n"))
    except BadPattern:
        return
    ignore.judge(path, ignore.root)
    ignore.may_include_below(path)
