"""What becomes of a tool's definition when its image is replaced by one that says something else of itself. Pure.

The definition in dx.toml is what was allowed. A key that still is as the image before had it, or the default where that
said nothing, follows what the new image says; a key that the user has set otherwise stays theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import BadDefinition
from dxd.tools import description
from dxd.tools.labels import KEYS, Ask, asks
from dxd.tools.model import Tool
from dxd.tools.parse import parse_tool, to_table


@dataclass(frozen=True, slots=True)
class Takeover:
    """The tool with the new image."""

    tool: Tool
    changed: tuple[str, ...] = ()
    """The keys that are not as they were."""
    asks: tuple[Ask, ...] = ()
    """What it may do beyond what every tool may, and has not been allowed yet."""


def takeover(tool: Tool, before: Mapping[str, str], after: Mapping[str, str]) -> Takeover:
    """From the labels of both images; raises `BadDefinition` where the new ones are wrong, or do not fit the rest."""
    new = to_table(description.of_labels(after).tool)
    try:
        old = to_table(description.of_labels(before).tool)
    except BadDefinition:  # the tool was made without them
        return Takeover(tool)
    mine = to_table(tool)
    changed = tuple(key for key in KEYS if mine.get(key) == old.get(key) != new.get(key))
    if not changed:
        return Takeover(tool)
    table = {key: value for key, value in mine.items() if key not in changed}
    table |= {key: new[key] for key in changed if key in new}
    taken = parse_tool(tool.name, table, base=Path("/"))
    allowed = {each.text for each in asks(tool)}
    return Takeover(taken, changed, tuple(each for each in asks(taken) if each.text not in allowed))
