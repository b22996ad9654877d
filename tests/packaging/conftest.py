"""A built wheel to look at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build_wheel(source: Path, into: Path, *options: str, **variables: str) -> Path:
    """Build the wheel of the tree `source` as pip does; the path of it."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(into), *options, str(source)],
        env=dict(os.environ, **variables),
        check=True,
        timeout=900,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `pip install .` makes on this machine."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"), "--no-build-isolation")
