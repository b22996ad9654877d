"""Tools as tables, in dx.toml and over the API, read and written.

`parse_tool` and `to_table` are inverse: what one writes the other reads as an equal `Tool`. Nothing here does I/O.
"""

import math
import os.path
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from dxd.errors import BadDefinition, BadName
from dxd.kit.sizes import format_size
from dxd.kit.toml import BadToml, Spot, quote, table
from dxd.tools import reach, ulimits, values
from dxd.tools.model import (
    DEFAULT_NETWORK,
    Build,
    GitAccess,
    Limits,
    Missing,
    Mount,
    Network,
    OnChange,
    Paths,
    Root,
    Scratch,
    Tool,
    ToolName,
    User,
)
from dxd.tools.names import check_name, did_you_mean, is_image
from dxd.tools.neighbours import network_text, read_needs, read_network

KEYS = (
    "image", "build", "on_change", "smoke", "entrypoint", "commands", "network", "user", "env", "mounts", "paths",
    "git", "caches", "root", "scratch", "scratch_size",
    "memory", "cpus", "pids", "ulimits", "ports", "devices", "gpus", "share", "needs",
)  # fmt: skip
_BUILD_KEYS = ("context", "file", "target", "args", "secrets", "ssh")
_MOUNT_KEYS = ("source", "target", "readonly", "missing")
_MOUNT_WORDS = {"ro", "rw", Missing.SKIP.value, Missing.CREATE.value}

MIN_MEMORY = 6 << 20
"""The engine refuses less (moby, daemon/daemon_unix.go, linuxMinMemory)."""
MIN_SCRATCH = 1 << 20
"""With less, hardly a run begins."""
MAX_CPUS = 8192
MAX_CACHES = 16
_KERNELS = ("/dev", "/proc", "/sys", "/.dx")
MAX_PIDS = 4194304
"""PID_MAX_LIMIT of 64-bit Linux."""

_Choice = TypeVar("_Choice", bound=StrEnum)

_VARIABLE = re.compile(r"[^\s=*?\[\]\0]+")
_SECRET = re.compile(r"[A-Za-z0-9._-]{1,128}")


def parse_tool(name: str, value: object, *, base: Path, spot: Spot | None = None) -> Tool:
    """The tool that the table defines.

    Args:
        name: What the tool shall be called.
        value: A table with `KEYS`; a value that is None counts as missing.
        base: The absolute directory that relative paths are relative to.
        spot: Where the table stands, for the messages.

    Raises:
        BadName: The tool or one of its commands cannot be called that.
        BadDefinition: Something in the table is wrong; the message names the place.
    """
    spot = spot or Spot()
    try:
        return _parse(_name(name, spot), value, base, spot)
    except BadToml as error:
        raise BadDefinition(error.message, error.hint) from None


def to_table(tool: Tool) -> dict[str, object]:
    """The table that defines the tool; what is the default is left out."""
    limits = tool.limits
    every: dict[str, object] = {
        "image": tool.image,
        "build": _build_table(tool.build) if tool.build else None,
        "on_change": None if tool.on_change is OnChange.SERVE else tool.on_change.value,
        "smoke": list(tool.smoke) or None,
        "entrypoint": None if tool.entrypoint is None else list(tool.entrypoint),
        "commands": list(tool.commands) or None,
        "network": None if tool.network is Network.BRIDGE else network_text(tool.network, tool.network_name),
        "user": None if tool.user is User.ME else tool.user.value,
        "env": list(tool.env) or None,
        "mounts": [mount_value(each) for each in tool.mounts] or None,
        "paths": None if tool.paths is Paths.AUTO else tool.paths.value,
        "git": None if tool.git is GitAccess.READ else tool.git.value,
        "caches": list(tool.caches) or None,
        "root": None if tool.root is Root.FRESH else tool.root.value,
        "scratch": None if tool.scratch is Scratch.MEMORY else tool.scratch.value,
        "scratch_size": None if tool.scratch_bytes is None else format_size(tool.scratch_bytes),
        "memory": None if limits.memory_bytes is None else format_size(limits.memory_bytes),
        "cpus": limits.cpus,
        "pids": limits.pids,
        "ulimits": {each.name: ulimits.to_value(each) for each in tool.ulimits} or None,
        "ports": [reach.port_text(each) for each in tool.ports] or None,
        "devices": [reach.device_text(each) for each in tool.devices] or None,
        "gpus": reach.gpus_value(tool.gpus) or None,
        "share": [each.value for each in tool.share] or None,
        "needs": list(tool.needs) or None,
    }
    return {key: value for key, value in every.items() if value is not None}


def mount_value(mount: Mount) -> str | dict[str, object]:
    """`SRC:DST[:ro][,skip]`, or a table where a path has a colon in it."""
    missing = [] if mount.missing is Missing.ERROR else [mount.missing.value]
    if ":" in mount.source or ":" in mount.target:
        found = {"source": mount.source, "target": mount.target, "readonly": mount.readonly}
        return {**found, "missing": missing[0]} if missing else found
    words = [*["ro"] * mount.readonly, *missing]
    return ":".join((mount.source, mount.target, *[",".join(words)] * bool(words)))


def _build_table(build: Build) -> dict[str, object]:
    every: dict[str, object] = {
        "context": str(build.context),
        "file": build.file and str(build.file),
        "target": build.target,
        "args": dict(build.args) or None,
        "secrets": {key: str(file) for key, file in build.secrets} or None,
        "ssh": str(build.ssh) if isinstance(build.ssh, Path) else build.ssh or None,
    }
    return {key: value for key, value in every.items() if value is not None}


def _parse(name: ToolName, value: object, base: Path, spot: Spot) -> Tool:
    given = table(value, KEYS, spot)
    if ("image" in given) == ("build" in given):
        complaint = "has both image and build" if "image" in given else "has neither image nor build"
        raise spot.bad(complaint, "a tool has exactly one of image and build")

    def at(key: str) -> tuple[object, Spot]:
        return given.get(key), spot.at(key)

    def texts(key: str) -> tuple[tuple[str, ...], Spot]:
        value, where = at(key)
        return values.texts([value] if key == "gpus" and isinstance(value, str) else value, where), where

    network, network_name = Network.BRIDGE, DEFAULT_NETWORK
    if "network" in given:
        network, network_name = read_network(values.text(*at("network")), spot.at("network"))
    tool = Tool(
        name=name,
        image=_image(*at("image")) if "image" in given else None,
        build=_build(*at("build"), base) if "build" in given else None,
        on_change=_choice(*at("on_change"), OnChange, "way with changes") if "on_change" in given else OnChange.SERVE,
        smoke=values.texts(*at("smoke")) if "smoke" in given else (),
        entrypoint=_entrypoint(*at("entrypoint")) if "entrypoint" in given else None,
        commands=_commands(*at("commands")) if "commands" in given else (),
        network=network,
        network_name=network_name,
        user=_user(*at("user")) if "user" in given else User.ME,
        env=_env(*at("env")) if "env" in given else (),
        mounts=_mounts(*at("mounts"), base) if "mounts" in given else (),
        paths=_choice(*at("paths"), Paths, "setting of paths") if "paths" in given else Paths.AUTO,
        git=_choice(*at("git"), GitAccess, "setting of git") if "git" in given else GitAccess.READ,
        caches=_caches(*at("caches")) if "caches" in given else (),
        root=_choice(*at("root"), Root, "kind of root") if "root" in given else Root.FRESH,
        scratch=_choice(*at("scratch"), Scratch, "place for a scratch layer") if "scratch" in given else Scratch.MEMORY,
        scratch_bytes=values.size(*at("scratch_size"), MIN_SCRATCH) if "scratch_size" in given else None,
        limits=Limits(
            memory_bytes=_memory(*at("memory")) if "memory" in given else None,
            cpus=_cpus(*at("cpus")) if "cpus" in given else None,
            pids=values.whole(*at("pids"), 1, MAX_PIDS) if "pids" in given else None,
        ),
        ulimits=ulimits.read_ulimits(*at("ulimits")) if "ulimits" in given else (),
        ports=reach.read_ports(*texts("ports")) if "ports" in given else (),
        devices=reach.read_devices(*texts("devices")) if "devices" in given else (),
        gpus=reach.read_gpus(*texts("gpus")) if "gpus" in given else (),
        share=reach.read_share(*texts("share")) if "share" in given else (),
        needs=read_needs(*texts("needs")) if "needs" in given else (),
    )
    if tool.build is None and (tool.smoke or tool.on_change is not OnChange.SERVE):
        raise spot.at("smoke" if tool.smoke else "on_change").bad(
            "belongs to a build", "leave it out, or give the tool a build in place of its image"
        )
    if tool.root is Root.KEPT and (tool.scratch is Scratch.DISK or tool.scratch_bytes is not None):
        raise spot.at("root").bad("is kept, and so has no scratch layer", "leave scratch and scratch_size out")
    if tool.scratch is Scratch.DISK and tool.scratch_bytes is not None:
        raise spot.at("scratch_size").bad("holds in memory only", "on disk a run has as much room as the engine's disk")
    reach.check_ports(tool.ports, tool.network, spot.at("ports"))
    return tool


def _name(text: str, spot: Spot) -> ToolName:
    try:
        return check_name(text)
    except BadName as error:
        raise BadName(f"{spot}: {error.message}" if str(spot) else error.message, error.hint) from None


def _image(value: object, spot: Spot) -> str:
    text = values.text(value, spot)
    if not is_image(text):
        raise spot.bad(f"{quote(text)} cannot refer to an image", "write it like jq, team/jq:1.7 or host:5000/team/jq")
    return text


def _build(value: object, spot: Spot, base: Path) -> Build:
    given = table({"context": value} if isinstance(value, str) else value, _BUILD_KEYS, spot)
    if "context" not in given:
        raise spot.bad("has no context", "context is the directory to build from")
    args, secrets = given.get("args", {}), given.get("secrets", {})
    if not isinstance(args, dict):
        raise spot.at("args").bad("must be a table of texts")
    if not isinstance(secrets, dict):
        raise spot.at("secrets").bad("must be a table of files", 'by id: { npmrc = "~/.npmrc" }')
    return Build(
        context=Path(values.path(given["context"], spot.at("context"), base)),
        file=Path(values.path(given["file"], spot.at("file"), base)) if "file" in given else None,
        target=values.word(given["target"], spot.at("target")) if "target" in given else None,
        args=tuple(sorted(_build_arg(key, each, spot.at("args", key)) for key, each in args.items())),
        secrets=tuple(sorted(_secret(key, each, spot.at("secrets", key), base) for key, each in secrets.items())),
        ssh=_ssh(given.get("ssh", False), spot.at("ssh"), base),
    )


def _ssh(value: object, spot: Spot, base: Path) -> Path | bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise spot.bad("must be true, or the path of an agent's socket or of a key")
    return Path(values.path(value, spot, base))


def _secret(key: str, value: object, spot: Spot, base: Path) -> tuple[str, Path]:
    if not _SECRET.fullmatch(key):
        raise spot.bad("cannot be the id of a secret", "it has up to 128 of A-Z a-z 0-9 . _ -")
    return key, Path(values.path(value, spot, base))


def _build_arg(key: str, value: object, spot: Spot) -> tuple[str, str]:
    if not _VARIABLE.fullmatch(key):
        raise spot.bad("cannot be the name of a build argument")
    if isinstance(value, bool | int | float):
        raise spot.bad("must be text", f'write it in quotes: "{value}"')
    return key, values.text(value, spot)


def _entrypoint(value: object, spot: Spot) -> tuple[str, ...]:
    """A list is the words; a text is split into words as a shell does, as Compose has it; empty is no entrypoint."""
    if not isinstance(value, str):
        return values.texts(value, spot)
    try:
        return tuple(shlex.split(values.text(value, spot)))
    except ValueError:
        raise spot.bad(f"{quote(value)} has a quotation without end", "write it as a list of words") from None


def _commands(value: object, spot: Spot) -> tuple[str, ...]:
    names = tuple(_name(each, spot.at(index)) for index, each in enumerate(values.texts(value, spot)))
    for index, name in enumerate(names):
        if name in names[:index]:
            raise spot.at(index).bad(f"{name} is there twice")
    return names


def _choice(value: object, spot: Spot, choices: type[_Choice], what: str) -> _Choice:
    text = values.text(value, spot)
    try:
        return choices(text)
    except ValueError:
        known = [each.value for each in choices]
        hint = did_you_mean(text, known) or f"write one of {', '.join(known)}"
        raise spot.bad(f"{quote(text)} is no {what}", hint) from None


def _user(value: object, spot: Spot) -> User:
    text = values.text(value, spot)
    try:
        return User(text)
    except ValueError:
        hint = 'write "me", "root" or "image"; for a user of your own choice, build an image with that USER'
        raise spot.bad(f"{quote(text)} is no user", hint) from None


def _env(value: object, spot: Spot) -> tuple[str, ...]:
    entries = values.texts(value, spot)
    for index, entry in enumerate(entries):
        name, equals, _ = entry.partition("=")
        if equals and not _VARIABLE.fullmatch(name):
            complaint = f"{quote(name)} cannot be the name of a variable"
            raise spot.at(index).bad(complaint, "write NAME=VALUE, or a pattern like LC_* without a value")
        if not equals and (not name or any(c.isspace() for c in name)):
            raise spot.at(index).bad(f"{quote(name)} is no pattern of names", "write it like AWS_* or TOKEN")
    return entries


def _mounts(value: object, spot: Spot, base: Path) -> tuple[Mount, ...]:
    if not isinstance(value, list | tuple):
        raise spot.bad("must be a list", 'write it like ["~/data:/data:ro"]')
    mounts = tuple(_mount(each, spot.at(index), base) for index, each in enumerate(value))
    targets = [each.target for each in mounts]
    for index, target in enumerate(targets):
        if target in targets[:index]:
            raise spot.at(index).bad(f"{quote(target)} is mounted twice")
    return mounts


def _mount(value: object, spot: Spot, base: Path) -> Mount:
    if isinstance(value, dict):
        given = table(value, _MOUNT_KEYS, spot)
        if "source" not in given:
            raise spot.bad("has no source")
        source = values.path(given["source"], spot.at("source"), base)
        readonly = given.get("readonly", False)
        if not isinstance(readonly, bool):
            raise spot.at("readonly").bad("must be true or false")
        target = given.get("target", source)
        missing = _choice(given.get("missing", Missing.ERROR.value), spot.at("missing"), Missing, "way to go on")
        return Mount(source, _target(target, spot.at("target")), readonly, missing)
    parts = values.text(value, spot).split(":")
    words = parts.pop().split(",") if len(parts) > 1 and _MOUNT_WORDS.issuperset(parts[-1].split(",")) else []
    if len(parts) > 2:
        hint = "write SRC[:DST][:ro], or a table with source, target and readonly where a path has a colon in it"
        raise spot.bad(f"{quote(str(value))} has too many colons", hint)
    source = values.path(parts[0], spot, base)
    missing = next((each for each in (Missing.SKIP, Missing.CREATE) if each.value in words), Missing.ERROR)
    return Mount(source, _target(parts[1], spot) if len(parts) > 1 else source, "ro" in words, missing)


def _caches(value: object, spot: Spot) -> tuple[str, ...]:
    texts = values.texts(value, spot)
    if len(texts) > MAX_CACHES:
        raise spot.bad(f"has more than {MAX_CACHES} directories", "name one above several of them")
    paths = tuple(_target(each, spot.at(index)) for index, each in enumerate(texts))
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise spot.at(index).bad(f"{quote(path)} is there twice")
        if any(path == each or path.startswith(each + "/") for each in _KERNELS):
            raise spot.at(index).bad(f"{quote(path)} is the kernel's", "name a directory of files")
    return paths


def _target(value: object, spot: Spot) -> str:
    text = values.text(value, spot)
    path = os.path.normpath(values.expanded(text, spot))
    if not path.startswith("/"):
        raise spot.bad(f"{quote(text)} is no absolute path", "where to mount starts with / or ~")
    path = "/" + path.lstrip("/")  # POSIX lets normpath keep two slashes
    if path == "/":
        raise spot.bad("nothing can be mounted over the root", "name a directory below /")
    return path


def _memory(value: object, spot: Spot) -> int:
    return values.size(value, spot, MIN_MEMORY, ", or the engine refuses it")


def _cpus(value: object, spot: Spot) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise spot.bad("must be a number", "write it like 1.5")
    if not math.isfinite(value) or not 0.01 <= value <= MAX_CPUS:
        raise spot.bad(f"must be from 0.01 to {MAX_CPUS}")
    return float(value)
