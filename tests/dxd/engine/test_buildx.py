import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.engine.buildx import MAX_RECORD_BYTES, MAX_WORDS_BYTES, Parts, candidates, find
from dxd.engine.trace import Log, Status, Vertex, read
from tests.dxd.engine.test_build import FROM_SCRATCH
from tests.fakes.proxy import Proxy
from tests.fakes.real_buildx import PROGRAM
from tests.fakes.real_engine import BUSYBOX, EngineMaker, Listener, Workshop, archive
from tests.waiting import until_turned

RECORDS = [{"vertexes": [{"digest": "a", "name": "{ }"}]}, {"logs": []}, {}]
ERROR = "Dockerfile:2\n---\n}\nERROR: failed to solve: no\n"


def _files(step: str = "") -> Mapping[str, bytes]:
    return {"Dockerfile": (FROM_SCRATCH + step).encode(), "busybox": BUSYBOX.read_bytes()}


def _with_plugin(directory: Path, script: str) -> dict[str, str]:
    """The environment of a user who has that for a plugin."""
    plugins = directory / "cli-plugins"
    plugins.mkdir()
    (plugins / "docker-buildx").write_text(f"#!/bin/sh\n{script}\n")
    (plugins / "docker-buildx").chmod(0o755)
    return {**os.environ, "DOCKER_CONFIG": str(directory)}


async def test_the_plugin_builds_where_the_user_has_it(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, buildx: Mapping[str, str]
) -> None:
    engine = make_engine(proxy.address, environ=buildx)
    await engine.build(archive(_files()), dockerfile="Dockerfile", tag=workshop.name(), progress=Listener())
    assert any("/session" in each for each in proxy.requests)
    assert not any("/build?" in each for each in proxy.requests)


async def test_it_is_not_used_with_an_engine_that_has_no_buildkit_for_it(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, buildx: Mapping[str, str]
) -> None:
    engine = make_engine(proxy.address, environ=buildx)
    for _ in range(20):  # it tries again
        proxy.answer(b"/grpc", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    await engine.build(archive(_files()), dockerfile="Dockerfile", tag=workshop.name(), progress=Listener())
    assert any("/build?" in each for each in proxy.requests)


@pytest.mark.parametrize(
    ("script", "used"),
    [
        ("exit 1", False),
        ("echo no version; echo 'Status: running'", False),
        ("echo github.com/docker/buildx v0.12.9 1; echo 'Status: running'", False),
        ("echo github.com/docker/buildx v0.13.0 1; echo Status: stopped", False),
        ("echo github.com/docker/buildx v0.29.1 1; echo 'Status:   running'", True),
    ],
)
async def test_one_that_is_old_or_does_not_reach_the_engine_is_passed_over(
    tmp_path: Path, script: str, used: bool
) -> None:
    found = await find("unix:///nowhere", _with_plugin(tmp_path, script), tmp_path)
    assert (found is not None and found.program.startswith(str(tmp_path))) is used


async def test_the_users_builder_and_context_are_not_asked(tmp_path: Path) -> None:
    script = 'echo "v0.13.0"; test -z "$DOCKER_CONTEXT$BUILDX_BUILDER" && echo "Status: running"'
    environ = {**_with_plugin(tmp_path, script), "DOCKER_CONTEXT": "far", "BUILDX_BUILDER": "mine"}
    found = await find("unix:///nowhere", environ, tmp_path)
    assert found is not None
    assert found.environ["DOCKER_HOST"] == "unix:///nowhere"


async def test_plugins_are_looked_for_where_the_command_line_does(tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "docker-buildx").symlink_to(PROGRAM)
    (tmp_path / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(more)]}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert candidates(environ, tmp_path)[0] == str(more / "docker-buildx")
    assert not candidates({**environ, "DX_BUILDX": "0"}, tmp_path)


async def test_one_that_comes_and_goes_is_noticed(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, buildx: Mapping[str, str]
) -> None:
    engine, link = (
        make_engine(proxy.address, environ=buildx),
        Path(buildx["DOCKER_CONFIG"]) / "cli-plugins/docker-buildx",
    )
    ways = []
    for there in (False, True, False):
        link.unlink(missing_ok=True)
        if there:
            link.symlink_to(PROGRAM)
        proxy.requests.clear()
        await engine.build(archive(_files()), dockerfile="Dockerfile", tag=workshop.name(), progress=Listener())
        ways.append(any("/session" in each for each in proxy.requests))
    assert ways == [False, True, False]


async def test_arguments_of_a_build_are_none_of_the_program(
    workshop: Workshop, make_engine: EngineMaker, buildx: Mapping[str, str], proxy: Proxy
) -> None:
    """Everybody can read those. One that the program would go by itself reaches the build and not the program."""
    engine = make_engine(proxy.address, environ=buildx)
    seconds = str(1_000_000 + int(workshop.word[-4:], 16))
    step = f'ARG WORD\nARG DOCKER_HOST\nRUN ["/bin/busybox", "sh", "-c", "echo $WORD $DOCKER_HOST; sleep {seconds}"]'
    listener = Listener()
    building = asyncio.create_task(
        engine.build(
            archive(_files(step)),
            dockerfile="Dockerfile",
            tag=workshop.name(),
            args={"WORD": f"{workshop.word}-x", "DOCKER_HOST": "nowhere"},
            progress=listener,
        )
    )
    try:
        await until_turned(lambda: any(f"{workshop.word}-x nowhere" in each for each in listener.lines))
        found = subprocess.run(
            ["pgrep", "--full", "--list-full", "docker-buildx build"], capture_output=True, text=True
        )
        assert "--build-arg WORD " in found.stdout
        assert f"{workshop.word}-x" not in found.stdout
    finally:
        building.cancel()
        await asyncio.wait({building})


async def test_it_ends_with_the_process_that_began_it(
    workshop: Workshop, buildx: Mapping[str, str], tmp_path: Path
) -> None:
    """A daemon that is killed leaves no build behind that nobody knows of."""
    word = f"{workshop.word}-step"
    step = f'RUN ["/bin/busybox", "sh", "-c", "echo {word} | busybox sleep 600"]'
    script = f"""
import asyncio
from dxd.engine.address import find_address
from dxd.engine.docker import Engine
from dxd.kit.progress import Silent
from functools import partial
from pathlib import Path
import os
from tests.fakes.real_engine import archive

async def main():
    engine = Engine(partial(find_address, os.environ, Path.home()))
    await engine.build(archive({_files(step)!r}), dockerfile="Dockerfile", tag={workshop.name()!r}, progress=Silent())

asyncio.run(main())
"""
    (tmp_path / "builder.py").write_text(script)
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen([sys.executable, tmp_path / "builder.py"], env={**buildx, "PYTHONPATH": root})
    try:
        await until_turned(lambda: _runs(word))
        process.send_signal(signal.SIGKILL)
        await until_turned(lambda: not _runs(word))
    finally:
        process.kill()
        process.wait(10)


def _runs(word: str) -> bool:
    found = subprocess.run(["pgrep", "--full", f"^/bin/busybox sh -c echo {word}"], capture_output=True, timeout=10)
    return found.returncode == 0


@pytest.mark.parametrize("indent", [None, 2])
def test_records_and_words_are_told_apart_however_they_are_cut(indent: int | None) -> None:
    data = "".join(json.dumps(each, indent=indent) + "\n" for each in RECORDS) + ERROR
    for size in (1, 7, len(data)):
        parts, found = Parts(), list[Mapping[str, object]]()
        for at in range(0, len(data), size):
            found += parts.take(data[at : at + size].encode())
        assert (found, parts.words) == (RECORDS, ERROR)


def test_what_never_ends_is_not_kept() -> None:
    parts = Parts()
    for _ in range(3 * MAX_RECORD_BYTES // 1_000_000):
        assert not list(parts.take(b"{" + bytes(1_000_000) + b"\n"))
        assert not list(parts.take(b"word " * 1000 + b"\n"))
    assert len(parts.words) <= MAX_WORDS_BYTES


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_words(data: bytes) -> None:
    for record in Parts().take(data + b"\n"):
        assert isinstance(record, dict)


def test_a_record_says_what_the_engines_own_say() -> None:
    record = {
        "vertexes": [
            {
                "digest": "sha256:1",
                "name": "[2/2] RUN x",
                "started": "2026-11-30T15:08:30.855158551Z",
                "completed": "2026-11-30T15:08:31Z",
                "error": "exit code: 3",
            }
        ],
        "statuses": [{"vertex": "sha256:1", "id": "layer", "current": 2, "total": 3}],
        "logs": [{"vertex": "sha256:1", "data": "dHdvCg=="}, {"vertex": "sha256:1", "data": "!"}],
        "warnings": [{"vertex": "x"}],
    }
    vertex, status, log = read(record)
    assert isinstance(vertex, Vertex)
    assert vertex.started_s is not None
    assert vertex.completed_s is not None
    assert 0.14 < vertex.completed_s - vertex.started_s < 0.15
    assert (vertex.digest, vertex.error, vertex.cached) == ("sha256:1", "exit code: 3", False)
    assert status == Status("sha256:1", "layer", 2, 3)
    assert log == Log("sha256:1", b"two\n")


@pytest.mark.parametrize("record", [{"vertexes": 1}, {"vertexes": [1, None]}, {"logs": {"a": 1}}, {"statuses": [{}]}])
def test_a_record_that_makes_no_sense_ends_nothing(record: dict[str, object]) -> None:
    list(read(record))


async def test_one_that_hangs_when_it_is_asked_is_passed_over(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        environ = _with_plugin(tmp_path, "exec sleep 60")
        assert await find("unix:///nowhere", environ, tmp_path, patience_s=0.2) is None
