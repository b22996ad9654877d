"""Where the daemon's socket is, as plain strings; `dx.places` documents the rules, and is built on this.

Importing `pathlib` would take a third of the time that a run through Python may take.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class NoHome(ValueError):
    """Neither HOME nor the overrides say where dx may keep things."""


def place(environ: Mapping[str, str], override: str, xdg: str, below_home: str) -> str:
    """One of the directories; raises `NoHome` if the environment does not say enough."""
    if value := environ.get(override):
        return os.path.abspath(value)
    # The XDG specification: a relative path in these variables is to be ignored.
    if (value := environ.get(xdg, "")).startswith("/"):
        return f"{value}/dx"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise NoHome(f"HOME is not set; set it, or {override}")
    return f"{home}/{below_home}/dx"


def state_dir(environ: Mapping[str, str]) -> str:
    """Logs and history."""
    return place(environ, "DX_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def runtime_dir(environ: Mapping[str, str]) -> str:
    """Sockets and locks."""
    if value := environ.get("DX_RUNTIME_DIR"):
        return os.path.abspath(value)
    if (value := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return f"{value}/dx"
    return f"{state_dir(environ)}/run"


def socket(environ: Mapping[str, str]) -> str:
    """The daemon's socket."""
    return f"{runtime_dir(environ)}/dxd.sock"
