"""What an image, or a package, says of the tool that it is meant to be. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from dxd.tools import labels, whalebrew
from dxd.tools.labels import Ask, asks, check_table
from dxd.tools.model import Tool


@dataclass(frozen=True, slots=True)
class Description:
    """Of a tool without a name."""

    tool: Tool
    """Some tool, with all that is said and the defaults of the rest; of an image, its image means nothing."""
    given: tuple[str, ...]
    """The keys that something is said of, in order."""
    asks: tuple[Ask, ...] = ()
    notes: tuple[str, ...] = ()
    """What of it cannot be had, a line each."""


def of_labels(found: Mapping[str, str]) -> Description:
    """What an image's labels say; `dev.dx.*` wins over others. Raises `BadDefinition`, which names the label."""
    package = whalebrew.read_labels(found)
    gone = labels.taken_back(found)
    table = {key: value for key, value in package.table.items() if key not in gone}
    return _describe({**table, **labels.read_labels(found)}, package.notes, "the image's labels: ")


def of_package(content: str) -> Description:
    """What a package file of Whalebrew says; raises `BadDefinition`, which names the key."""
    package = whalebrew.read_file(content)
    return _describe(package.table, package.notes, "the package file: ")


def _describe(table: Mapping[str, object], notes: tuple[str, ...], where: str) -> Description:
    tool = check_table(table, where)
    return Description(tool, tuple(sorted(table)), asks(tool), notes)
