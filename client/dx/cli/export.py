"""`dx export`: a tool's definition as the labels with which an image describes itself."""

import json
from pathlib import Path

from dx.answers import Mount, Tool
from dx.cli import link, screen
from dx.cli.definition import DEFAULTS
from dx.cli.verb import Namespace, Parser, Verb

PREFIX = "dev.dx."
KEYS = (
    "entrypoint", "commands", "network", "user", "env", "mounts", "paths", "git", "caches", "root", "scratch",
    "scratch_size", "memory", "cpus", "pids", "ulimits", "ports", "devices", "gpus", "share",
    "needs",
)  # fmt: skip
"""As the daemon reads them."""


def labels(tool: Tool, home: str) -> tuple[dict[str, str], list[str]]:
    """The labels of what is not the default, and the mounts that are left out: those of this machine's own paths.

    What is below the home directory is written with `~`, which is everybody's own.
    """
    found: dict[str, str] = {}
    mounts = [_portable(each, home) for each in tool["mounts"]]
    left_out = [screen.clean(_source(each)) for each, to in zip(tool["mounts"], mounts, strict=True) if to is None]
    values = {
        **tool,
        "mounts": [each for each in mounts if each is not None],
        "caches": [_tilde(each, home) for each in tool["caches"]],
    }
    for key in KEYS:
        value = values[key]
        if value != DEFAULTS.get(key):
            found[PREFIX + key] = value if isinstance(value, str) else json.dumps(value)
    return found, left_out


def fragment(found: dict[str, str], left_out: list[str]) -> str:
    """Lines of a Dockerfile."""
    lines = [f"LABEL {key}={_quoted(value)}" for key, value in found.items()]
    lines += [f"# without a mount of this machine: {each}" for each in left_out]
    return "".join(f"{line}\n" for line in lines)


def export(given: Namespace) -> int:
    """Print the lines."""
    tool = link.client().tool(given.name, cwd=link.here())
    lines = fragment(*labels(tool, str(Path.home())))
    if lines:
        print(lines, end="")
    else:
        screen.say(f"{given.name} has nothing but defaults, so there are no labels")
    if names := [each.partition("=")[0] for each in tool["env"] if "=" in each]:
        screen.say(f"dx: whoever has the image can read the value of {', '.join(names)}")
    return 0


def _portable(mount: str | Mount, home: str) -> str | Mount | None:
    """The mount for any machine, if there is such a thing."""
    if isinstance(mount, str):
        source, target, *mode = mount.split(":")
        source = _tilde(source, home)
        return ":".join((source, _tilde(target, home), *mode)) if source.startswith("~") else None
    source, target = _tilde(mount["source"], home), _tilde(mount["target"], home)
    if not source.startswith("~"):
        return None
    return {**mount, "source": source, "target": target}


def _source(mount: str | Mount) -> str:
    return mount.partition(":")[0] if isinstance(mount, str) else mount["source"]


def _tilde(path: str, home: str) -> str:
    if home != "/" and (path == home or path.startswith(home + "/")):
        return "~" + path[len(home) :]
    return path


def _quoted(text: str) -> str:
    """A word of a Dockerfile, in which nothing is expanded."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the tool")


VERBS = (
    Verb(
        name="export",
        summary="Print a tool's definition as labels for a Dockerfile",
        act=export,
        arguments=_arguments,
        description=(
            "With these lines at its end an image describes itself: `dx add NAME IMAGE` gets commands, entrypoint and\n"
            "all else from it. Paths of this machine are left out; those below your home directory are written with ~."
        ),
        examples="dx export gcc >> Dockerfile",
    ),
)
