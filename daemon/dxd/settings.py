"""The daemon's settings: table `[daemon]` of the user's dx.toml, read once at its start.

A setting that is missing has its default; one that is wrong, or unknown, is `BadDefinition` and never a default.
"""

from dataclasses import dataclass, fields
from pathlib import Path

from dxd.errors import BadDefinition
from dxd.kit import atomic, toml
from dxd.kit.sizes import parse_size

MAX_FILE_BYTES = 4 << 20
"""A dx.toml that is larger than this is not read; ten thousand tools are about 2 MiB."""

_WEEK_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user may set; each key is the field's name."""

    idle_s: float = 1800.0
    """Seconds that a warm container is kept after its last run; 0 ends it at once. A new one costs 0.2 s."""

    max_warm: int = 20
    """Warm containers at most, 4 MiB of memory each; past that the one unused for longest goes."""

    scratch_bytes: int = 0
    """What one run may write to its root, in memory; a number or `512m`. 0 is the kernel's own limit for a tmpfs: half
    of the machine's memory."""

    engine_deadline_s: float = 10.0
    """Seconds after which an engine that does not answer counts as hung."""

    build_limit_s: float = 1800.0
    """Seconds that a build may take, from sending its context on; then it has failed, and is ended in the engine."""

    keep_builds: int = 5
    """Builds of each tool that are kept to go back to, the one in use among them; as many logs of failed ones."""

    keep_days: float = 14.0
    """Days after which a build that is not in use goes, though it is among the latest."""

    log_bytes: int = 30_000_000
    """Of what each service printed, on the disk, the latest is kept, compressed; a number or `30m`. That is some ten
    times as much of text."""

    names_port: int = 7355
    """Where HTTP services with `http` in `x-dx` have their names, `http://SERVICE.PROJECT.localhost:7355`. As long as
    there is none nobody listens there. 80 is for root, or takes `sysctl net.ipv4.ip_unprivileged_port_start=80`."""

    drain_s: float = 10.0
    """Seconds that a stopping daemon waits for leases being worked out. It does not wait for runs, they go on."""


_LIMITS: dict[str, tuple[float, float]] = {
    "idle_s": (0, _WEEK_S),
    "max_warm": (1, 10_000),
    "scratch_bytes": (0, 2**63 - 1),
    "engine_deadline_s": (0.1, 3600),
    "build_limit_s": (1, _WEEK_S),
    "keep_builds": (0, 1000),
    "keep_days": (0, 3650),
    "log_bytes": (1 << 19, 1 << 40),
    "names_port": (1, 65535),
    "drain_s": (0, 3600),
}


_SIZES = ("scratch_bytes", "log_bytes")


def load(file: Path) -> Settings:
    """Read the settings from the user's dx.toml; without the file they are the defaults. Raises `BadDefinition`."""
    try:
        content, _ = atomic.read(file, limit_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise BadDefinition(f"{file}: cannot be read: {error.strerror}") from None
    try:
        document = toml.parse(content, file)
    except toml.BadToml as error:
        raise BadDefinition(error.message, error.hint) from None
    return read(document)


def read(document: toml.Document) -> Settings:
    """The settings that a dx.toml holds; raises `BadDefinition`."""
    try:
        return _read(document.data.get("daemon", {}), toml.Spot(document, ("daemon",)))
    except toml.BadToml as error:
        raise BadDefinition(error.message, error.hint) from None


def _read(value: object, spot: toml.Spot) -> Settings:
    defaults = Settings()
    given = toml.table(value, [each.name for each in fields(Settings)], spot)
    read = {key: _number(key, each, getattr(defaults, key), spot.at(key)) for key, each in given.items()}
    return Settings(**read)  # type: ignore[arg-type]  # _number gives each the type of its default


def _number(key: str, value: object, default: float, spot: toml.Spot) -> float:
    low, high = _LIMITS[key]
    if key in _SIZES and isinstance(value, str):
        text = value
        try:
            value = parse_size(text)
        except ValueError:
            raise spot.bad(f"{toml.quote(text)} is not a size", "write it like 512m or 2g") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise spot.bad("must be a number")
    if isinstance(default, int) and not isinstance(value, int):
        raise spot.bad("must be a whole number")
    if not low <= value <= high:  # false for NaN as well
        raise spot.bad(f"must be from {low:g} to {high:g}")
    return type(default)(value)
