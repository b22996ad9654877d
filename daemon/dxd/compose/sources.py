"""Which files a project is read from, as far as a look at them shows: those that are watched.

Compose itself does not say. `include` and `extends` are followed where their paths are written out. A file that is
missing is among them, since it may come; one that is broken leads nowhere further.
"""

from collections.abc import Iterator
from pathlib import Path

from dxd.compose import files
from dxd.compose.model import Project, Source

MAX_FILES = 200


def of(source: Source, project: Project) -> tuple[Path, ...]:
    """Absolute paths, env files among them. Blocks for a few small files."""
    found = dict.fromkeys(written(source))
    found[source.directory / ".env"] = None
    for listed in filter(None, source.environ.get("COMPOSE_ENV_FILES", "").split(",")):
        found[source.directory / listed] = None
    return tuple(found | dict.fromkeys(map(Path, project.env_files)))


def written(source: Source) -> tuple[Path, ...]:
    """Absolute paths of the compose files alone. Blocks for a few small files."""
    given = source.files or tuple(filter(None, source.environ.get("COMPOSE_FILE", "").split(":")))
    found: dict[Path, None] = dict.fromkeys(source.directory / each for each in given)
    if not given:
        for name in files.NAMES:
            stem, _, suffix = name.rpartition(".")
            found |= dict.fromkeys((source.directory / name, source.directory / f"{stem}.override.{suffix}"))
    pending = [*found]
    while pending and len(found) < MAX_FILES:
        for each in _led_to(pending.pop()):
            if each not in found:
                found[each] = None
                pending.append(each)
    return tuple(found)


def variables(source: Source) -> tuple[Path, ...]:
    """Absolute paths of the env files of what is included, by which its own variables are replaced. Blocks likewise."""
    found: dict[Path, None] = {}
    for file in written(source):
        for table in _included(_document(file)):
            paths = _texts(table.get("path"))
            beside = [str(Path(each).parent) for each in paths[:1]]
            directories = _texts(table.get("project_directory")) or beside
            listed = _texts(table.get("env_file")) or [f"{each}/.env" for each in directories]
            found |= dict.fromkeys(file.parent / each for each in listed)
    return tuple(found)


def _led_to(file: Path) -> Iterator[Path]:
    """The files that one names in `include` and `extends`."""
    document = _document(file)
    for table in _included(document):
        for path in _texts(table.get("path")):
            yield file.parent / path
    services = document.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        extends = service.get("extends") if isinstance(service, dict) else None
        for path in _texts(extends.get("file") if isinstance(extends, dict) else None):
            yield file.parent / path


def _document(file: Path) -> dict[str, object]:
    """What stands there; nothing where that is no compose file."""
    import yaml  # noqa: PLC0415 - few projects change while the daemon runs

    try:
        document = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones, both
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _included(document: dict[str, object]) -> list[dict[str, object]]:
    """The entries of `include`, in their long form."""
    entries = document.get("include")
    every = entries if isinstance(entries, list) else []
    return [each if isinstance(each, dict) else {"path": each} for each in every]


def _texts(value: object) -> list[str]:
    """One or several paths, as far as they are written out and of this machine."""
    every = value if isinstance(value, list) else [value]
    return [each for each in every if isinstance(each, str) and "$" not in each and "://" not in each]
