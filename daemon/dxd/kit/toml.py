"""TOML with places: every complaint names file, line and key.

tomllib knows lines for syntax errors only. For a value that is well-formed but wrong, `Document.line` finds the
line by a second, shallow reading of the text; that happens only when there is something to complain about.
"""

import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dxd.kit.nearest import did_you_mean

Keys = tuple[str | int, ...]
"""The way to a value: keys of tables and indexes of arrays."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PIECE = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
      | (?P<mark>[\[\]{},=.])
      | (?P<word>[^\s\[\]{},=.\#"']+)""",
    re.DOTALL | re.VERBOSE,
)


class BadToml(ValueError):
    """The text is no TOML, or a value in it is not what was wanted: `message` says where and why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Document:
    """The content of one file, read."""

    def __init__(self, file: Path, text: str, data: dict[str, object]) -> None:
        self.file = file
        self.text = text
        self.data = data

    def line(self, keys: Keys) -> int:
        """The line, from 1, where that value or the innermost one around it begins."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    @cached_property
    def sections(self) -> list["Section"]:
        """The tables that have a header of their own, in the order of the text."""
        return _walk(self.text).sections

    @cached_property
    def _lines(self) -> dict[Keys, int]:
        return _walk(self.text).lines


@dataclass(slots=True)
class Section:
    """A header and the pairs below it; comments after the last pair are not counted in."""

    keys: Keys
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a document, or in a body that came over the API, where there are no lines."""

    document: Document | None = None
    keys: Keys = ()

    def at(self, *keys: str | int) -> "Spot":
        """A place further in."""
        return Spot(self.document, (*self.keys, *keys))

    def bad(self, complaint: str, hint: str = "") -> BadToml:
        """The error to raise about what stands here."""
        return BadToml(f"{self}: {complaint}" if str(self) else complaint, hint)

    def __str__(self) -> str:
        parts = [f"[{key}]" if isinstance(key, int) else f".{_key(key)}" for key in self.keys]
        name = "".join(parts).removeprefix(".")
        if self.document is None:
            return name
        line = f"{self.document.file}:{self.document.line(self.keys)}"
        return f"{line}: {name}" if name else line


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else quote(key)


def quote(text: str) -> str:
    """A text that somebody else chose, fit for a message: quoted, control characters escaped, not too long."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else ascii(c)[1:-1] for c in shown) + '"'


def parse(content: bytes, file: Path) -> Document:
    """Read the content of `file`; raises `BadToml`."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadToml(f"{file}:{line}: not UTF-8", "save the file as UTF-8") from None
    try:
        return Document(file, text, tomllib.loads(text))
    except RecursionError:
        raise BadToml(f"{file}: nested too deeply") from None
    except ValueError as error:  # tomllib.TOMLDecodeError, or int() about a number of thousands of digits
        raise BadToml(_locate(str(error), text, file)) from None


def table(value: object, known: Collection[str], spot: Spot) -> dict[str, object]:
    """`value` as a table that has no keys but the known ones; raises `BadToml`. None counts as not there."""
    if not isinstance(value, dict):
        raise spot.bad("must be a table")
    for key in value:
        if key not in known:
            raise spot.at(key).bad("unknown key", did_you_mean(key, known) or f"known keys: {', '.join(known)}")
    return {key: each for key, each in value.items() if each is not None}


def _locate(reason: str, text: str, file: Path) -> str:
    """A message of tomllib with the place in front, and the table that the place is in."""
    match = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", reason)
    line = int(match[1]) if match and match[1] else text.rstrip("\n").count("\n") + 1 if match else 1
    reason = reason[: match.start()] if match else reason
    headers = re.findall(r"^[ \t]*(\[.*\])", "\n".join(text.split("\n")[:line]), re.MULTILINE)
    inside = f"in {' '.join(headers[-1].split())}: " if headers else ""
    return f"{file}:{line}: {inside}{reason[:1].lower()}{reason[1:]}"


@dataclass(slots=True)
class _Walk:
    """Goes over the pieces of a valid document and notes the line where each key first stands."""

    pieces: Iterator[re.Match[str]]
    line: int = 1
    """Where the current piece begins."""
    last_line: int = 1
    """Where the piece before it ended."""
    kind: str = ""
    piece: str = ""
    lines: dict[Keys, int] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def step(self) -> None:
        """Go to the next piece that means something; at the end `kind` is empty."""
        if self.kind != "newline":
            self.last_line = self.line + self.piece.count("\n")
        while True:
            self.line += self.piece.count("\n")
            match = next(self.pieces, None)
            self.kind, self.piece = (match.lastgroup or "", match.group()) if match else ("", "")
            if self.kind != "space":
                return

    def to_next_line(self) -> None:
        while self.kind == "newline":
            self.step()

    def note(self, base: Keys, keys: Keys, line: int) -> Keys:
        for count in range(1, len(keys) + 1):
            self.lines.setdefault(base + keys[:count], line)
        return base + keys

    def key(self) -> Keys:
        """A key, dotted or not."""
        keys: list[str] = []
        while self.kind in {"word", "string"} or self.piece == ".":
            if self.kind == "word":
                keys.append(self.piece)
            elif self.kind == "string":
                keys.append(str(tomllib.loads(f"k = {self.piece}")["k"]))
            self.step()
        return tuple(keys)

    def pair(self, base: Keys) -> None:
        line = self.line
        keys = self.note(base, self.key(), line)
        self.step()  # over the equals sign
        self.value(keys)

    def value(self, keys: Keys) -> None:
        if self.piece not in {"{", "["}:
            while self.kind not in {"", "newline"} and self.piece not in {",", "]", "}"}:
                self.step()
            return
        end = "}" if self.piece == "{" else "]"
        count = 0
        self.step()
        while self.kind and self.piece != end:
            if self.kind == "newline" or self.piece == ",":
                count += self.piece == ","
                self.step()
            elif end == "}":
                self.pair(keys)
            else:
                self.lines.setdefault((*keys, count), self.line)
                self.value((*keys, count))
        self.step()

    def header(self) -> Keys:
        line = self.line
        self.step()
        if many := self.piece == "[":
            self.step()
        keys = self.note((), self.key(), line)
        if many:
            keys = (*keys, sum(section.keys[:-1] == keys for section in self.sections))
            self.lines.setdefault(keys, line)
            self.step()
        self.step()
        self.sections.append(Section(keys, line, line))
        return keys


def _walk(text: str) -> _Walk:
    walk = _Walk(_PIECE.finditer(text))
    base: Keys = ()
    walk.step()
    walk.to_next_line()
    while walk.kind:
        if walk.piece == "[":
            base = walk.header()
        else:
            walk.pair(base)
            if walk.sections:
                walk.sections[-1].last_line = walk.last_line
        walk.to_next_line()
    return walk
