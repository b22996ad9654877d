"""What the command line shows people: tables, colours, times.

Everything that somebody else named (images, tools, paths, error texts) goes through `clean`, so that no escape
sequence of theirs reaches the terminal.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Literal

Colour = Literal["bold", "dim", "red", "green", "yellow"]
_CODES: dict[Colour, str] = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether people look at it. A stream that was closed at the start is None."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def paint(text: str, colour: Colour, stream: IO[str] | None = None) -> str:
    """The text in a colour where `stream`, else standard output, shows colours: https://no-color.org."""
    stream = stream or sys.stdout
    if not is_terminal(stream) or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def clean(text: str) -> str:
    """The text with control characters and halves of characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def width(text: str) -> int:
    """How many columns the text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows in columns that line up, under their headings; the last column is not filled up."""
    lines = [headings, *([clean(cell) or "-" for cell in row] for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(headings))]
    widths[-1] = 0
    written = [
        "  ".join(cell + " " * (widths[column] - width(cell)) for column, cell in enumerate(line)) for line in lines
    ]
    return "\n".join([paint(written[0], "bold"), *written[1:]])


def print_json(value: object, *, line: bool = False) -> None:
    """For scripts; `line` is for one of several values, each on a line of its own."""
    import json

    print(json.dumps(value, indent=None if line else 2, ensure_ascii=False), flush=line)


def say(text: str) -> None:
    """A line for people beside what the verb answers: on standard error."""
    if sys.stderr is not None:
        print(clean(text), file=sys.stderr)


def complain(message: str, hint: str = "") -> None:
    """Why it failed and what to do, on one line."""
    text = " ".join(f"{message}; {hint}".split() if hint else message.split())
    if sys.stderr is not None:
        print(paint("dx:", "red", sys.stderr), clean(text), file=sys.stderr)


def duration(seconds: float) -> str:
    """A length of time in its largest unit, for people: `3 minutes`."""
    if seconds < 1:
        return "less than a second"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count != 1)}"
    raise AssertionError("a second is the last unit")


def elapsed(seconds: float) -> str:
    """How long something took: `12 ms`, `3.4 s`, `3 minutes`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def ago(moment: str | None, now: float | None = None) -> str:
    """An ISO 8601 time as a distance from now, or from `now` in seconds since 1970: `3 minutes ago`."""
    if not moment:
        return ""
    import time
    from datetime import datetime

    try:
        seconds = (time.time() if now is None else now) - datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return moment
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def size(size_bytes: int) -> str:
    """Bytes as people say them: `12.3 MiB`."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def ask(question: str) -> bool:
    """Ask on the terminal; no terminal means no, and so does anything but yes."""
    if not can_ask():
        return False
    print(f"{clean(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
    return answer.strip().lower() in {"y", "yes"}


def fit(text: str, columns: int) -> str:
    """As much of the text as takes less than so many columns."""
    while width(text) >= max(columns, 1) and text:
        text = text[: max(0, len(text) - 1 - (width(text) - columns) // 2)]
    return text


def columns(stream: IO[str]) -> int:
    """How wide the terminal is just now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
