"""How grave a line is, guessed from what programs write: JSON, logfmt, and common beginnings; pure.

A guess, and no more. A line that says nothing has none, but for one that is indented below another: a stack trace.
"""

import re

from dxd.logs.model import Level

LOOKED_AT = 400
"""Bytes of a line, in which its level stands if anywhere."""

_WORDS = {
    b"trace": Level.DEBUG,
    b"verbose": Level.DEBUG,
    b"debug": Level.DEBUG,
    b"dbug": Level.DEBUG,
    b"info": Level.INFO,
    b"information": Level.INFO,
    b"notice": Level.INFO,
    b"log": Level.INFO,
    b"hint": Level.INFO,
    b"detail": Level.INFO,
    b"statement": Level.INFO,
    b"warn": Level.WARN,
    b"warning": Level.WARN,
    b"err": Level.ERROR,
    b"error": Level.ERROR,
    b"eror": Level.ERROR,
    b"severe": Level.ERROR,
    b"fatal": Level.ERROR,
    b"panic": Level.ERROR,
    b"crit": Level.ERROR,
    b"critical": Level.ERROR,
    b"alert": Level.ERROR,
    b"emerg": Level.ERROR,
    b"emergency": Level.ERROR,
}

_KEY = re.compile(
    rb"""(?:^|[{,\s])["']?(?:level|lvl|severity|levelname|loglevel|log\.level)["']?\s*[:=]\s*["']?([A-Za-z]+|\d{1,2}\b)""",
    re.IGNORECASE,
)
_WORD = re.compile(
    rb"(?:^|[\s\[(<|:])("
    rb"TRACE|VERBOSE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|SEVERE|FATAL|PANIC|CRIT|CRITICAL|ALERT|EMERG|EMERGENCY"
    rb")(?=[\s\])>|:]|$)"
)
"""In capitals, which no sentence has."""
_BRACKETED = re.compile(
    rb"[\[<](trace|debug|info|notice|warn|warning|err|error|fatal|panic|crit|critical|alert|emerg)[\]>]", re.IGNORECASE
)
_LEADING = re.compile(rb"(debug|info|notice|warn|warning|error|fatal|panic|critical)\s?:", re.IGNORECASE)
_POSTGRES = re.compile(rb"(?:^|\s)(DEBUG[1-5]|LOG|STATEMENT|DETAIL|HINT):  ")
_GLOG = re.compile(rb"([DIWEF])\d{4} \d\d:\d\d:\d\d")
_REDIS = re.compile(rb"\d+:[A-Z] \d\d \w{3} \d{4} [\d:.]+ ([.\-*#]) ")
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
_PYTHON = b"Traceback (most recent call last)"

_BY_LETTER = {
    b"D": Level.DEBUG,
    b"I": Level.INFO,
    b"W": Level.WARN,
    b"E": Level.ERROR,
    b"F": Level.ERROR,
    b".": Level.DEBUG,
    b"-": Level.DEBUG,
    b"*": Level.INFO,
    b"#": Level.WARN,
}


def guess(line: bytes, before: Level | None = None) -> Level | None:
    """The level of a line; `before` is that of the one before it."""
    head = line[:LOOKED_AT]
    if b"\x1b" in head:
        head = _COLOUR.sub(b"", head)
    if head[:1] in {b" ", b"\t"} and before is not None:
        return before
    if match := _KEY.search(head):
        found = _word(match[1])
        if found is not None:
            return found
    if match := _WORD.search(head) or _BRACKETED.search(head) or _LEADING.match(head):
        return _WORDS[match[1].lower()]
    if match := _GLOG.match(head) or _REDIS.match(head):
        return _BY_LETTER[match[1]]
    if match := _POSTGRES.search(head):
        return Level.DEBUG if match[1].startswith(b"DEBUG") else Level.INFO
    return Level.ERROR if head.startswith(_PYTHON) else None


def _word(text: bytes) -> Level | None:
    if text.isdigit():  # bunyan's and pino's tens; syslog's count the other way
        number = int(text)
        if number >= 10:
            return Level.ERROR if number >= 50 else Level(max(1, number // 10 - 1))
        return Level.ERROR if number <= 3 else Level.WARN if number == 4 else Level.INFO if number <= 6 else Level.DEBUG
    return _WORDS.get(text.lower())
