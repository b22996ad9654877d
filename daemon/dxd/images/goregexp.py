r"""Regular expressions as Go has them: those that Docker makes of the patterns of .dockerignore.

An escaped letter of a pattern, what is in brackets, and `|`, `^` and `{2}` get into them as they are: `obj\Debug` has a
`\D`. Pure.
"""

import re
from typing import Final

_SETS: Final = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Za-z_"}
_CHARS: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PLACES: Final = {"A": r"\A", "b": r"(?a:\b)", "B": r"(?a:\B)", "z": r"\Z"}
_NAMED: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t-\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_NAME: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_OCTAL: Final = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")

_COUNT: Final = re.compile(r"\{\d+(?:,\d*)?\}")
"""What else begins with a brace is meant literally."""


def expression(text: str) -> re.Pattern[str]:
    r"""What `search` of is Go's `MatchString`; raises `ValueError`, `IndexError` or `re.error` where Go compiles none.

    Of operators it knows those that a pattern becomes. Unicode classes (`\pL`) and quotes (`\Q`) are refused.
    """
    regex, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "[":
            piece, at = _class(text, at)
        elif char == "\\":
            piece, at = _escape(text, at)
        else:
            is_count = char != "{" or _COUNT.match(text, at - 1)
            piece = {"$": r"\Z", ".": r"[^\n]"}.get(char, char) if is_count else r"\{"
        regex += piece
    return re.compile(regex)


def _escape(text: str, at: int) -> tuple[str, int]:
    """What follows a backslash outside of a class."""
    char = text[at]
    if char in _PLACES:
        return _PLACES[char], at + 1
    if char.lower() in _SETS:
        return _set(_SETS[char.lower()], negated=char.isupper()), at + 1
    found, at = _char(text, at)
    return re.escape(found), at


def _char(text: str, at: int) -> tuple[str, int]:
    """The one character that an escape means, behind its backslash."""
    char = text[at]
    if char in _CHARS:
        return _CHARS[char], at + 1
    if found := _HEX.match(text, at):
        return chr(int(found[1] or found[2], 16)), found.end()
    if found := _OCTAL.match(text, at):
        return chr(int(found[0], 8)), found.end()
    if char.isascii() and char.isalnum():
        raise ValueError(text)
    return char, at + 1


def _class(text: str, at: int) -> tuple[str, int]:
    """A character class, behind its `[`."""
    negated = text[at] == "^"
    at += negated
    parts: list[str] = []
    while not parts or text[at] != "]":
        if found := _NAME.match(text, at):
            parts.append(_set(_NAMED.get(found[2]), negated=bool(found[1])))
            at = found.end()
        elif text[at] == "\\" and text[at + 1].lower() in _SETS:
            parts.append(_set(_SETS[text[at + 1].lower()], negated=text[at + 1].isupper()))
            at += 2
        else:
            low, at = _class_char(text, at)
            high = low
            if text[at] == "-" and text[at + 1] != "]":
                high, at = _class_char(text, at + 1)
            if low > high:
                raise ValueError(text)
            parts.append(f"[{re.escape(low)}-{re.escape(high)}]")
    inner = "|".join(parts)
    return (rf"(?:(?!{inner})[\s\S])" if negated else f"(?:{inner})"), at + 1


def _set(of: str | None, *, negated: bool) -> str:
    if of is None:
        raise ValueError("no such class")
    return f"[{'^' if negated else ''}{of}]"


def _class_char(text: str, at: int) -> tuple[str, int]:
    return _char(text, at + 1) if text[at] == "\\" else (text[at], at + 1)
