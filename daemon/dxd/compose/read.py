"""Compose's JSON as a `Project`; pure. What does not look as expected is `BadCompose`, which names the place.

Two documents make one: the resolved one has every value as it will be, and the one without interpolation has what
Compose leaves out of the first: `x-dx`, services of other profiles, and which variables are referred to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from dxd.compose import doors, extras
from dxd.compose.durations import parse_duration
from dxd.compose.model import (
    Condition,
    Dependency,
    Extras,
    Healthcheck,
    Port,
    Project,
    ProjectName,
    Restart,
    RestartKind,
    Service,
    ServiceName,
    Watch,
)
from dxd.errors import BadCompose

Table = Mapping[str, object]

_OF_DEPLOY = {"none": RestartKind.NO, "any": RestartKind.ALWAYS}
_AROUND = ("networks", "volumes", "secrets", "configs", "models")
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


def project(resolved: Table, plain: Table, variables: Iterable[str]) -> Project:
    """The project of `config`, of `config --no-interpolate` with every profile, and of `config --variables`."""
    services = _table(resolved.get("services"), "services")
    written = _table(plain.get("services"), "services")
    by_name = {
        ServiceName(name): service(
            ServiceName(name), _table(each, f"services.{name}"), _extras(name, written), resolved
        )
        for name, each in services.items()
    }
    inactive = {
        ServiceName(name): _words(_table(each, f"services.{name}").get("profiles"))
        for name, each in written.items()
        if name not in services
    }
    for each in by_name.values():
        doors.check(each)
    needs = frozenset([*variables, *_passed_on(plain, resolved)])
    volumes = {
        name: str(_mapping(each).get("name") or name)
        for name, each in _table(resolved.get("volumes"), "volumes").items()
    }
    around = {key: each for key, each in resolved.items() if key in _AROUND}
    name = ProjectName(str(resolved.get("name") or ""))
    return Project(name, by_name, inactive, needs, volumes=volumes, around=around)


def service(name: ServiceName, table: Table, own: Extras, document: Table) -> Service:
    """One service of the resolved document."""
    where = f"services.{name}"
    image, build, command = table.get("image"), table.get("build"), table.get("command")
    deploy = _table(table.get("deploy"), f"{where}.deploy")
    provider = _table(table.get("provider"), f"{where}.provider")
    scale = table.get("scale", deploy.get("replicas", 1))
    grace = table.get("stop_grace_period")
    environment = _table(table.get("environment"), f"{where}.environment")
    return Service(
        name=name,
        image=None if image is None else str(image),
        build=None if build is None else _table(build, f"{where}.build"),
        command=None if command is None else _words(command),
        environment={key: str(value) for key, value in environment.items() if value is not None},
        depends_on=_dependencies(table.get("depends_on"), f"{where}.depends_on"),
        healthcheck=_healthcheck(table.get("healthcheck"), f"{where}.healthcheck"),
        restart=_restart(table.get("restart"), deploy, where),
        ports=tuple(_port(each, f"{where}.ports") for each in _list(table.get("ports"))),
        networks=tuple(_table(table.get("networks"), f"{where}.networks")),
        volumes=tuple(
            str(each["source"])
            for each in map(_mapping, _list(table.get("volumes")))
            if each.get("type") == "volume" and each.get("source")
        ),
        profiles=_words(table.get("profiles")),
        stop_grace_s=10.0 if grace is None else _seconds(grace, f"{where}.stop_grace_period"),
        stop_signal=None if table.get("stop_signal") is None else str(table["stop_signal"]),
        replicas=scale if isinstance(scale, int) else 1,
        watch=_watch(table.get("develop"), f"{where}.develop"),
        provider=str(provider["type"]) if "type" in provider else None,
        by_compose=_by_compose(table, document),
        extras=own,
        raw=table,
    )


def _extras(name: str, written: Table) -> Extras:
    where = f"services.{name}.x-dx"
    value = _mapping(written.get(name)).get("x-dx")
    for text in _texts(value):
        if "$" in text.replace("$$", ""):
            raise BadCompose(
                f"{where}: values of x-dx are not interpolated", "write them out, and $$ for a $ of the shell"
            )
    return extras.read(_unescaped(value), where)


def _unescaped(value: object) -> object:
    """With `$` for what Compose writes as `$$`."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _unescaped(each) for key, each in value.items()}
    return [_unescaped(each) for each in value] if isinstance(value, list) else value


def _dependencies(value: object, where: str) -> tuple[Dependency, ...]:
    found = []
    for name, each in _table(value, where).items():
        table = _table(each, f"{where}.{name}")
        condition = str(table.get("condition", Condition.STARTED))
        try:
            known = Condition(condition)
        except ValueError:
            raise BadCompose(f"{where}.{name}.condition: {condition!r} is not known", "see: dx help compose") from None
        required, restart = table.get("required", True), table.get("restart", False)
        found.append(Dependency(ServiceName(name), known, required=bool(required), restart=bool(restart)))
    return tuple(found)


def _healthcheck(value: object, where: str) -> Healthcheck | None:
    if value is None:
        return None
    table = _table(value, where)
    if table.get("disable"):
        return Healthcheck(("NONE",))
    test, interval, timeout = table.get("test"), table.get("interval"), table.get("timeout")
    return Healthcheck(
        test=None if test is None else ("CMD-SHELL", test) if isinstance(test, str) else _words(test),
        interval_s=None if interval is None else _seconds(interval, f"{where}.interval"),
        timeout_s=None if timeout is None else _seconds(timeout, f"{where}.timeout"),
    )


def _restart(value: object, deploy: Table, where: str) -> Restart:
    """What stands under `deploy` counts where there is both, as for Compose; its delay and window do for neither."""
    policy = deploy.get("restart_policy")
    if policy is None:
        kind, _, most = str(value or "").partition(":")
        where = f"{where}.restart"
    else:
        policy = _mapping(policy)
        value = str(policy.get("condition") or "")
        kind = _OF_DEPLOY.get(value, value)
        most = str(policy.get("max_attempts") or "")
        where = f"{where}.deploy.restart_policy.condition"
    try:
        # None at all is no limit for the engine, and so is 0.
        return Restart(RestartKind(kind), int(most or 0) or None)
    except ValueError:
        raise BadCompose(f"{where}: {value!r} is not known") from None


def _port(value: object, where: str) -> Port:
    table = _table(value, where)
    target = table.get("target")
    if not isinstance(target, int):
        raise BadCompose(f"{where}: a port has no target")
    return Port(
        target=target,
        published=str(table.get("published") or ""),
        host_ip=str(table.get("host_ip") or ""),
        protocol=str(table.get("protocol") or "tcp"),
    )


def _watch(value: object, where: str) -> tuple[Watch, ...]:
    rules = [_table(each, f"{where}.watch") for each in _list(_table(value, where).get("watch"))]
    return tuple(_rule(each, _mapping(each.get("exec"))) for each in rules)


def _rule(table: Table, run: Table) -> Watch:
    return Watch(
        path=str(table.get("path") or ""),
        action=str(table.get("action") or ""),
        target=str(table.get("target") or ""),
        ignore=_words(table.get("ignore")),
        include=_words(table.get("include")),
        initial_sync=table.get("initial_sync") is True,
        command=_words(run.get("command")),
        user=str(run.get("user") or ""),
        working_dir=str(run.get("working_dir") or ""),
        environment=tuple(
            f"{key}={each}" for key, each in _mapping(run.get("environment")).items() if each is not None
        ),
        privileged=run.get("privileged") is True,
    )


def _by_compose(table: Table, document: Table) -> bool:
    """Whether Compose does more at its start or stop than to ask the engine for it."""
    if table.get("pre_start") or table.get("post_start") or table.get("pre_stop"):
        return True
    for kind in ("configs", "secrets"):
        defined = _mapping(document.get(kind))
        for each in map(_mapping, _list(table.get(kind))):
            # Others are files of the host, which are mounted when the container is made.
            if {"content", "environment"} & _mapping(defined.get(str(each.get("source")))).keys():
                return True
    return False


def _passed_on(plain: Table, resolved: Table) -> Iterator[str]:
    """Variables that are handed on by their name alone."""
    written = _mapping(plain.get("services"))
    for each in map(_mapping, written.values()):
        yield from _without_value(each.get("environment"))
    for name, found in _mapping(resolved.get("services")).items():
        # Compose leaves these out where it does not interpolate.
        named = _mapping(_mapping(_mapping(written.get(name)).get("build")).get("args"))
        yield from _mapping(_mapping(_mapping(found).get("build")).get("args")).keys() - named.keys()
    for kind in ("configs", "secrets"):
        for each in map(_mapping, _mapping(plain.get(kind)).values()):
            if isinstance(variable := each.get("environment"), str):
                yield variable


def yaml_table(text: str) -> Table:
    """A document that Compose has printed as YAML."""
    import yaml  # noqa: PLC0415 - few projects need it

    return _table(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), "the file")  # noqa: S506 - safe ones, both


def references(text: str) -> set[str]:
    """The variables that an env file refers to."""
    return set(_REFERENCE.findall(text))


def _without_value(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(key) for key, each in value.items() if each is None)
    elif isinstance(value, list):
        yield from (each for each in value if isinstance(each, str) and "=" not in each)


def _seconds(value: object, where: str) -> float:
    try:
        return parse_duration(str(value))
    except ValueError:
        raise BadCompose(f"{where}: {value!r} is not a length of time", "write it like 30s or 1m30s") from None


def _table(value: object, where: str) -> Table:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadCompose(f"{where}: not as Compose writes it", "update Docker Compose, or dx")
    return cast("Table", value)


def _mapping(value: object) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _words(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, _list(value)))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
