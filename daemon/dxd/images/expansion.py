"""Variables and quotes in a word of a Dockerfile, filled in and taken away as BuildKit does (dockerfile/shell); pure.

It is close to what a shell does, and no closer: there are no commands, no arithmetic, and a word stays one.
"""

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[^\W\d]\w*|\d+|[@*#?$!-]")


MAX_DEPTH = 50
"""Of words within words; BuildKit has no limit, and nobody writes three."""
MAX_STARS = 4
"""Of a pattern: each multiplies the time that a match may take by the length of the value."""
MAX_MATCHED = 4096
"""Characters of a value that a pattern is tried on."""


class BadWord(ValueError):
    """What is wrong with a word, as a clause."""


def expand(word: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """The word's value; raises `BadWord`. A variable that is not set is empty."""
    return _Expansion(word, variables, escape).until("")


class _Expansion:
    """One word, and how much of it is done."""

    def __init__(self, word: str, variables: Mapping[str, str], escape: str) -> None:
        self._word = word
        self._variables = variables
        self._escape = escape
        self._at = 0
        self._depth = 0

    def until(self, end: str, *, raw: bool = False) -> str:
        """The value of what comes before `end`, which is passed over; of all the rest if that is empty."""
        value = ""
        while char := self._next():
            if char == end:
                return value
            if char == "$":
                value += self._variable()
            elif char == "'":
                value += self._quoted()
            elif char == '"':
                value += self._double_quoted(raw=raw)
            elif char == self._escape:
                value += (char if raw else "") + self._next()
            else:
                value += char
        if end:
            raise BadWord(f"a {end} is missing in {self._word}")
        return value

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _peek(self) -> str:
        return self._word[self._at : self._at + 1]

    def _quoted(self) -> str:
        end = self._word.find("'", self._at)
        if end < 0:
            raise BadWord(f"a quote is open in {self._word}")
        value, self._at = self._word[self._at : end], end + 1
        return value

    def _double_quoted(self, *, raw: bool) -> str:
        value = ""
        while char := self._next():
            if char == '"':
                return value
            if char == "$":
                value += self._variable()
            elif char == self._escape:
                if raw:
                    value += char
                following = self._peek()
                if following and following in f'"${self._escape}':
                    value += self._next()
                elif following:
                    value += char
            else:
                value += char
        raise BadWord(f"a quote is open in {self._word}")

    def _name(self) -> str:
        match = _NAME.match(self._word, self._at)
        self._at = match.end() if match else self._at
        return match[0] if match else ""

    def _variable(self) -> str:
        """After a `$`."""
        if self._peek() != "{":
            name = self._name()
            return self._variables.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise BadWord(f"no variable is named in {self._word}")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadWord("there are too many words within words")
        value = self._braced(name)
        self._depth -= 1
        return value

    def _braced(self, name: str) -> str:
        """After a `${name`."""
        value = self._variables.get(name)
        operator = self._next()
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._replaced(value or "")
        is_set = value is not None
        if operator in ("#", "%"):
            return self._trimmed(value or "", operator)
        if operator == ":":
            is_set = bool(value)
            operator = self._next()
        if not operator:
            raise BadWord(f"a }} is missing in {self._word}")
        if operator not in ("-", "+", "?"):
            raise BadWord(f"{self._word} has an operator that is not known")
        word = self.until("}")
        if operator == "?" and not is_set:
            raise BadWord(f"{name} is not set" + (f": {word}" if word else ""))
        if operator == "+":
            return word if is_set else ""
        return (value or "") if is_set else word

    def _trimmed(self, value: str, operator: str) -> str:
        pattern = self.until("}", raw=True)
        greedy = pattern.startswith(operator)
        regex = _pattern(pattern.removeprefix(operator) if greedy else pattern, value, greedy=greedy)
        if operator == "#":
            match = regex.match(value)
            return value[match.end() :] if match else value
        starts = range(len(value) + 1) if greedy else range(len(value), -1, -1)
        return next((value[:start] for start in starts if regex.fullmatch(value, start)), value)

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        self._at += everywhere
        regex = _pattern(self.until("/", raw=True), value, greedy=True)
        replacement = self.until("}", raw=True)
        literal: Callable[[re.Match[str]], str] = lambda _: replacement  # noqa: E731 - a string would have escapes in it
        return regex.sub(literal, value, count=0 if everywhere else 1)


def _pattern(pattern: str, value: str, *, greedy: bool) -> re.Pattern[str]:
    """A shell's pattern with `*` and `?` only, to be tried on that value."""
    if pattern.count("*") > MAX_STARS or len(value) > MAX_MATCHED:
        raise BadWord(f"{pattern} is too much to match")
    regex, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            regex += ".*" if greedy else ".*?"
        elif char == "?":
            regex += "."
        elif char == "\\" and at < len(pattern):
            regex += re.escape(pattern[at])
            at += 1
        else:
            regex += re.escape(char)
    return re.compile(regex)
