"""Which images a Dockerfile builds on, read as BuildKit reads it (frontend/dockerfile); pure.

Nothing else of the file is understood, and nothing is an error here: what cannot be made out is told as a `Trouble`,
and whether the build fails of it is for the engine to say. Three things are not seen: triggers (`ONBUILD`) in an image
from elsewhere, stages that another image stands in for (`--build-context`), and the language of a frontend that is not
Docker's own.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dxd.images.expansion import BadWord, expand
from dxd.images.instructions import BLANKS, SPACES, Instruction, directives, instruction_of, instructions_of

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")

_HOST_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"
    rf"{_PATH_PART}(?:/{_PATH_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
"""That of github.com/distribution/reference."""
_MAX_REFERENCE = 600
"""Longer than the longest name, tag and digest together."""


@dataclass(frozen=True, slots=True)
class Base:
    """An image that a Dockerfile builds on or copies from."""

    name: str
    """As it is written, with variables filled in."""
    platform: str | None = None
    """What `--platform` says, where that is not the build's own."""

    @property
    def key(self) -> str:
        """What tells it from other bases, in `identity` and in messages."""
        return f"{self.name} for {self.platform}" if self.platform else self.name


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the build will most likely fail of."""

    line: int
    """Of the Dockerfile, from 1; 0 is none in particular."""
    text: str


@dataclass(frozen=True, slots=True)
class Bases:
    """The images of a Dockerfile, each once, in the order in which it names them."""

    needed: tuple[Base, ...]
    """Those of which the target is made."""
    unneeded: tuple[Base, ...]
    """Those of the other stages before the target. What is built is the same without them; BuildKit skips such stages,
    while the classic builder builds them, and so wants these images too.
    """
    syntax: str | None
    """The image of the frontend, where the file or BUILDKIT_SYNTAX names one. BuildKit pulls it by itself."""
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class _Reference:
    """A stage or an image that something is copied or mounted from."""

    name: str
    line: int
    may_be_index: bool


@dataclass(slots=True, eq=False)
class _Stage:
    name: str
    base: Base | None = None
    """None is `scratch`, another stage, or trouble."""
    parent: "_Stage | None" = None
    references: list[_Reference] = field(default_factory=list)
    triggers: list[_Reference] = field(default_factory=list)
    """Of its ONBUILD instructions: the stages that build on it have them."""


def bases_of(text: str, *, args: Mapping[str, str], target: str | None = None, platform: str) -> Bases:
    """Read a Dockerfile; `platform` (`linux/amd64`) is that of the build and of the engine.

    A target that is not there is a trouble, and every stage is needed then.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    reading, _ = _read(lines, args, target, platform)
    needed, unneeded = reading.split(target)
    return Bases(needed, unneeded, _syntax(lines, args), tuple(dict.fromkeys(reading.troubles)))


def renamed(
    text: str, names: Mapping[str, str], *, args: Mapping[str, str], target: str | None = None, platform: str
) -> str:
    """The Dockerfile with other names for images that it builds on or copies from, and no line more or less.

    What is written over two lines, for example, stays as it is: ask `bases_of` what it says now.
    """
    lines = text.split("\n")
    reading, instructions = _read(text.removeprefix("\ufeff").split("\n"), args, target, platform)
    for instruction in instructions:
        for pattern, name in reading.names(instruction):
            if name in names:
                _rename(lines, instruction, re.compile(pattern), names[name])
    return "\n".join(lines)


def _read(
    lines: list[str], args: Mapping[str, str], target: str | None, platform: str
) -> tuple["_Reading", Sequence[Instruction]]:
    reading = _Reading(args, platform)
    instructions = list(instructions_of(lines, reading.escape(lines)))
    last = next((_stage_name(each) for each in reversed(instructions) if each.verb == "from"), "")
    reading.variables["TARGETSTAGE"] = args.get("TARGETSTAGE", target or last or "default")
    for instruction in instructions:
        reading.take(instruction)
    return reading, instructions


def _rename(lines: list[str], instruction: Instruction, pattern: re.Pattern[str], name: str) -> None:
    """What the pattern finds first in the instruction, comments between its lines left out, but for its groups."""
    for number in range(instruction.line - 1, instruction.end):
        line = lines[number]
        if line.lstrip(SPACES).startswith("#"):
            continue
        if (match := pattern.search(line)) is not None:
            lines[number] = line[: match.start("name")] + name + line[match.end("name") :]
            return


def _syntax(lines: list[str], args: Mapping[str, str]) -> str | None:
    """The frontend. Unlike the others, this directive may come after a line `#!`."""
    lines = lines[1:] if lines[0].startswith("#!") else lines
    value = args.get("BUILDKIT_SYNTAX") or next((value for name, value, _ in directives(lines) if name == "syntax"), "")
    return value.split(" ")[0] or None


def _stage_name(instruction: Instruction) -> str:
    words = BLANKS.split(instruction.rest)
    return words[2].lower() if len(words) == 3 and words[1].lower() == "as" else ""


class _Reading:
    """What is known so far of one Dockerfile."""

    def __init__(self, args: Mapping[str, str], platform: str) -> None:
        self._args = args
        self._platform = platform
        self._escape = "\\"
        self._stages: list[_Stage] = []
        self._by_name: dict[str, _Stage] = {}
        self._by_line: dict[int, _Stage] = {}
        self.troubles: list[Trouble] = []
        system, _, machine = platform.partition("/")
        architecture, _, variant = machine.partition("/")
        facts = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": variant}
        self.variables = {f"{which}{name}": value for which in ("BUILD", "TARGET") for name, value in facts.items()}
        """Those that a FROM may use."""
        self.variables |= {name: args[name] for name in self.variables if name in args}

    def escape(self, lines: list[str]) -> str:
        """What the directive of that name says."""
        seen = set()
        for name, value, number in directives(lines):
            if name in seen:
                self._trouble(number, f"there are two directives {name}")
            elif name == "escape" and value not in ("\\", "`"):
                self._trouble(number, f"nothing but \\ and ` can be the escape character, not {value}")
            elif name == "escape":
                self._escape = value
            seen.add(name)
        return self._escape

    def take(self, instruction: Instruction) -> None:
        """Go on with the next instruction."""
        if instruction.verb == "from":
            self._from(instruction)
        elif self._stages:
            self._stages[-1].references += self._references(instruction)
            if instruction.verb == "onbuild":
                trigger = instruction_of(instruction.rest, instruction.line)
                self._stages[-1].triggers += self._references(trigger)
        elif instruction.verb == "arg":
            self._arg(instruction)
        else:
            self._trouble(instruction.line, f"{instruction.verb.upper()} comes before the first FROM")

    def names(self, instruction: Instruction) -> Iterator[tuple[str, str]]:
        """Of the images that an instruction names, once all is read: a pattern that finds the word, and the name."""
        if instruction.verb == "from":
            stage = self._by_line[instruction.line]
            if stage.base is not None:
                yield rf"(?<!\S)(?P<name>{re.escape(BLANKS.split(instruction.rest)[0])})(?!\S)", stage.base.name
            return
        if instruction.verb == "onbuild":
            instruction = instruction_of(instruction.rest, instruction.line)
        for each in self._references(instruction):
            if each.name.lower() not in self._by_name:
                before = r"--from=" if instruction.verb == "copy" else r"--mount=(?:\S*,)?(?i:from)="
                yield rf"""{before}["']?(?P<name>{re.escape(each.name)})(?=["',\s]|$)""", each.name

    def split(self, target: str | None) -> tuple[tuple[Base, ...], tuple[Base, ...]]:
        """The images that are needed for the target, and the others of stages before it."""
        if not self._stages:
            self._trouble(0, "there is no FROM")
            return (), ()
        wanted = [self._stages[-1]]
        if target:
            wanted = [self._by_name[target.lower()]] if target.lower() in self._by_name else self._stages
            if wanted is self._stages:
                self._trouble(0, f"there is no stage {target}")
        uses = {stage: self._uses(stage) for stage in self._stages}
        needed: dict[_Stage, None] = {}
        way = list(wanted)
        while way:
            stage = way.pop()
            if stage not in needed:
                needed[stage] = None
                way += uses[stage][0]
        before = self._stages[: self._stages.index(wanted[-1]) + 1]
        ours = {base: None for stage in self._stages if stage in needed for base in uses[stage][1]}
        others = {base: None for stage in before if stage not in needed for base in uses[stage][1]}
        return tuple(ours), tuple(base for base in others if base not in ours)

    def _trouble(self, line: int, text: str) -> None:
        self.troubles.append(Trouble(line, text))

    def _expanded(self, word: str, line: int) -> str | None:
        try:
            return expand(word, self.variables, self._escape)
        except BadWord as error:
            self._trouble(line, str(error))
            return None

    def _arg(self, instruction: Instruction) -> None:
        escape = re.escape(self._escape)
        word = rf"""(?:[^\s'"{escape}]|{escape}.?|'[^']*(?:'|$)|"(?:{escape}.|[^"{escape}])*(?:"|{escape}?$))+"""
        for match in re.finditer(word, instruction.rest, re.DOTALL):
            name, equals, default = match[0].partition("=")
            value = self._args.get(name)
            if value is None and equals:
                value = self._expanded(default, instruction.line)
            if value is not None:
                self.variables[name] = value

    def _from(self, instruction: Instruction) -> None:
        words = BLANKS.split(instruction.rest) if instruction.rest else []
        stage = _Stage(_stage_name(instruction))
        line = instruction.line
        if len(words) != 1 and not (len(words) == 3 and words[1].lower() == "as"):
            self._trouble(line, "FROM takes an image, or an image, AS and a name")
        elif stage.name and not _STAGE_NAME.fullmatch(stage.name):
            self._trouble(line, f"{words[2]} cannot be the name of a stage")
        if words:
            self._build_on(stage, words[0], instruction)
        self._stages.append(stage)
        self._by_line[line] = stage
        if stage.name:
            self._by_name[stage.name] = stage

    def _build_on(self, stage: _Stage, word: str, instruction: Instruction) -> None:
        name, line = self._expanded(word, instruction.line), instruction.line
        platform = None
        for value in instruction.values("--platform="):
            platform = self._expanded(value, line)
            if platform == "":
                self._trouble(line, f"the platform {value} is empty")
        if name == "":
            self._trouble(line, f"the image {word} is empty")
        if not name:
            return
        stage.parent = self._by_name.get(name.lower())
        if not stage.parent:
            stage.base = self._image(name, line, platform)

    def _image(self, name: str, line: int, platform: str | None = None) -> Base | None:
        if name == "scratch":
            return None
        if len(name) > _MAX_REFERENCE or not _REFERENCE.fullmatch(name):
            self._trouble(line, f"{name} cannot be the name of an image")
            return None
        return Base(name, platform if platform != self._platform else None) if platform else Base(name)

    def _references(self, instruction: Instruction) -> Iterator[_Reference]:
        sources: list[tuple[str, bool]] = []
        if instruction.verb == "copy":
            sources = [(value, True) for value in instruction.values("--from=")]
        elif instruction.verb == "run":
            sources = [(value, False) for mount in instruction.values("--mount=") for value in _sources(mount)]
        for name, may_be_index in sources:
            if "$" in name:
                self._trouble(instruction.line, f"{name}: variables are for FROM only, give a stage that name")
            elif name:
                yield _Reference(name, instruction.line, may_be_index)

    def _uses(self, stage: _Stage) -> tuple[list[_Stage], list[Base]]:
        """What a stage needs: other stages, and images."""
        stages = [stage.parent] if stage.parent else []
        images = [stage.base] if stage.base else []
        for reference in (*stage.references, *(stage.parent.triggers if stage.parent else ())):
            if reference.may_be_index and re.fullmatch(r"[+-]?[0-9]{1,9}", reference.name, re.ASCII):
                stages += self._at(int(reference.name), reference.line)
            elif reference.name.lower() in self._by_name:
                stages.append(self._by_name[reference.name.lower()])
            elif image := self._image(reference.name, reference.line):
                images.append(image)
        return stages, images

    def _at(self, index: int, line: int) -> Sequence[_Stage]:
        if 0 <= index < len(self._stages):
            return [self._stages[index]]
        self._trouble(line, f"there is no stage {index}")
        return []


def _sources(mount: str) -> list[str]:
    """What a `--mount` says that it is from."""
    try:
        fields = next(csv.reader([mount]), [])
    except csv.Error:
        return []
    pairs = [field.partition("=") for field in fields]
    return [value for key, _, value in pairs if key.lower() == "from"]
