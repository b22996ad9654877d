"""A tool's definition from the arguments of `dx add`: paths made absolute, sizes written in one way.

What is wrong is a `UsageError` here only where the daemon could not say it as well.
"""

import os
import re
import shlex
from pathlib import Path
from typing import Literal

from dx.answers import Build, Definition, Tool
from dx.cli.verb import Namespace, UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_UNITS = "bkmgtp"
_PORT = re.compile(r"(?:(\[[^\]]*\]|\d+(?:\.\d+){3}):)?(\d+)(?::(\d+))?(?:/(tcp|udp))?", re.ASCII)
_MOUNT_WORDS = {"ro", "rw", "skip", "create"}
_OF_BUILD = ("file", "target", "arg", "secret", "ssh", "on_change", "smoke")
AGENT = "default"
"""The word for the SSH agent that there is, as `docker build --ssh` has it."""
SHARE = ("ssh-agent", "x11", "wayland")

DEFAULTS: Definition = {
    "image": None,
    "build": None,
    "on_change": "serve",
    "smoke": [],
    "entrypoint": None,
    "commands": [],
    "network": "bridge",
    "user": "me",
    "env": [],
    "mounts": [],
    "paths": "auto",
    "git": "read",
    "caches": [],
    "root": "fresh",
    "scratch": "memory",
    "scratch_size": None,
    "memory": None,
    "cpus": None,
    "pids": None,
    "ulimits": {},
    "ports": [],
    "devices": [],
    "gpus": None,
    "share": [],
    "needs": [],
}
"""What the daemon takes for what is left out."""


def definition(given: Namespace, said: Definition | None = None) -> Definition:
    """The definition that the arguments ask for, complete; raises `UsageError`.

    `said` is what the image says of itself: it holds where the arguments say nothing, and nothing that they exclude.
    """
    if given.image is None and given.build is None:
        raise UsageError("give either an IMAGE or --build DIR")
    if given.image is not None and given.build is not None:
        raise UsageError("IMAGE and --build exclude each other")
    if given.build is None and any(getattr(given, each) for each in _OF_BUILD):
        options = ", ".join(f"--{each}".replace("_", "-") for each in _OF_BUILD)
        raise UsageError(f"{options} belong to --build")
    wanted = _given(given)
    if said:
        excluded = {
            gone
            for key, values, keys in _EXCLUDES
            if key in wanted and (not values or wanted[key] in values)  # type: ignore[literal-required]
            for gone in keys
        }
        wanted = {**{key: value for key, value in said.items() if key not in excluded}, **wanted}  # type: ignore[typeddict-item]
    return {**DEFAULTS, **wanted}


_EXCLUDES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("network", ("none", "host"), ("ports",)),
    ("root", ("kept",), ("scratch", "scratch_size")),
    ("scratch", ("memory",), ("root",)),
    ("scratch", ("disk",), ("root", "scratch_size")),
    ("scratch_size", (), ("root", "scratch")),
)
"""A key with one of these values, or any where there are none: with that in the arguments, the last keys of what an
image says have no meaning."""


def _given(given: Namespace) -> Definition:
    """The keys that the arguments say something of."""
    every: Definition = {
        "image": given.image,
        "build": _build(given) if given.build is not None else None,
        "on_change": given.on_change,
        "smoke": _words(given.smoke) if given.smoke is not None else [],
        "commands": given.command,
        "network": given.network,
        "user": given.user,
        "env": given.env,
        "mounts": [_mount(each) for each in given.mount],
        "paths": given.paths,
        "git": given.git,
        "caches": [_inside("--cache", each) for each in given.cache],
        "root": given.root,
        "scratch": given.scratch,
        "scratch_size": _size("--scratch-size", given.scratch_size) if given.scratch_size is not None else None,
        "memory": _size("--memory", given.memory) if given.memory is not None else None,
        "cpus": given.cpus,
        "pids": given.pids,
        "ulimits": dict(_ulimit(each) for each in given.ulimit),
        "ports": [_port(each) for each in given.port],
        "devices": [_device(each) for each in given.device],
        "gpus": _gpus(given.gpus),
        "share": [each for each in SHARE if each in given.share],
        "needs": given.need,
    }
    said: Definition = {key: value for key, value in every.items() if value not in (None, [], {})}  # type: ignore[assignment]
    if given.entrypoint is not None:
        said["entrypoint"] = _words(given.entrypoint)  # empty says something, too
    return said


def differences(old: Tool, new: Definition) -> list[str]:
    """The keys in which a tool is not what it would be."""
    return [key for key in DEFAULTS if old.get(key) != new.get(key)]


def definition_of(tool: Tool) -> Definition:
    """The definition that a tool has, to put it back."""
    return {
        "image": tool["image"],
        "build": tool["build"],
        "on_change": tool["on_change"],
        "smoke": tool["smoke"],
        "entrypoint": tool["entrypoint"],
        "commands": tool["commands"],
        "network": tool["network"],
        "user": tool["user"],
        "env": tool["env"],
        "mounts": tool["mounts"],
        "paths": tool["paths"],
        "git": tool["git"],
        "caches": tool["caches"],
        "root": tool["root"],
        "scratch": tool["scratch"],
        "scratch_size": tool["scratch_size"],
        "memory": tool["memory"],
        "cpus": tool["cpus"],
        "pids": tool["pids"],
        "ulimits": tool["ulimits"],
        "ports": tool["ports"],
        "devices": tool["devices"],
        "gpus": tool["gpus"],
        "share": tool["share"],
        "needs": tool["needs"],
    }


def _build(given: Namespace) -> Build:
    context = Path(absolute(given.build))
    if not context.is_dir():
        raise UsageError(f"--build: {given.build} is no directory")
    file = _dockerfile(given.file, context)
    return {
        "context": str(context),
        "file": file,
        "target": given.target,
        "args": _args(given.arg),
        "secrets": dict(sorted(_secret(each) for each in given.secret)),
        "ssh": given.ssh == AGENT or (absolute(given.ssh) if given.ssh else False),
    }


def _secret(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not name or not equals or not file:
        raise UsageError(f"--secret {text}: write it as ID=FILE")
    return name, absolute(file)


def _dockerfile(file: str | None, context: Path) -> str | None:
    """The Dockerfile, which is looked for from here and then in the context; the context's own is None."""
    own = context / "Dockerfile"
    if file is None:
        if not own.is_file():
            raise UsageError(f"there is no Dockerfile in {context}; name another one with --file")
        return None
    for path in (Path(absolute(file)), Path(os.path.normpath(context / file))):
        if path.is_file():
            return None if path == own else str(path)
    raise UsageError(f"--file: there is no file {file}, neither here nor in {context}")


def _args(given: list[str]) -> dict[str, str]:
    """K=V, or K alone for the value that the variable K has here."""
    args = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name:
            raise UsageError(f"--arg {each}: write it as NAME=VALUE")
        if not equals and name not in os.environ:
            raise UsageError(f"--arg {each}: there is no variable {name} here; write it as NAME=VALUE")
        args[name] = value if equals else os.environ[name]
    return dict(sorted(args.items()))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise UsageError(f"--entrypoint: {text} has a quotation without end") from None


def _mount(text: str) -> str:
    """SRC[:DST][:ro] as SRC:DST[:ro]; the last may be several words, with commas."""
    parts = text.split(":")
    words = parts.pop().split(",") if len(parts) > 1 and _MOUNT_WORDS.issuperset(parts[-1].split(",")) else []
    words = [each for each in words if each != "rw"]
    if len(parts) > 2 or not all(parts):
        raise UsageError(f"--mount {text}: write it as SRC[:DST][:ro]; for paths with colons use dx edit")
    source = absolute(parts[0])
    target = os.path.normpath(Path(parts[1]).expanduser()) if len(parts) > 1 else source
    return ":".join((source, target, *[",".join(words)] * bool(words)))


def _ulimit(text: str) -> tuple[str, int | str]:
    """NAME=LIMIT; what a limit can be the daemon knows."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--ulimit {text}: write it as NAME=LIMIT, like nofile=1024 or nproc=100:200")
    return name, int(value) if value.isascii() and value.isdigit() else value


def _inside(option: str, path: str) -> str:
    """An absolute path in a run's root; `~` is the home directory, which has the same path there."""
    target = os.path.normpath(Path(path).expanduser())
    if not target.startswith("/"):
        raise UsageError(f"{option} {path}: write it from / or ~ on; it is a directory in the tool's root")
    return target


def _port(text: str) -> str:
    """As the daemon writes it: both ports, and neither 127.0.0.1 nor tcp."""
    found = _PORT.fullmatch(text)
    if not found:
        return text  # the daemon says what is wrong
    address, host, container, protocol = found.groups()
    before = f"{address}:" if address and address != "127.0.0.1" else ""
    return f"{before}{host}:{container or host}" + ("/udp" if protocol == "udp" else "")


def _device(text: str) -> str:
    """As the daemon writes it: no second path that is the first, and no rw."""
    parts = text.removesuffix(":rw").split(":")
    return ":".join(parts[:1] + parts[2:]) if len(parts) > 1 and parts[0] == parts[1] else ":".join(parts)


def _gpus(text: str | None) -> Literal["all"] | list[str] | None:
    if text is None:
        return None
    return "all" if text == "all" else [each.strip() for each in text.split(",")]


def absolute(path: str) -> str:
    """The path from the root, without `.` and `..`; `~` is the home directory."""
    return os.path.abspath(Path(path).expanduser())


def _size(option: str, text: str) -> str:
    """The size as the daemon writes it, so that equal sizes are equal texts: in the largest unit that divides it."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{option}: {text} is not a size; write it like 512m or 2g")
    number, unit = match.groups()
    whole, _, fraction = number.partition(".")
    factor = 1024 ** _UNITS.index(unit.lower() or "b")
    size = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    power = 0
    while size and size % 1024 == 0 and power < len(_UNITS) - 1:
        size, power = size // 1024, power + 1
    return f"{size}{_UNITS[power]}"
