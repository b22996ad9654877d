"""Compose files on disk: which directory's they are, and in which line a key stands.

Compose looks for its files by itself; here is found only where it will find them, so that projects can be told apart.
The lines are a guess by indentation, made only where Compose complains about a key without saying where it stands.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""In the order in which Compose takes the first that is there, as `DefaultFileNames` of compose-go has it."""
OVERRIDES = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)
"""The same of what it reads after that, whatever the first is called: `DefaultOverrideFileNames`."""

_KEY = re.compile(
    r"""^(?P<indent>[ ]*)(?:-[ ]+)?(?P<quote>["']?)(?P<key>[^\s"':#{\[][^"':#]*?)(?P=quote)[ ]*:(?:\s|$)"""
)


def directory_of(cwd: Path, files: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """The directory of the project that `cwd` is in, or that the files are of; None where there is none."""
    try:
        return _directory_of(cwd, files, environ)
    except OSError:  # names that are too long, directories that may not be entered
        return None


def _directory_of(cwd: Path, files: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    if not files and (listed := environ.get("COMPOSE_FILE")):
        files = listed.split(environ.get("COMPOSE_PATH_SEPARATOR") or ":")
    if files:
        first = cwd / files[0]
        return Path(first).parent.resolve() if first.is_file() else None
    for directory in (cwd, *cwd.parents):
        if any((directory / name).is_file() for name in NAMES):
            return directory
        if _names_files(directory / ".env"):
            return directory
    return None


def found_by_compose(directory: Path) -> list[str]:
    """What it reads there if nobody names a file: one, or one and what overrides it; none where there is none."""
    first = next((each for each in NAMES if (directory / each).is_file()), None)
    more = next((each for each in OVERRIDES if (directory / each).is_file()), None)
    return [] if first is None else [first, *([more] if more is not None else [])]


def named_by_variables(directory: Path, environ: Mapping[str, str]) -> bool:
    """Whether variables may name the files there; which ones, Compose knows."""
    return bool(environ.keys() & {"COMPOSE_FILE", "COMPOSE_ENV_FILES"}) or _names_files(directory / ".env")


def is_checkout(directory: Path) -> bool:
    """Whether a repository or a worktree of one begins there that has a project of its own."""
    try:
        return (directory / ".git").exists() and any((directory / name).is_file() for name in NAMES)
    except OSError:  # as for directory_of
        return False


def _names_files(env_file: Path) -> bool:
    try:
        return re.search(r"^[ \t]*(export[ \t]+)?COMPOSE_FILE=", env_file.read_text(), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False


def candidates(directory: Path, files: Sequence[str]) -> list[Path]:
    """The files that a complaint may be about."""
    if files:
        return [directory / each for each in files]
    found = []
    for name in NAMES:
        stem, _, suffix = name.rpartition(".")
        found += [directory / name, directory / f"{stem}.override.{suffix}"]
    return [each for each in found if each.is_file()]


def line_of(keys: Sequence[str], files: Iterable[Path]) -> tuple[Path, int] | None:
    """The file and the line, from 1, where that key or the innermost known one around it stands."""
    best: tuple[int, Path, int] | None = None
    for file in files:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        depth, line = _deepest(text, keys)
        if depth and (best is None or depth > best[0]):
            best = depth, file, line
    return None if best is None else best[1:]


def _deepest(text: str, keys: Sequence[str]) -> tuple[int, int]:
    """How many of the keys are found, one inside the other, and the line of the last of them."""
    path: list[tuple[int, str]] = []
    deepest, at = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        match = _KEY.match(line)
        if not match:
            continue
        indent = len(match["indent"])
        while path and path[-1][0] >= indent:
            path.pop()
        path.append((indent, match["key"]))
        names = [name for _, name in path]
        if names == list(keys[: len(names)]):
            depth = len(names)
            # What follows in braces on the same line has no line of its own.
            rest = line[match.end() :]
            while depth < len(keys) and re.search(rf"[{{,]\s*[\"']?{re.escape(keys[depth])}[\"']?\s*:", rest):
                depth += 1
            if depth > deepest:
                deepest, at = depth, number
    return deepest, at
