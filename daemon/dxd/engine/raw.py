"""Between our values and the JSON of the Engine API, both ways; pure.

What does not look as the API says raises `LookupError`, `TypeError` or `ValueError`, which the connection translates.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from dxd.engine.model import (
    BoundPort,
    Check,
    Container,
    ContainerId,
    ContainerSpec,
    ContainerStatus,
    ExecId,
    Health,
    HeldImage,
    Image,
    ImageId,
    Inspected,
    Printing,
    Published,
    Volume,
    VolumeSpec,
    VolumeUser,
)
from dxd.kit.sizes import parse_size


def image(raw: Mapping[str, Any]) -> Image:
    """`GET /images/{name}/json`."""
    config = raw.get("Config") or {}
    return Image(
        id=ImageId(_with_algorithm(raw["Id"])),
        architecture=str(raw.get("Architecture") or ""),
        os=str(raw.get("Os") or ""),
        entrypoint=_words(config.get("Entrypoint")),
        command=_words(config.get("Cmd")),
        env=_words(config.get("Env")),
        working_dir=str(config.get("WorkingDir") or ""),
        user=str(config.get("User") or ""),
        labels=dict(config.get("Labels") or {}),
        size_bytes=int(raw.get("Size") or 0),
        digests=_words(raw.get("RepoDigests")),
    )


def held_image(raw: Mapping[str, Any]) -> HeldImage:
    """An entry of `GET /images/json`."""
    return HeldImage(
        id=ImageId(_with_algorithm(raw["Id"])),
        tags=tuple(each for each in raw.get("RepoTags") or () if each != "<none>:<none>"),
        labels=dict(raw.get("Labels") or {}),
        size_bytes=int(raw.get("Size") or 0),
        created_at=datetime.fromtimestamp(raw.get("Created") or 0, UTC),
        digests=tuple(each for each in raw.get("RepoDigests") or () if each != "<none>@<none>"),
    )


CONTAINER_KEYS = ("Id", "Labels", "State", "ImageID", "Created")


def container(raw: Mapping[str, Any]) -> Container:
    """An entry of `GET /containers/json`."""
    return Container(
        id=ContainerId(raw["Id"]),
        labels=dict(raw.get("Labels") or {}),
        running=raw["State"] == "running",
        image=ImageId(_with_algorithm(raw["ImageID"])),
        created_at=datetime.fromtimestamp(raw["Created"], UTC),
    )


def printing(raw: Mapping[str, Any]) -> Printing:
    """Of `GET /containers/{id}/json`."""
    state, log = raw["State"], raw["HostConfig"].get("LogConfig") or {}
    driver, options = str(log.get("Type") or ""), log.get("Config") or {}
    # What the driver `local` has where nothing is said.
    size, files = options.get("max-size"), options.get("max-file")
    kept: int | None = None
    if driver == "local" or size:
        kept = parse_size(str(size or "20m")) * int(files or (5 if driver == "local" else 1))
    return Printing(
        running=bool(state.get("Running") or state.get("Restarting")),
        tty=bool(raw["Config"].get("Tty")),
        driver=driver,
        kept_bytes=kept,
    )


PUBLISHED_KEYS = ("Id", "Names", "Labels", "Ports")


def published(raw: Mapping[str, Any]) -> list[Published]:
    """The ports in an entry of `GET /containers/json`."""
    return [
        Published(
            address=str(port.get("IP") or ""),
            port=int(port["PublicPort"]),
            protocol=str(port["Type"]),
            container=ContainerId(raw["Id"]),
            name=str((raw.get("Names") or ["/"])[0]).removeprefix("/"),
            labels=dict(raw.get("Labels") or {}),
        )
        for port in raw.get("Ports") or ()
        if port.get("PublicPort")
    ]


NEVER = "0001-01-01T00:00:00Z"
"""What Go has for no time at all."""
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
CHECK_S = 30.0
"""The engine's own interval and timeout of a health check."""


def inspected(raw: Mapping[str, Any]) -> Inspected:
    """`GET /containers/{id}/json`."""
    state, config, host = raw["State"], raw.get("Config") or {}, raw.get("HostConfig") or {}
    health = state.get("Health") or {}
    last = (health.get("Log") or [{}])[-1]
    started = str(state.get("StartedAt") or "")
    return Inspected(
        id=ContainerId(raw["Id"]),
        name=str(raw.get("Name") or "").removeprefix("/"),
        image=str(config.get("Image") or ""),
        labels=dict(config.get("Labels") or {}),
        status=ContainerStatus(state["Status"]),
        exit_code=int(state.get("ExitCode") or 0),
        error=str(state.get("Error") or ""),
        oom_killed=bool(state.get("OOMKilled")),
        started_at="" if started == NEVER else started,
        health=Health(health.get("Status") or Health.NONE),
        health_output=str(last.get("Output") or "").strip() if last.get("ExitCode") else "",
        last_test=str(last.get("Start") or ""),
        check=_check(config.get("Healthcheck") or {}),
        restart=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        ports=_bound((raw.get("NetworkSettings") or {}).get("Ports") or {}),
        env=_words(config.get("Env")),
        shell=_words(config.get("Shell")) or ("/bin/sh", "-c"),
        image_id=ImageId(_with_algorithm(str(raw.get("Image") or ""))),
        anonymous=tuple(str(each.get("Destination")) for each in raw.get("Mounts") or () if _is_anonymous(each)),
        mounts=frozenset(
            (str(each.get("Name") or each.get("Source") or ""), str(each.get("Destination")))
            for each in raw.get("Mounts") or ()
            if not _is_anonymous(each)
        ),
        addresses=_addresses((raw.get("NetworkSettings") or {}).get("Networks") or {}),
        published=frozenset(_fixed(host.get("PortBindings") or {})),
        execs=tuple(ExecId(str(each)) for each in raw.get("ExecIDs") or ()),
    )


def program(raw: Mapping[str, Any]) -> tuple[str, ...] | None:
    """`GET /exec/{id}/json`: the words of a program that runs; None of one that has ended."""
    if not raw["Running"]:
        return None
    process = raw["ProcessConfig"]
    return (str(process["entrypoint"]), *_words(process.get("arguments")))


def clock_ns(raw: Mapping[str, Any]) -> int:
    """`GET /info`: the engine's own time, since 1970; to the microsecond."""
    return round(datetime.fromisoformat(str(raw["SystemTime"])).timestamp() * 10**6) * 1000


def _is_anonymous(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume" and _ANONYMOUS.fullmatch(str(mount.get("Name") or "")) is not None


def _check(raw: Mapping[str, Any]) -> Check | None:
    test = _words(raw.get("Test"))
    if len(test) < 2 or test[0] == "NONE":
        return None
    interval, timeout, start = (int(raw.get(key) or 0) / 1e9 for key in ("Interval", "Timeout", "StartPeriod"))
    return Check(test, interval or CHECK_S, timeout or CHECK_S, start)


def _bound(raw: Mapping[str, Any]) -> tuple[BoundPort, ...]:
    found = []
    for key, bindings in raw.items():
        target, _, protocol = key.partition("/")
        for each in bindings or ():
            found.append(BoundPort(int(target), protocol or "tcp", str(each["HostIp"]), int(each["HostPort"])))
    return tuple(found)


def _fixed(raw: Mapping[str, Any]) -> Iterator[int]:
    for key, bindings in raw.items():
        for each in bindings or ():
            if not key.endswith("/udp") and (port := str(each.get("HostPort") or "")).isdigit() and int(port):
                yield int(port)


def _addresses(raw: Mapping[str, Any]) -> dict[str, str]:
    every = {name: str((each or {}).get("IPAddress") or "") for name, each in raw.items()}
    return {name: address for name, address in every.items() if address}


def volume(raw: Mapping[str, Any]) -> Volume:
    """An entry of `GET /volumes`."""
    return Volume(name=str(raw["Name"]), labels=dict(raw.get("Labels") or {}))


def volume_user(raw: Mapping[str, Any]) -> VolumeUser:
    """An entry of `GET /containers/json`."""
    return VolumeUser(
        name=str((raw.get("Names") or ["/"])[0]).removeprefix("/"),
        state=str(raw["State"]),
        labels=dict(raw.get("Labels") or {}),
    )


def container_config(spec: ContainerSpec, *, json_file: bool) -> dict[str, Any]:
    """The body of `POST /containers/create`; `json_file` says whether the engine has that log driver."""
    host: dict[str, Any] = {
        "NetworkMode": spec.network,
        # An engine that starts again removes the others, running or not, and the runs in them: 20.10 with live-restore.
        "AutoRemove": False,
        # A mount, unlike a bind, is refused where its source is missing, instead of making a directory there.
        "Mounts": [
            *({"Type": "bind", "Source": source, "Target": target, "ReadOnly": True} for source, target in spec.binds),
            *map(_volume_mount, spec.volumes),
            *({"Type": "volume", "Target": target} for target in spec.anonymous),
            *({"Type": "bind", "Source": source, "Target": target} for source, target in spec.writable),
        ],
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.capabilities),
        "SecurityOpt": ["apparmor=unconfined"] if spec.apparmor_unconfined else [],
    }
    if json_file:
        # The agent prints next to nothing; what a fault makes it print must not fill the disk.
        host["LogConfig"] = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}}
    if spec.memory_bytes is not None:
        host["Memory"] = spec.memory_bytes
    if spec.cpus is not None:
        host["NanoCpus"] = round(spec.cpus * 1e9)
    if spec.pids is not None:
        host["PidsLimit"] = spec.pids
    if spec.devices:
        host["Devices"] = [
            {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}
            for source, target, mode in spec.devices
        ]
    if spec.gpus:
        which = {"Count": -1} if spec.gpus == ("all",) else {"DeviceIDs": list(spec.gpus)}
        host["DeviceRequests"] = [{**which, "Capabilities": [["gpu"]]}]
    config: dict[str, Any] = {
        "Image": spec.image,
        "User": "0:0",
        "Entrypoint": list(spec.entrypoint),
        "Cmd": [],
        "WorkingDir": "/",
        "Labels": dict(spec.labels),
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "OpenStdin": False,
        "Tty": False,
        "HostConfig": host,
    }
    if spec.hostname is not None:
        config["Hostname"] = spec.hostname
    if spec.ports:
        bindings: dict[str, list[dict[str, str]]] = {}
        for port in spec.ports:
            bindings.setdefault(f"{port.container}/{port.protocol}", []).append(
                {"HostIp": port.address, "HostPort": str(port.host)}
            )
        host["PortBindings"] = bindings
        config["ExposedPorts"] = {each: {} for each in bindings}
    return config


def _volume_mount(spec: VolumeSpec) -> dict[str, Any]:
    options = {"NoCopy": True, "Labels": dict(spec.labels)}
    mount = {"Type": "volume", "Source": spec.name, "Target": spec.target, "VolumeOptions": options}
    return mount | ({"ReadOnly": True} if spec.read_only else {})


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        raise TypeError("a string where a list of them should be")
    return tuple(map(str, value))


def _with_algorithm(image_id: str) -> str:
    """Podman leaves `sha256:` away."""
    return image_id if ":" in image_id else f"sha256:{image_id}"
