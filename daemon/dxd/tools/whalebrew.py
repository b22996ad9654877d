"""Packages of Whalebrew, as its labels in an image or a package file describe them, turned into tools. Pure.

Read as Whalebrew 0.5 reads them (packages/package.go, run/docker.go of github.com/whalebrew/whalebrew): values are
YAML, every scalar is taken as the text that stands there, keys that it does not know are passed over. What a tool
cannot be told is said in `notes`.
"""

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dxd.errors import BadDefinition
from dxd.kit.toml import quote
from dxd.tools.labels import check_table

PREFIX = "io.whalebrew."
LABELS = (
    "name", "required_version", "config.environment", "config.volumes", "config.volumes_from_args",
    "config.missing_volumes", "config.working_dir", "config.ports", "config.networks", "config.keep_container_user",
)  # fmt: skip
VERSION = (0, 5, 0)
"""Whose labels these are; what a package's `required_version` is held against."""
DEFAULT_WORKING_DIR = "/workdir"

_TRUE = frozenset("y Y yes Yes YES true True TRUE on On ON".split())
_FALSE = frozenset("n N no No NO false False FALSE off Off OFF".split())
"""Words of YAML 1.1."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_BOUND = re.compile(r"(<=|>=|!=|<|>|=|==)?\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", re.ASCII)
_PORT = re.compile(
    r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|\d+(?:\.\d+){3}):)?(?P<host>\d+):(?P<container>\d+)(?:/(?P<protocol>tcp|udp))?",
    re.ASCII,
)
_NETWORKS = {"host": "host", "none": "none", "bridge": "bridge", "default": "bridge"}
_MISSING: Mapping[str, tuple[str, ...]] = {"error": (), "skip": ("skip",), "mount": ("create",)}
"""What `missing_volumes` is to a mount of ours."""
_HERE = frozenset({"$PWD", "${PWD}"})
_ROOTS_OWN = re.compile(r"/\.[^/]+")
"""The place of a file of `HOME` where that is `/`."""


@dataclass(frozen=True, slots=True)
class Package:
    """What is known of a package."""

    table: dict[str, object]
    """Keys of a tool; of a package file, `image` too."""
    notes: tuple[str, ...] = ()
    """What of it cannot be had, a line each."""


@dataclass(frozen=True, slots=True)
class _Config:
    """The values as Whalebrew has them."""

    entrypoint: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    working_dir: str = ""
    keep_container_user: bool = False
    missing_volumes: str = "error"
    required_version: str = ""


def read_labels(labels: Mapping[str, str]) -> Package:
    """The package that an image's labels make, empty where there are none; raises `BadDefinition`, with the label."""
    if not any(each.startswith(PREFIX) for each in labels):
        return Package({})

    def texts(name: str) -> tuple[str, ...]:
        return _texts(_yaml(labels.get(PREFIX + name, ""), PREFIX + name), PREFIX + name)

    def text(name: str) -> str:
        return _label_text(labels.get(PREFIX + name, ""), PREFIX + name)

    texts("config.volumes_from_args")  # held to be right, and granted without being told: see decision 0019
    config = _Config(
        environment=texts("config.environment"),
        volumes=texts("config.volumes"),
        ports=texts("config.ports"),
        networks=texts("config.networks"),
        working_dir=text("config.working_dir"),
        keep_container_user=_truth(text("config.keep_container_user"), PREFIX + "config.keep_container_user"),
        missing_volumes=text("config.missing_volumes") or "error",
        required_version=text("required_version"),
    )
    if config.missing_volumes not in _MISSING:
        raise BadDefinition(
            f"the label {PREFIX}config.missing_volumes: {quote(config.missing_volumes)} is unknown",
            "write error, skip or mount",
        )
    return _package(config, f"the labels {PREFIX}*: ")


def read_file(content: str) -> Package:
    """The package that a package file makes; raises `BadDefinition`, with the key."""
    values = _yaml(content, "the package file")
    if not isinstance(values, dict):
        raise BadDefinition("the package file is no table of YAML", "it should have a line like image: whalebrew/jq")

    def texts(name: str) -> tuple[str, ...]:
        return _texts(values.get(name), name)

    image = _text(values.get("image"), "image")
    if not image:
        raise BadDefinition("the package file names no image", "it should have a line like image: whalebrew/jq")
    skip, mount = (
        _truth(values.get(f"{each}_missing_volumes"), f"{each}_missing_volumes") for each in ("skip", "mount")
    )
    config = _Config(
        entrypoint=texts("entrypoint"),
        environment=texts("environment"),
        volumes=texts("volumes"),
        ports=texts("ports"),
        networks=texts("networks"),
        working_dir=_text(values.get("working_dir", DEFAULT_WORKING_DIR), "working_dir"),
        keep_container_user=_truth(values.get("keep_container_user"), "keep_container_user"),
        missing_volumes="skip" if skip else "mount" if mount else "error",
        required_version=_text(values.get("required_version"), "required_version"),
    )
    package = _package(config, "the package file: ", image=image)
    return replace(package, table={"image": image, **package.table})


@dataclass(slots=True)
class _Making:
    """A table that is being made."""

    table: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, key: str, values: list[str]) -> None:
        if values:
            self.table[key] = list(dict.fromkeys(values))


def _package(config: _Config, where: str, image: str = "image") -> Package:
    _check_version(config.required_version, where)
    making = _Making()
    if config.entrypoint:
        making.table["entrypoint"] = list(config.entrypoint)
    making.put("env", _environment(config, making))
    making.put("mounts", _mounts(config, making))
    making.put("ports", _ports(config, making))
    if config.networks:
        _network(config, making)
    if config.keep_container_user:
        making.table["user"] = "image"
    if making.table.get("network", "bridge") != "bridge" and making.table.pop("ports", None):
        making.notes.append(f"ports have no meaning with the network {making.table['network']}")
    if config.working_dir not in {"", DEFAULT_WORKING_DIR, *_HERE}:
        making.notes.append(f"the current directory keeps its own path, and is not {config.working_dir}")
    check_table({**making.table, "image": image}, where)
    return Package(making.table, tuple(making.notes))


def _environment(config: _Config, making: _Making) -> list[str]:
    """Names to pass, as patterns, and values to set. A package whose files are beside the root has `/` as its home: in
    Whalebrew's containers the user has no entry in passwd, and so that home.
    """
    entries = []
    for each in config.environment:
        name, equals, value = each.partition("=")
        if not equals or (_VARIABLE.fullmatch(value) and value.strip("${}") == name):
            entries.append(re.sub(r"([*?[])", r"[\1]", name))
        elif "$" in value:
            making.notes.append(f"{name} cannot be made of other variables: {value}")
        else:
            entries.append(each)
    targets = [target for each in config.volumes for target in each.split(":")[1:2]]
    if not config.keep_container_user and any(_ROOTS_OWN.fullmatch(each) for each in targets):
        entries.append("HOME=/")
    return entries


def _mounts(config: _Config, making: _Making) -> list[str]:
    mounts = []
    for each in config.volumes:
        parts = [_home(part) for part in each.split(":")]
        if parts[0] in _HERE and parts[0] in parts[1:2]:
            continue  # a run sees its current directory anyway
        options = set(parts.pop().split(",")) if len(parts) == 3 else set()
        if len(parts) != 2 or "$" in each.replace("$HOME", "").replace("${HOME}", ""):
            making.notes.append(f"cannot be mounted: {each}")
        elif not parts[0].startswith(("/", "~")):
            making.notes.append(f"{each} is a volume of the engine: name a directory with --cache {parts[1]}")
        elif not parts[1].startswith(("/", "~")) or os.path.normpath(parts[1]) == "/":
            making.notes.append(f"cannot be mounted: {each}")
        else:
            words = [*["ro"] * ("ro" in options), *_MISSING[config.missing_volumes]]
            mounts.append(":".join((*parts, *[",".join(words)] * bool(words))))
    return mounts


def _home(path: str) -> str:
    """The home directory as a tool writes it."""
    for name in ("$HOME", "${HOME}"):
        if path == name or path.startswith(name + "/"):
            return "~" + path[len(name) :]
    return path


def _ports(config: _Config, making: _Making) -> list[str]:
    """As `docker run -p` has it: without an address, of all."""
    ports = []
    for each in config.ports:
        found = _PORT.fullmatch(each)
        if found is None:
            making.notes.append(f"cannot be published: {each}")
            continue
        protocol = "/udp" if found["protocol"] == "udp" else ""
        ports.append(f"{found['address'] or '0.0.0.0'}:{found['host']}:{found['container']}{protocol}")  # noqa: S104
    return ports


def _network(config: _Config, making: _Making) -> None:
    known = [_NETWORKS[each] for each in config.networks if each in _NETWORKS]
    if known:
        making.table["network"] = known[0]
    others = [each for each in config.networks if each not in _NETWORKS]
    making.notes += [f"the network {each} cannot be joined" for each in others]
    making.notes += [f"only one network can be joined, not {each} as well" for each in known[1:]]


def _check_version(wanted: str, where: str) -> None:
    """Bounds of a version, all of which have to hold, or those of one of the sides of `||`."""
    if not wanted:
        return
    for side in wanted.split("||"):
        bounds = [_BOUND.fullmatch(each) for each in re.findall(r"[<>=!]*\s*[^\s,<>=!]+", side)]
        if not bounds or not all(bounds):
            raise BadDefinition(f"{where}required_version: {quote(wanted)} is no version", "write it like >=0.1.0")
        if all(_holds(each) for each in bounds if each):
            return
    version = ".".join(map(str, VERSION))
    raise BadDefinition(
        f"{where}required_version: it is for Whalebrew {wanted}, and is read as by {version}", "add it with --no-labels"
    )


def _holds(bound: re.Match[str]) -> bool:
    other = tuple(int(each or 0) for each in bound.groups()[1:])
    match bound[1]:
        case "<":
            return other > VERSION
        case "<=":
            return other >= VERSION
        case ">":
            return other < VERSION
        case ">=":
            return other <= VERSION
        case "!=":
            return other != VERSION
        case _:
            return other == VERSION


def _yaml(text: str, where: str) -> Any:
    """The value, of which every scalar is the text that stands there."""
    import yaml  # noqa: PLC0415 - 33 ms that only a daemon which meets such a package spends

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes texts, lists and tables, no objects
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise BadDefinition(
            f"{_place(where)} is no YAML{place}", "mend it, or add the image with --no-labels"
        ) from None


def _texts(value: object, where: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadDefinition(f"{_place(where)}: must be a list of texts", 'write it like ["one", "two"]')
    return tuple(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str | None):
        raise BadDefinition(f"{_place(where)}: must be text")
    return value or ""


def _label_text(content: str, where: str) -> str:
    """The text of a label: what cannot be read as a text of YAML, like `>=0.1.0`, stands for itself."""
    try:
        return _text(_yaml(content, where), where)
    except BadDefinition:
        return content


def _truth(value: object, where: str) -> bool:
    if isinstance(value, str) and value in _TRUE:
        return True
    if value is None or value == "" or (isinstance(value, str) and value in _FALSE):
        return False
    raise BadDefinition(f"{_place(where)}: must be true or false")


def _place(where: str) -> str:
    return f"the label {where}" if where.startswith(PREFIX) else where
