"""The real `docker buildx`, for those tests that are to have it."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "build/buildx/docker-buildx"
"""Where `./dev test` has put it."""


WITHOUT = {"DX_BUILDX": "0"}
"""Variables of a user who has it not, whatever the machine has."""


def with_buildx(directory: Path) -> dict[str, str]:
    """Variables of a user who has it, in that directory."""
    plugins = directory / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(PROGRAM)
    return {"DOCKER_CONFIG": str(plugins.parent), "DX_BUILDX": "1"}


@pytest.fixture
def buildx(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a user who has the plugin."""
    return os.environ | with_buildx(tmp_path)
