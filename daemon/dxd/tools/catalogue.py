"""The tools of a dx.toml, at hand for every run: of the user's, or of a project's.

`Catalogue` owns what was read; the file is the truth, and people edit it. Every look-up asks stat(2) whether it is
still the same file, so that an edit counts for the next run. What is broken in it never breaks what worked: a file
that cannot be read leaves all tools as they were, a tool that is wrong leaves that tool as it was; `problem` says so.

May be used from several threads: what was read is one immutable value, replaced as a whole. Writers take turns and wait
for the disk, so they belong in a thread.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from dxd import settings
from dxd.errors import BadDefinition, Conflict, DxError, Refused, UnknownTool
from dxd.kit import atomic, toml
from dxd.kit.toml import quote
from dxd.tools.model import MARK, OnChange, Tool, ToolName
from dxd.tools.names import did_you_mean, mark_of
from dxd.tools.parse import parse_tool

_TOP_KEYS = ("tools", "daemon")
_PROJECT_KEYS = ("tools",)
_FRESH_NS = 100_000_000
"""A file changed less than 0.1 s before it was read is read again: file systems' clocks tick each 1-10 ms, so a second
change in place may leave the same stamp."""
_ATTEMPTS = 20
"""How often a writer starts over because somebody else wrote; each takes a millisecond."""

_State = atomic.Stamp | str | None
"""What stat(2) said: a file, why there was no answer, or that there is no file."""
_T = TypeVar("_T")


class _Changed(Exception):
    """The file is no longer the one that was read."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the file said, completed by what it said before where it is broken now."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    commands: Mapping[str, Tool] = field(default_factory=dict)
    broken: Mapping[str, DxError] = field(default_factory=dict)
    """By name the tools that are wrong now; those that were right once are in `tools` as well."""
    problems: tuple[DxError, ...] = ()
    unreadable: DxError | None = None

    def problem(self) -> str | None:
        if not self.problems:
            return None
        more = len(self.problems) - 1
        return self.problems[0].line() + (f" (and {more} more)" if more else "")


class Catalogue:
    """The definitions in one file; a missing file has none. Constructing never fails."""

    def __init__(self, file: Path, *, project: bool = False) -> None:
        """The tools of a project's file are the project's, and have no say in the daemon's settings."""
        self.file = file
        self._project = project
        self._path = str(file)
        self._state: _State = "never read"
        self._fresh = False
        self._reading = _Reading()
        self._turn = threading.Lock()

    @property
    def problem(self) -> str | None:
        """What is wrong with the file now, on one line; None if nothing."""
        self.refresh()
        return self._reading.problem()

    def get(self, name: str) -> Tool:
        """The tool of that name; raises `UnknownTool`, or what is wrong with it if it never was right."""
        self.refresh()
        if tool := self._reading.tools.get(name):
            return tool
        raise _missing(name, self._reading)

    def broken(self, name: str) -> DxError | None:
        """What is wrong with the tool of that name now."""
        self.refresh()
        return self._reading.broken.get(name)

    def unreadable(self) -> DxError | None:
        """Why the file as a whole says nothing now."""
        self.refresh()
        return self._reading.unreadable

    def by_command(self, command: str) -> Tool | None:
        """The tool that offers the command."""
        self.refresh()
        return self._reading.commands.get(command)

    def all(self) -> tuple[Tool, ...]:
        """Every tool, in the order of the file."""
        self.refresh()
        return tuple(self._reading.tools.values())

    def commands(self) -> tuple[str, ...]:
        """Every command on offer: what shims there should be."""
        self.refresh()
        return tuple(self._reading.commands)

    def refresh(self) -> None:
        """Read the file again if it is another one than before."""
        state: _State
        try:
            state = atomic.stamp(self._path)
        except OSError as error:
            state = error.strerror or "unknown reason"
        if state != self._state or self._fresh:
            self._read(state)

    def check(self, content: bytes) -> None:
        """Raise `BadDefinition` with what would be wrong with the file if this were its content."""
        reading = self._understand(_parse(content, self.file), _Reading())
        if reading.problems:
            raise BadDefinition(reading.problem() or "", "")

    def put(self, tool: Tool) -> bool:
        """Write the tool into the file, in place of one of this name; whether it is new.

        Raises `Conflict` if another tool offers one of its commands, `BadDefinition` if the file is too broken to be
        edited, `Refused` if it cannot be written. Comments and everything else in the file stay.
        """

        def change(document: toml.Document, reading: _Reading) -> tuple[bytes, bool]:
            from dxd.tools.edit import put_tool  # noqa: PLC0415 - tomlkit costs 30 ms, and few daemons ever write

            others = {name: each for name, each in reading.tools.items() if name != tool.name}
            if clash := _clash(tool.name, tool, others, _commands(others)):
                raise clash
            return put_tool(document, tool)

        return self._edit(change)

    def delete(self, name: str) -> None:
        """Take the tool out of the file; raises `UnknownTool`, else like `put`."""

        def change(document: toml.Document, reading: _Reading) -> tuple[bytes, None]:
            from dxd.tools.edit import delete_tool  # noqa: PLC0415 - as above

            tables = document.data.get("tools")
            if not isinstance(tables, dict) or name not in tables:
                raise _missing(name, replace(reading, broken={}))
            return delete_tool(document, name), None

        self._edit(change)

    def _read(self, state: _State) -> None:
        before = self._reading
        self._fresh = False
        try:
            if isinstance(state, str):
                raise BadDefinition(f"{self.file}: cannot be read: {state}")
            if state is None:
                reading = _Reading()
            else:
                # The stamp of what is read, not the one from before, which somebody may have replaced meanwhile.
                content, state = atomic.read(self.file, limit_bytes=settings.MAX_FILE_BYTES)
                self._fresh = 0 <= time.time_ns() - max(state[3:]) < _FRESH_NS
                reading = self._understand(_parse(content, self.file), before)
        except FileNotFoundError:
            state, reading = None, _Reading()
        except OSError as error:
            problem = BadDefinition(f"{self.file}: cannot be read: {error.strerror}")
            reading = replace(before, problems=(problem,), unreadable=problem)
        except DxError as error:
            reading = replace(before, problems=(error,), unreadable=error)
        self._reading, self._state = reading, state

    def _understand(self, document: toml.Document, before: _Reading) -> _Reading:
        """What the document says, with the tools of before in place of those that are wrong now."""
        spot = toml.Spot(document)
        problems = _strangers(document, _PROJECT_KEYS if self._project else _TOP_KEYS)
        if not self._project:
            try:
                settings.read(document)
            except DxError as error:
                problems.append(error)
        tables = document.data.get("tools", {})
        if not isinstance(tables, dict):
            problem = BadDefinition(f"{spot.at('tools')}: must be a table", "write a tool as [tools.NAME]")
            return replace(before, problems=(*problems, problem), unreadable=problem)
        tools: dict[str, Tool] = {}
        broken: dict[str, DxError] = {}
        commands: dict[str, Tool] = {}
        for name, value in tables.items():
            try:
                tool = self._tool(name, value, spot.at("tools", name))
                if clash := _clash(name, tool, tools, commands):
                    raise Conflict(f"{spot.at('tools', name)}: {clash.message}", clash.hint)
            except DxError as error:
                broken[name] = error
            else:
                tools[name] = tool
                commands |= dict.fromkeys(tool.offers, tool)
        for name in broken:
            if (old := before.tools.get(name)) and not _clash(name, old, tools, commands):
                tools[name] = old
                commands |= dict.fromkeys(old.offers, old)
        in_order = {name: tools[name] for name in tables if name in tools}
        return _Reading(in_order, _commands(in_order), broken, (*problems, *broken.values()))

    def _tool(self, name: str, value: object, spot: toml.Spot) -> Tool:
        """A tool of the file; runs of a project's wait for its builds unless it says otherwise."""
        directory = self.file.parent
        tool = parse_tool(name, value, base=directory, spot=spot)
        if not self._project:
            return tool
        marked = ToolName(name + MARK + mark_of(str(directory)))
        waits = tool.build is not None and isinstance(value, dict) and "on_change" not in value
        return replace(tool, name=marked, project=directory, on_change=OnChange.WAIT if waits else tool.on_change)

    def _edit(self, change: Callable[[toml.Document, _Reading], tuple[bytes, _T]]) -> _T:
        """Read, change, and write if nobody else wrote in between; else all over again."""
        try:
            with self._turn, atomic.turn(self.file):
                for _ in range(_ATTEMPTS):
                    content, seen = self._content()
                    document = _parse(content, self.file)
                    new, result = change(document, self._understand(document, self._reading))
                    try:
                        atomic.write(self.file, new, check=partial(self._still, seen))
                    except _Changed:
                        continue
                    self.refresh()
                    return result
        except OSError as error:
            raise Refused(f"{self.file}: cannot be changed: {error.strerror}", "nothing was changed") from error
        raise Refused(f"{self.file}: somebody else keeps changing it", "try again")

    def _content(self) -> tuple[bytes, atomic.Stamp | None]:
        try:
            return atomic.read(self.file, limit_bytes=settings.MAX_FILE_BYTES)
        except FileNotFoundError:
            return b"", None

    def _still(self, seen: atomic.Stamp | None) -> None:
        if atomic.stamp(self._path) != seen:
            raise _Changed


def _missing(name: str, reading: _Reading) -> DxError:
    if error := reading.broken.get(name):
        return error
    hint = did_you_mean(name, {*reading.tools, *reading.commands})
    return UnknownTool(f"no tool is called {quote(name)}", hint or reading.problem() or "dx ls shows what there is")


def _parse(content: bytes, file: Path) -> toml.Document:
    try:
        return toml.parse(content, file)
    except toml.BadToml as error:
        raise BadDefinition(error.message, error.hint) from None


def _strangers(document: toml.Document, known: Sequence[str]) -> list[DxError]:
    """Complaints of tables that nobody knows."""
    problems: list[DxError] = []
    for key in document.data:
        if key not in known:
            hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
            if key == "daemon":
                hint = "the daemon's settings are in the user's own dx.toml"
            bad = toml.Spot(document).at(key).bad("unknown key", hint)
            problems.append(BadDefinition(bad.message, bad.hint))
    return problems


def _commands(tools: Mapping[str, Tool]) -> dict[str, Tool]:
    return {command: tool for tool in tools.values() for command in tool.offers}


def _clash(name: str, tool: Tool, others: Mapping[str, Tool], commands: Mapping[str, Tool]) -> Conflict | None:
    """Why the tool cannot stand beside the others: `dx run NAME` has to mean one thing."""
    for command in tool.offers:
        if (other := commands.get(command)) is not None:
            return Conflict(f"{name} offers {command}, as tool {other.word} does", "a command belongs to one tool")
        if command in others:
            return Conflict(f"{name} offers {command}, which is another tool's name", "leave this command out")
    if (other := commands.get(name)) is not None:
        return Conflict(f"{name} is a command of tool {other.word}", "choose another name")
    return None
