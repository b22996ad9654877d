"""Changes to the text of a dx.toml, made so that whatever else is in it stays as it was, to the byte where possible.

There are several ways to write the same table, so there are several ways to change it. They are tried in turn, and the
result is read back: one that alters anything else is not taken. Imported only by a daemon that writes.
"""

import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item, Table

from dxd.errors import DxError, Refused
from dxd.kit.toml import Document, Section
from dxd.tools.model import Tool
from dxd.tools.parse import KEYS, parse_tool, to_table

_Way = Callable[[], str]


def put_tool(document: Document, tool: Tool) -> tuple[bytes, bool]:
    """The text with the tool in it, and whether it was not there before; raises `Refused` if no way leads there."""
    tables = document.data.get("tools")
    is_new = not isinstance(tables, dict) or tool.name not in tables
    ways: list[_Way] = [partial(_append, document.text, tool)] if is_new else [partial(_put_in_section, document, tool)]
    ways.append(lambda: _put(document.text, tool, _old_table(document, tool.name)))
    if not is_new:
        ways.append(lambda: _append(_cut(document, tool.name), tool))
        ways.append(lambda: _append(_delete(document.text, tool.name), tool))
    return _first_right(document, tool.name, tool, ways), is_new


def delete_tool(document: Document, name: str) -> bytes:
    """The text without the tool, which is in it; raises `Refused` if no way leads there."""
    ways: list[_Way] = [lambda: _cut(document, name), lambda: _delete(document.text, name)]
    return _first_right(document, name, None, ways)


def _first_right(document: Document, name: str, wanted: Tool | None, ways: list[_Way]) -> bytes:
    for way in ways:
        try:
            text = way()
            data = tomllib.loads(text)
        except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError):
            continue  # tomlkit has no one way to say that it cannot do it
        if _is_right(document, data, name, wanted):
            return text.encode()
    raise Refused(
        f"{document.file}: the tool {name} cannot be changed in the way this file is written",
        "write it as [tools.NAME], with dx edit",
    )


def _is_right(document: Document, data: Mapping[str, object], name: str, wanted: Tool | None) -> bool:
    """Whether `data` is the document's but for the tool, which is as wanted."""
    before, after = dict(document.data), dict(data)
    tools_before, tools_after = before.pop("tools", {}), after.pop("tools", {})
    if not isinstance(tools_before, dict) or not isinstance(tools_after, dict):
        return False
    others_before = {key: value for key, value in tools_before.items() if key != name}
    others_after = {key: value for key, value in tools_after.items() if key != name}
    if (before, others_before) != (after, others_after):
        return False
    if wanted is None or name not in tools_after:
        return wanted is None and name not in tools_after
    try:
        return parse_tool(name, tools_after[name], base=document.file.parent) == wanted
    except DxError:
        return False


def _old_table(document: Document, name: str) -> Mapping[str, object] | None:
    """The table of the tool that is there now in the form of `to_table`, None if it is wrong."""
    tables = document.data["tools"]
    if not isinstance(tables, dict) or name not in tables:
        return None
    try:
        return to_table(parse_tool(name, tables[name], base=document.file.parent))
    except DxError:
        return None


def _append(text: str, tool: Tool) -> str:
    """The text, then the tool as a table of its own."""
    table = tomlkit.table()
    for key, value in to_table(tool).items():
        table.append(key, _item(value))
    tools = tomlkit.table(is_super_table=True)
    tools.append(tool.name, table)
    written = tomlkit.document()
    written.append("tools", tools)
    if text and not text.endswith("\n"):
        text += _line_end(text)
    return text + _line_end(text) * bool(text) + tomlkit.dumps(written).replace("\n", _line_end(text))


def _put_in_section(document: Document, tool: Tool) -> str:
    """The tool's own lines changed, no others."""
    sections = _sections(document, tool.name)
    first, last = sections[0].first_line - 1, sections[-1].last_line
    if [each for each in document.sections if first < each.first_line <= last] != sections:
        raise ValueError("other tables stand between those of the tool")
    lines = _lines(document.text)
    changed = _put("".join(lines[first:last]), tool, _old_table(document, tool.name))
    changed = changed.replace("\r\n", "\n").replace("\n", _line_end(document.text))
    return "".join(lines[:first]) + changed + "".join(lines[last:])


def _put(text: str, tool: Tool, old: Mapping[str, object] | None) -> str:
    """The tool's table changed key by key, so that comments beside what stays, stay; tomlkit keeps the rest."""
    written = tomlkit.parse(text)
    if "tools" not in written:
        written.append("tools", tomlkit.table(is_super_table=True))
    tools = written["tools"]
    if not isinstance(tools, MutableMapping):
        raise TypeError("tools is no table")
    wanted = to_table(tool)
    if not isinstance(tools.get(tool.name), MutableMapping):
        table: Table | InlineTable = tomlkit.inline_table() if isinstance(tools, InlineTable) else tomlkit.table()
        table.update({key: _item(value) for key, value in wanted.items()})
        tools[tool.name] = table
        return tomlkit.dumps(written)
    there = tools[tool.name]
    for key in [*there]:
        if key not in KEYS or (key not in wanted and (old is None or key in old)):
            del there[key]
    for key, value in wanted.items():
        if old is None or key not in there or old.get(key) != value:
            there[key] = _item(value)
    return tomlkit.dumps(written)


def _cut(document: Document, name: str) -> str:
    """The text without the tool's own lines; the comments between tables stay."""
    lines = _lines(document.text)
    for section in reversed(_sections(document, name)):
        first, last = section.first_line - 1, section.last_line
        while last < len(lines) and not lines[last].strip() and (first == 0 or not lines[first - 1].strip()):
            last += 1  # of the empty lines before and after, only those before are needed
        while last == len(lines) and first and not lines[first - 1].strip():
            first -= 1  # and at the end none
        del lines[first:last]
    return "".join(lines)


def _delete(text: str, name: str) -> str:
    written = tomlkit.parse(text)
    tools = written["tools"]
    if not isinstance(tools, MutableMapping):
        raise TypeError("tools is no table")
    del tools[name]
    return tomlkit.dumps(written)


def _sections(document: Document, name: str) -> list[Section]:
    """The tables with a header that make up the tool; raises `LookupError` if there is none."""
    sections = [each for each in document.sections if each.keys[:2] == ("tools", name)]
    if not sections:
        raise LookupError(name)
    return sections


def _line_end(text: str) -> str:
    first, newline, _ = text.partition("\n")
    return "\r\n" if newline and first.endswith("\r") else "\n"


def _lines(text: str) -> list[str]:
    """The lines with their ends, counted as TOML does: `splitlines` knows ends that TOML does not."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _item(value: object) -> Item:
    """A value for tomlkit; tables within a tool go on one line."""
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update({key: _item(each) for key, each in value.items()})
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend([_item(each) for each in value])
        return array.multiline(multiline=sum(len(str(each)) for each in value) > 90)
    return tomlkit.item(value)
