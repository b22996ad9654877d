"""Where the engine may be found, in the order in which to try; nothing is connected here.

DOCKER_HOST, then the current context of Docker's command line, then the usual sockets: the order of that command line.
"""

import errno
import grp
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dxd.errors import EngineDown

SYSTEM_SOCKETS = ("/var/run/docker.sock",)
PODMAN_SOCKETS = ("/run/podman/podman.sock",)
START_HINT = "install Docker or start it (`sudo systemctl start docker`), or set DOCKER_HOST"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket on this machine."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An engine that speaks plain HTTP."""

    host: str
    port: int


def find_address(environ: Mapping[str, str], home: Path) -> list[str]:
    """Addresses to try, like `unix:///var/run/docker.sock`, the first that answers being the engine.

    One address where the user chose one. Raises `EngineDown` where the chosen context cannot be read.
    """
    if host := environ.get("DOCKER_HOST"):
        return [host]
    if context := _context_host(environ, config_dir(environ, home)):
        return [context]
    paths = list(SYSTEM_SOCKETS)
    if (runtime := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        paths += [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"]
    return [f"unix://{path}" for path in (*paths, *PODMAN_SOCKETS)]


def config_dir(environ: Mapping[str, str], home: Path) -> Path:
    """Where Docker's command line keeps its contexts and logins."""
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker")


def read_config(directory: Path) -> dict[str, Any]:
    """Docker's config.json; empty where it is missing or broken, as the command line has it."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _context_host(environ: Mapping[str, str], config: Path) -> str | None:
    """The address of the current context; None for the default one."""
    name, chosen_by = environ.get("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
    if not name:
        name, chosen_by = read_config(config).get("currentContext"), str(config / "config.json")
    if not isinstance(name, str) or name in ("", "default"):
        return None
    file = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        host = json.loads(file.read_bytes())["Endpoints"]["docker"]["Host"]
    except FileNotFoundError:
        reason = "does not exist"
    except (OSError, ValueError, LookupError, TypeError):
        reason = f"cannot be read from {file}"
    else:
        if isinstance(host, str) and host:
            return host
        reason = f"names no engine in {file}"
    raise EngineDown(
        f"the Docker context {name!r}, chosen by {chosen_by}, {reason}",
        "choose another with `docker context use`, or set DOCKER_HOST",
    )


def parse(address: str, environ: Mapping[str, str]) -> UnixAddress | TcpAddress:
    """Take an address apart; raises `EngineDown` for one that dx cannot reach."""
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return UnixAddress(rest)
    if scheme in ("tcp", "http"):
        if environ.get("DOCKER_TLS_VERIFY"):
            raise EngineDown(
                f"the engine at {address} wants TLS, which dx does not speak",
                "unset DOCKER_TLS_VERIFY and point DOCKER_HOST to the socket of an engine on this machine",
            )
        try:
            parts = urlsplit(f"tcp://{rest}")
            if parts.hostname:
                return TcpAddress(parts.hostname, parts.port or 2375)
        except ValueError:
            pass  # no port number: refused below
    if scheme == "ssh":
        raise EngineDown(
            f"dx cannot use an engine over ssh ({address}): its runs need an engine on this machine",
            "run dx on that machine, or point DOCKER_HOST to a local socket",
        )
    raise EngineDown(
        f"{address!r} is no address of an engine that dx can use", "write it like unix:///var/run/docker.sock"
    )


def explain(tried: Sequence[tuple[str, OSError]]) -> EngineDown:
    """Say why none of the addresses that were tried answered; the likeliest to be mended comes first."""
    for address, error in tried:
        if error.errno in (errno.EACCES, errno.EPERM):
            return EngineDown(f"no access to the engine's socket {_short(address)}", _access_hint(_short(address)))
    for address, error in tried:
        if error.errno != errno.ENOENT:
            reason = (error.strerror or str(error)).lower()
            return EngineDown(f"the engine does not run: nobody answers at {_short(address)} ({reason})", START_HINT)
    places = ", ".join(_short(address) for address, _ in tried)
    return EngineDown(f"no container engine found: there is no {places}", START_HINT)


def _short(address: str) -> str:
    return address.removeprefix("unix://")


def _access_hint(path: str) -> str:
    """What lets the user in: the socket's group, if it has one of its own."""
    try:
        status = os.stat(path)  # noqa: PTH116 - beside a path that came as text
        group = grp.getgrgid(status.st_gid).gr_name if status.st_gid and status.st_mode & 0o060 == 0o060 else ""
    except (OSError, KeyError):
        group = ""
    if group:
        return f"join the group that may use it (`sudo usermod -aG {group} $USER`), then log in again"
    return "ask for access to it, or set DOCKER_HOST to an engine of your own"
