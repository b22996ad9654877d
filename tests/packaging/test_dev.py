"""`./dev` and the tree it works on."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

Dev = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def dev(tmp_path: Path) -> Dev:
    """Runs ./dev to its end, in a tree of its own: the engine that these tests use may be one that ./dev started."""
    shutil.copy(ROOT / "dev", tmp_path / "dev")

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tmp_path / "dev"), *arguments],
            env=dict(os.environ, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_without_a_verb_it_lists_them(dev: Dev) -> None:
    listed = dev().stdout
    assert [
        verb for verb in ("demo", "test", "lint", "format", "bench", "build", "clean") if f"  {verb} " not in listed
    ] == []


def test_an_unknown_verb_is_refused(dev: Dev) -> None:
    done = dev("tset")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no verb tset" in done.stderr


def test_an_engine_that_others_started_is_not_stopped(dev: Dev) -> None:
    done = dev("engine", "stop")
    assert done.returncode == 1
    assert "no engine that ./dev started is running" in done.stderr


def test_an_engine_that_was_asked_for_and_does_not_answer_is_an_error(dev: Dev, tmp_path: Path) -> None:
    done = dev("engine", "start", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 1
    assert "no engine answers at DOCKER_HOST" in done.stderr


def test_without_a_python_it_says_so(dev: Dev, tmp_path: Path) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name in ("sh", "dirname", "id", "cat"):
        (bin_dir / name).symlink_to(shutil.which(name) or name)
    done = dev("lint", PATH=str(bin_dir), PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr


def test_every_test_is_run_by_dev_test_or_dev_bench() -> None:
    paths = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    found = {test.relative_to(ROOT).parts[1] for test in ROOT.glob("tests/**/test_*.py")}
    assert sorted(found - {"bench"} - {Path(path).name for path in paths}) == []
