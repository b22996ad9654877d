"""What stands in compose files where dx does not read it, so that nothing of it is ignored in silence. Pure."""

from collections.abc import Iterator, Mapping

from dxd.errors import BadCompose

KNOWN = frozenset("name version services networks volumes configs secrets models include".split())
"""Keys of a file that dx reads, or that mean something only where a service names it, which Compose sees to."""
_OF_FILE = ("networks", "volumes", "configs", "secrets", "models")
_OF_SERVICE = ("build", "deploy", "develop", "healthcheck", "logging")


def refuse_misplaced(written: Mapping[str, object]) -> None:
    """Raise `BadCompose` where `x-dx` stands anywhere but in a service; of the document without interpolation."""
    for where, table in _tables(written):
        if "x-dx" in table:
            raise BadCompose(
                f"{where}x-dx: only a service can have it", "move it there; what several share can stand in x-shared"
            )


def warnings(resolved: Mapping[str, object]) -> list[str]:
    """Of keys that mean something to Compose and nothing to dx."""
    return [
        f"{key}: dx does not look after these, and leaves them to Docker Compose"
        for key in resolved
        if key not in KNOWN and not key.startswith("x-")
    ]


def _tables(written: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    yield "", written
    for kind in _OF_FILE:
        for name, table in _named(written.get(kind)):
            yield f"{kind}.{name}.", table
    for service, table in _named(written.get("services")):
        for key, each in _named(table):
            if key in _OF_SERVICE:
                yield f"services.{service}.{key}.", each


def _named(value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name, each in value.items() if isinstance(value, Mapping) else ():
        if isinstance(each, Mapping):
            yield str(name), each
