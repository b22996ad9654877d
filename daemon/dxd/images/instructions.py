"""The instructions of a Dockerfile, each with its flags, as BuildKit takes the text apart; pure.

What they mean is `dockerfile`'s.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

SPACES = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""unicode.IsSpace of Go, which is not `str.isspace`."""
BLANKS = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_FLAG = re.compile(r"""--(?:[^\t\v\f\r '"\\]|\\.|\\$|'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?)*""", re.DOTALL)
_FLAG_QUOTING = re.compile(r"""'((?:\\.|[^'\\])*)'?|"((?:\\.|[^"\\])*)"?|(\\.?)""", re.DOTALL)
_HEREDOC_VERBS = ("add", "copy", "run")
_HEREDOC_WORD = re.compile(r"""(?:<<-?[ \t]*|[^\s'"\\]|\\.|\\$|'[^']*'|"(?:\\.|[^"\\])*")+""", re.DOTALL)
_HEREDOC = re.compile(r"[0-9]*<<(-?)[ \t]*([^<]+)")
_HEREDOC_QUOTING = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One, its lines put together."""

    line: int
    verb: str
    flags: tuple[str, ...]
    rest: str
    end: int = 0
    """The last of its lines, that of a heredoc left out."""

    def values(self, flag: str) -> list[str]:
        """Those of a flag, which ends with its sign: `--from=`."""
        return [each[len(flag) :] for each in self.flags if each.startswith(flag)]


def directives(lines: list[str]) -> Iterator[tuple[str, str, int]]:
    """Name, value and line of the directives at the top."""
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line.lstrip(SPACES))
        if not match or match[1].lower() not in _DIRECTIVES:
            return
        yield match[1].lower(), match[2], number


def instructions_of(lines: list[str], escape: str) -> Iterator[Instruction]:
    """All of a file, in their order; comments and what is empty left out."""
    continued = re.compile(rf"(^|[^{re.escape(escape)}]){re.escape(escape)}[ \t]*$")
    at = 0
    while at < len(lines):
        number = at + 1
        pieces: list[str] = []
        goes_on = True
        while goes_on and at < len(lines):
            line = lines[at].rstrip("\r")
            at += 1
            bare = line.lstrip(SPACES)
            if not bare or bare.startswith("#"):
                # Neither a comment nor an empty line ends an instruction that goes on.
                goes_on = bool(pieces)
                continue
            match = continued.search(line)
            pieces.append(line[: match.end(1)] if match else line)
            goes_on = match is not None
        text = "".join(pieces).strip(SPACES)
        if text:
            instruction = replace(instruction_of(text, number), end=at)
            yield instruction
            at = _after_heredocs(instruction, text, lines, at)


def instruction_of(text: str, number: int) -> Instruction:
    """That of a text which begins in that line."""
    verb, *more = BLANKS.split(text, maxsplit=1)
    rest, flags = "".join(more), []
    while match := _FLAG.match(rest):
        rest = rest[match.end() :].lstrip(SPACES)
        if match[0] == "--":
            break
        flags.append(_FLAG_QUOTING.sub(_unquoted, match[0]))
    return Instruction(number, verb.lower(), tuple(flags), rest)


def _unquoted(match: re.Match[str]) -> str:
    return re.sub(r"\\(.?)", r"\1", match[0] if match[3] else match[1] or match[2] or "", flags=re.DOTALL)


def _after_heredocs(instruction: Instruction, text: str, lines: list[str], at: int) -> int:
    """Where the next instruction may begin. A heredoc without an end is none."""
    if instruction.verb == "onbuild":
        instruction = instruction_of(instruction.rest, instruction.line)
    if instruction.verb not in _HEREDOC_VERBS or "<<" not in text or is_json(instruction.rest):
        return at
    if _HEREDOC_WORD.sub("", text).strip(SPACES):
        return at  # a quote is open
    for word in _HEREDOC_WORD.findall(text):
        match = _HEREDOC.fullmatch(word)
        if not match:
            continue
        name = _HEREDOC_QUOTING.sub(lambda quoted: quoted[1] or quoted[2] or quoted[3] or "", match[2])
        for end in range(at, len(lines)):
            line = lines[end].rstrip("\r")
            if name == (line.lstrip("\t") if match[1] else line):
                at = end + 1
                break
    return at


def is_json(text: str) -> bool:
    """Whether it is the form with brackets, which is no shell's."""
    if not text.startswith("["):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
