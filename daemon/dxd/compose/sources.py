"""Which files a project is read from: those that are watched, and where values of its services come from.

Compose itself does not say, and nothing at all while a file is broken; so its rules for finding files are followed
here: variables in paths, `include` with env files and directories of its own, `extends`. A file that is missing is
among them, since it may come; one that is broken leads nowhere further. Blocks for a few small files.
"""

import hashlib
import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dxd.compose import dotenv, files
from dxd.compose.model import Project, Source

MAX_FILES = 200


@dataclass(slots=True)
class Found:
    """Absolute paths, each once."""

    written: dict[Path, None] = field(default_factory=dict)
    """The compose files."""
    values: dict[Path, None] = field(default_factory=dict)
    """Env files: those whose variables compose files may refer to, and those of services."""
    others: dict[Path, None] = field(default_factory=dict)
    """What else Compose reads: `label_file`."""


def of(source: Source, project: Project) -> tuple[Path, ...]:
    """All that is read."""
    found = find(source)
    return tuple(found.written | found.values | found.others | dict.fromkeys(map(Path, project.env_files)))


def digest(files: Sequence[Path]) -> str:
    """Of the contents of files; one that cannot be read has none."""
    whole = hashlib.sha256()
    for file in files:
        try:
            content = b"+" + file.read_bytes()
        except OSError:
            content = b"-"
        whole.update(
            b"%d:%b%d:%b" % (len(str(file)), str(file).encode(errors="surrogateescape"), len(content), content)
        )
    return whole.hexdigest()


def find(source: Source) -> Found:
    """All that is read, as far as the files say so now."""
    found = Found()
    directory = source.directory
    environ = {"PWD": str(directory), **source.environ}
    listed = [each for each in environ.get("COMPOSE_ENV_FILES", "").split(",") if each]
    for each in listed or [".env"]:
        environ = _with(directory / each, environ, found)
    separator = environ.get("COMPOSE_PATH_SEPARATOR") or ":"
    given = source.files or tuple(filter(None, environ.get("COMPOSE_FILE", "").split(separator)))
    base = (directory / given[0]).parent if given else directory
    if not listed and base != directory:
        environ = _with(base / ".env", environ, found)
    for name in given or (*files.NAMES, *files.OVERRIDES):
        _follow(directory / name, base, environ, found)
    return found


def _with(file: Path, environ: Mapping[str, str], found: Found) -> dict[str, str]:
    """The environment with what an env file adds to it."""
    found.values[file] = None
    return {**dotenv.read(_text(file), environ), **environ}


def _follow(file: Path, base: Path, environ: Mapping[str, str], found: Found) -> None:
    """Take in a compose file whose relative paths begin at `base`, with those that it leads to."""
    if file in found.written or len(found.written) >= MAX_FILES:
        return
    found.written[file] = None
    for document in _documents(_text(file)):
        for each in _list(document.get("include")):
            _include(each if isinstance(each, dict) else {"path": each}, base, environ, found)
        services = document.get("services")
        for service in services.values() if isinstance(services, dict) else ():
            if isinstance(service, dict):
                found.values |= dict.fromkeys(_paths(service.get("env_file"), base, environ))
                found.others |= dict.fromkeys(_paths(service.get("label_file"), base, environ))
                extends = service.get("extends")
                for path in _paths(extends.get("file") if isinstance(extends, dict) else None, base, environ):
                    _follow(path, path.parent, environ, found)


def _include(entry: Mapping[str, Any], base: Path, environ: Mapping[str, str], found: Found) -> None:
    paths = [*_paths(entry.get("path"), base, environ)]
    if not paths:
        return
    directory = next(_paths(entry.get("project_directory"), base, environ), paths[0].parent)
    for each in [*_paths(entry.get("env_file"), base, environ)] or [directory / ".env"]:
        environ = _with(each, environ, found)
    for each in paths:
        _follow(each, directory, environ, found)


def _paths(value: object, base: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Of a path, or a list of paths or of mappings that have one; those that are elsewhere are left out."""
    for each in _list(value):
        path = each.get("path") if isinstance(each, dict) else each
        if isinstance(path, str):
            path = dotenv.interpolated(path, environ)
            if path and "://" not in path and not path.startswith("git@"):
                yield Path(os.path.normpath(base / path))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _documents(text: str) -> list[dict[str, Any]]:
    """What a YAML file says; tags of Compose's own, as `!override`, say nothing here."""
    import yaml  # noqa: PLC0415 - few projects change while the daemon runs

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """A safe one, to which an unknown tag is no error."""

    def untagged(loader: Any, _: str, node: Any) -> object:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", untagged)
    try:
        return [each for each in yaml.load_all(text, Loader=Loader) if isinstance(each, dict)]
    except yaml.YAMLError:
        return []
