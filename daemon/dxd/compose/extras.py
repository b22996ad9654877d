"""`x-dx` of a service: read strictly, every complaint names the key. Pure; raises `BadCompose`."""

from collections.abc import Mapping

from dxd.compose.durations import parse_duration
from dxd.compose.model import Extras, OnChange
from dxd.errors import BadCompose
from dxd.kit.nearest import did_you_mean

KEYS = ("http", "idle", "lazy", "on-change", "ready", "restart-unhealthy", "seed")


def read(value: object, where: str) -> Extras:
    """The extras that stand at `where` (`services.db.x-dx`)."""
    if value is None:
        return Extras()
    if not isinstance(value, Mapping):
        raise BadCompose(f"{where}: must be a mapping", f"its keys are {', '.join(KEYS)}")
    for key in value:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS) or f"known keys: {', '.join(KEYS)}"
            raise BadCompose(f"{where}.{key}: unknown key", hint)
    return Extras(
        http=_port(value.get("http"), f"{where}.http"),
        idle_s=_idle(value.get("idle"), f"{where}.idle"),
        lazy=_flag(value.get("lazy"), f"{where}.lazy", default=False),
        on_change=_on_change(value.get("on-change"), f"{where}.on-change"),
        ready=_test(value.get("ready"), f"{where}.ready"),
        restart_unhealthy=_flag(value.get("restart-unhealthy"), f"{where}.restart-unhealthy", default=True),
        seed=_test(value.get("seed"), f"{where}.seed"),
    )


def _port(value: object, where: str) -> int | None:
    if value is None or value is False:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    raise BadCompose(f"{where}: must be the number of a port", "the one at which it listens in its container")


def _idle(value: object, where: str) -> float | None:
    if value is None or value is False:
        return None
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = 0
        if seconds >= 1:
            return seconds
    raise BadCompose(f"{where}: must be a length of time of a second or more", "write it like 10m or 1h30m")


def _on_change(value: object, where: str) -> OnChange:
    if value is None:
        return OnChange.BUILD
    if isinstance(value, str) and value in list(OnChange):
        return OnChange(value)
    raise BadCompose(f"{where}: must be one of {', '.join(OnChange)}")


def _flag(value: object, where: str, *, default: bool) -> bool:
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    raise BadCompose(f"{where}: must be true or false")


def _test(value: object, where: str) -> tuple[str, ...] | None:
    """A text is for the container's shell, a list is a command; as in `healthcheck.test`, `CMD` may come first."""
    if value is None:
        return None
    if isinstance(value, str) and value.strip():
        return ("CMD-SHELL", value)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        words = tuple(map(str, value))
        if words[0] == "CMD-SHELL" and len(words) == 2:
            return words
        if words[0] == "CMD" and len(words) > 1:
            return words
        if words[0] not in ("CMD", "CMD-SHELL", "NONE"):
            return ("CMD", *words)
    raise BadCompose(f"{where}: must be a command", "write a text for the shell, or a list of words")
