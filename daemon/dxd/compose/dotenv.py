"""What env files say, and texts with variables in them, as Compose reads both. Pure; nothing here fails.

Compose itself does it for all that dx acts on. This is for finding out which files it reads, also while one is broken
and it says nothing. What is malformed is left out, or left as it is.
"""

import re
from collections.abc import Mapping

_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][\w.]*)[ \t]*[=:][ \t]*
    (?:'(?P<plain>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\n]*))""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*$")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATOR = re.compile(r":?[-+?]")
_MAX_DEPTH = 10


def read(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an env file, which may refer to those of the environment and to those before them."""
    found: dict[str, str] = {}
    for match in _ASSIGNMENT.finditer(text):
        if match["plain"] is not None:
            value = match["plain"]
        elif match["quoted"] is not None:
            value = _ESCAPED.sub(lambda each: _CONTROLS.get(each[1], each[1]), match["quoted"])
            value = interpolated(value, {**found, **environ})
        else:
            value = interpolated(_COMMENT.sub("", match["bare"]).strip(), {**found, **environ})
        found[match["key"]] = value
    return found


def interpolated(text: str, environ: Mapping[str, str], depth: int = 0) -> str:
    """A text with the values of its variables: `$A`, `${A}`, `${A:-b}`, `${A+b}`, and `$$` for a dollar sign."""
    found, at = [], 0
    while (dollar := text.find("$", at)) >= 0 and depth < _MAX_DEPTH:
        found.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            found.append("$")
            at += 1
        elif name := _NAME.match(text, at):
            found.append(environ.get(name[0], ""))
            at = name.end()
        elif text.startswith("{", at) and (end := _closing(text, at)) is not None:
            found.append(_value(text[at + 1 : end], environ, depth))
            at = end + 1
        else:
            found.append("$")
    return "".join((*found, text[at:]))


def _closing(text: str, at: int) -> int | None:
    """Where the brace ends that begins there."""
    open_ = 0
    for position in range(at, len(text)):
        open_ += {"{": 1, "}": -1}.get(text[position], 0)
        if not open_:
            return position
    return None


def _value(inside: str, environ: Mapping[str, str], depth: int) -> str:
    name = _NAME.match(inside)
    if name is None:
        return ""
    value, operator = environ.get(name[0]), _OPERATOR.match(inside, name.end())
    if operator is None:
        return value or ""
    there = bool(value) if operator[0].startswith(":") else value is not None
    if operator[0].endswith("+"):
        return interpolated(inside[operator.end() :], environ, depth + 1) if there else ""
    if there or operator[0].endswith("?"):
        return value or ""
    return interpolated(inside[operator.end() :], environ, depth + 1)
