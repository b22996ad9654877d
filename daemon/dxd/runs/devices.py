"""A tool's devices, looked at before a container is made for them: the engine's own words come late."""

import stat
from collections.abc import Sequence
from pathlib import Path

from dxd.errors import CannotGrant
from dxd.tools.model import Device

_HINT = "the tool's devices name it"


def check(devices: Sequence[Device]) -> None:
    """Raise `CannotGrant` for one that is not there, or is no device."""
    for each in devices:
        try:
            mode = Path(each.source).stat().st_mode
        except OSError as error:
            raise CannotGrant(f"{each.source} cannot be granted: {error.strerror}", _HINT) from None
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
            raise CannotGrant(f"{each.source} cannot be granted: it is no device", _HINT)
