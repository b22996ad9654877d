"""Which paths an argument may name, by its letters alone; whether they exist is not looked at here."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MAX_PATH = 4095
"""PATH_MAX without its NUL: longer words name nothing."""


class Form(Enum):
    """How an argument has a path in it; the more it is a guess, the less is made of it."""

    WHOLE = "the argument"
    PART = "a part of the argument"
    """After an option's letter, `=` or `@`."""
    LIST = "a list in the argument"
    """Joined by colons; names paths only where each is one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be a path, or a list of them."""

    form: Form
    paths: tuple[bytes, ...]
    """Not empty each; a `~` for the home directory is written out."""
    tilde: bool = False
    """Whether the tool has to expand a `~` itself to mean this path."""


def candidates(word: bytes, home: bytes) -> Iterator[Candidate]:
    """What the argument may name, the likeliest first."""
    yield from _paths(word, Form.WHOLE, home)
    for value in _values(word):
        yield from _paths(value, Form.PART, home)
        if value[:1] == b"@":
            yield from _paths(value[1:], Form.PART, home)


def _values(word: bytes) -> Iterator[bytes]:
    if word[:1] == b"@":
        yield word
    _, equals, value = word.partition(b"=")
    if equals:
        yield value
    if word[:1] == b"-" and word[1:2] != b"-" and len(word) > 2:
        yield word[2:]


def _paths(text: bytes, form: Form, home: bytes) -> Iterator[Candidate]:
    if not text or len(text) > MAX_PATH:
        return
    path = _expand(text, home)
    yield Candidate(form, (path,), path != text)
    if b":" in text and b"://" not in text:
        parts = [part for part in text.split(b":") if part]
        if parts and parts != [text]:
            paths = tuple(_expand(part, home) for part in parts)
            yield Candidate(Form.LIST, paths, list(paths) != parts)


def _expand(path: bytes, home: bytes) -> bytes:
    if home and (path == b"~" or path.startswith(b"~/")):
        return home + path[1:]
    return path
