"""The systemd units, as systemd itself reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units, to be changed at will."""
    return Path(shutil.copytree(UNITS, tmp_path / "units"))


def verify(*units: Path) -> str:
    """What systemd finds wrong with user units; "" is nothing. It only warns of a key it does not know."""
    directory = units[0].parent
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *map(str, units)],
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stderr or "failed" * bool(done.returncode)


def test_systemd_accepts_the_units(units: Path) -> None:
    assert verify(units / "dx.service", units / "dx.socket") == ""


def test_systemd_would_say_what_is_wrong(units: Path) -> None:
    service = units / "dx.service"
    service.write_text(service.read_text().replace("KillMode=process", "KillMod=process"))
    assert "KillMod" in verify(service)
