"""What an image says of itself in its labels, and what it asks for with that. Pure.

Labels are read when a tool is added, never by a run: what counts is what was written into dx.toml.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import BadDefinition, BadName
from dxd.kit.toml import quote
from dxd.tools.model import DEFAULT_NETWORK, GitAccess, Network, Port, Root, Tool, User
from dxd.tools.names import did_you_mean
from dxd.tools.parse import parse_tool
from dxd.tools.reach import device_text, port_text

PREFIX = "dev.dx."
KEYS = (
    "entrypoint", "commands", "network", "user", "env", "mounts", "paths", "git", "caches", "root", "scratch",
    "scratch_size", "memory", "cpus", "pids", "ulimits", "ports", "devices", "gpus", "share",
    "needs",
)  # fmt: skip
"""Keys of a tool that an image can set. The rest says which image it is, or how to build it."""
OWN = frozenset("instance id key agent image for volume tool path base build builder attempt push".split())
"""What dx itself labels containers, volumes and builds with: no word of the image's author."""

_LISTS = frozenset("commands env mounts caches ports devices share needs".split())
_JSON = frozenset({"cpus", "pids", "ulimits"})
_PATHS = frozenset({"mounts", "caches"})
_SOME_TOOL, _SOME_IMAGE = "tool", "image"


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a tool may do beyond what every tool may."""

    key: str
    """Of the definition."""
    text: str
    """What it is, for the question: `use the host's network`."""


def read_labels(labels: Mapping[str, str]) -> dict[str, object]:
    """The part of a tool's table that the `dev.dx.*` labels make; raises `BadDefinition`, which names the label.

    An empty label says nothing: a Dockerfile can take no label of its base away.
    """
    table: dict[str, object] = {}
    for label in sorted(labels):
        key = label.removeprefix(PREFIX)
        if key == label or key in OWN or not labels[label]:
            continue
        if key not in KEYS:
            raise BadDefinition(f"the label {PREFIX}{key}: unknown key", did_you_mean(key, KEYS) or _known())
        table[key] = _value(key, labels[label])
    check_table(table, f"the label {PREFIX}")
    return table


def taken_back(labels: Mapping[str, str]) -> frozenset[str]:
    """The keys whose labels are empty: what is said of them elsewhere counts for nothing."""
    return frozenset(key for key in KEYS if labels.get(PREFIX + key) == "")


def complete(wanted: Mapping[str, str], base: Mapping[str, str], given: Iterable[str]) -> dict[str, str]:
    """The labels that make an image say what `wanted` says and nothing else, although its base has the labels `base`.

    `given` are the keys that the base says something of. What dx itself noted on the base does not go on to others.
    Raises `BadDefinition` where `wanted` is wrong.
    """
    for label in wanted:
        if label.removeprefix(PREFIX) not in KEYS or not label.startswith(PREFIX):
            raise BadDefinition(f"the label {quote(label)} describes no tool", _known())
    read_labels(wanted)
    spoken = [PREFIX + key for key in given]
    spoken += [each for each in base if each.startswith(PREFIX) and base[each]]
    return {each: "" for each in sorted(spoken) if each not in wanted} | dict(wanted)


def check_table(table: Mapping[str, object], where: str) -> Tool:
    """Some tool with that table; raises `BadDefinition`, its message begins with `where` and the key."""
    for key in _PATHS & table.keys():
        for path in _strings(table[key]):
            if not path.startswith(("/", "~")):
                raise BadDefinition(f"{where}{key}: {quote(path)} is relative", "write it from / or ~ on")
    try:
        return parse_tool(_SOME_TOOL, {"image": _SOME_IMAGE, **table}, base=Path("/"))
    except (BadDefinition, BadName) as error:
        raise BadDefinition(where + error.message, error.hint) from None


def asks(tool: Tool) -> tuple[Ask, ...]:
    """What the tool may do beyond what every tool may, in the order of its keys."""
    found: list[Ask] = []
    if tool.network is Network.HOST:
        found.append(Ask("network", "use the host's network"))
    if tool.network is Network.PROJECT:
        which = "" if tool.network_name == DEFAULT_NETWORK else f" {tool.network_name}"
        found.append(Ask("network", f"be on the network{which} of the compose project around it"))
    if tool.user is not User.ME:
        found.append(Ask("user", "run as root inside" if tool.user is User.ROOT else "run as the image's user"))
    for entry in tool.env:
        name, equals, value = entry.partition("=")
        found.append(Ask("env", f"have {name} set to {quote(value)}" if equals else f"see your variables {name}"))
    for mount in tool.mounts:
        found.append(Ask("mounts", f"{'read' if mount.readonly else 'read and write'} {mount.source}"))
    if tool.git is GitAccess.WRITE:
        found.append(Ask("git", "change hooks and configuration of Git repositories"))
    if tool.root is Root.KEPT:
        found.append(Ask("root", "keep its root from run to run"))
    found += [Ask("ports", f"be reached at {_port(each)}") for each in tool.ports]
    found += [Ask("devices", f"open {device_text(each)}") for each in tool.devices]
    if tool.gpus:
        found.append(Ask("gpus", "use all GPUs" if tool.gpus == ("all",) else f"use the GPUs {' '.join(tool.gpus)}"))
    found += [Ask("share", f"use your {each.value}") for each in tool.share]
    found += [Ask("needs", f"start the service {each}") for each in tool.needs]
    return tuple(found)


def _port(port: Port) -> str:
    return f"port {port_text(port)}"


def _value(key: str, text: str) -> object:
    """Text as it is, or JSON where the key's values are more than a text."""
    if key in _LISTS or key in _JSON or text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise BadDefinition(f"the label {PREFIX}{key}: {quote(text)} is no JSON", _example(key)) from None
        if key in _LISTS and not isinstance(value, list):
            raise BadDefinition(f"the label {PREFIX}{key}: must be a list", _example(key))
        if value is None:
            raise BadDefinition(f"the label {PREFIX}{key}: has no value", "leave the label out")
        return value
    return text


def _example(key: str) -> str:
    if key == "ulimits":
        return 'write it like {"nofile": 1024}'
    return "write a number" if key in _JSON else 'write it like ["one", "two"]'


def _known() -> str:
    return f"known labels: {', '.join(PREFIX + key for key in KEYS)}"


def _strings(value: object) -> list[str]:
    """The paths in a list of mounts or caches; what is no path there is for the parser to refuse."""
    if not isinstance(value, list):
        return []
    paths = [each.get("source") if isinstance(each, dict) else each for each in value]
    return [each for each in paths if isinstance(each, str)]
