"""Where dx keeps things, for the client and the daemon alike (client/launcher/places.c is the same in C).

The XDG base directories, each with an override of ours. Nothing is created here. Every start of the command line
imports this, so it does without dataclasses, which bring `inspect` and 8 ms along.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dx.launcher.places import NoHome, place, runtime_dir, state_dir

__all__ = ["NoHome", "Places"]


class Places(NamedTuple):
    """Absolute directories of one user's dx."""

    config_dir: Path
    """Holds dx.toml. `$DX_CONFIG_DIR`, else `$XDG_CONFIG_HOME/dx`, else `~/.config/dx`."""

    state_dir: Path
    """Logs and history. `$DX_STATE_DIR`, else `$XDG_STATE_HOME/dx`, else `~/.local/state/dx`."""

    data_dir: Path
    """Shims. `$DX_DATA_DIR`, else `$XDG_DATA_HOME/dx`, else `~/.local/share/dx`."""

    runtime_dir: Path
    """Sockets and locks. `$DX_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/dx`, else `run` in the state directory; never
    in /tmp."""

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "Places":
        """Work the places out of an environment; raises `NoHome` if it does not say enough."""
        state = Path(state_dir(environ))  # the first, for what it says where there is no HOME
        return cls(
            config_dir=Path(place(environ, "DX_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")),
            state_dir=state,
            data_dir=Path(place(environ, "DX_DATA_DIR", "XDG_DATA_HOME", ".local/share")),
            runtime_dir=Path(runtime_dir(environ)),
        )

    @property
    def socket(self) -> Path:
        """The daemon's socket."""
        return self.runtime_dir / "dxd.sock"

    @property
    def tools_file(self) -> Path:
        """The user's definitions."""
        return self.config_dir / "dx.toml"

    @property
    def shims_dir(self) -> Path:
        """One symlink per command, to the launcher."""
        return self.data_dir / "shims"

    @property
    def log_file(self) -> Path:
        """What a daemon writes that was started by a client."""
        return self.state_dir / "dxd.log"
