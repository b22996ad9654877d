"""What arguments name in the tests of paths: directories, files of many names, links to and fro."""

import os
from pathlib import Path
from typing import Any

from tests.contract.twin import Argument, Twin


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


def same(twin: Twin, place: bytes, *argv: Argument, **how: Any) -> bytes:
    """Do it both ways in `here`, `%` in an argument being the directory; what came out."""
    words = [os.fsencode(each).replace(b"%", place) for each in argv]
    return twin.same(words, place=place, prepare=tree, **{"cwd": place + b"/here"} | how).out
