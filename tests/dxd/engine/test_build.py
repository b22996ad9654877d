import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from dxd.engine.docker import Engine
from dxd.errors import BuildFailed, EngineDown, EngineTimeout, Internal
from tests.fakes.proxy import Proxy
from tests.fakes.real_buildx import WITHOUT
from tests.fakes.real_engine import BUSYBOX, EngineMaker, Listener, Workshop, archive
from tests.fakes.real_registry import RealRegistry
from tests.waiting import until_turned

FROM_SCRATCH = "FROM scratch AS base\nCOPY busybox /bin/busybox\n"
REFUSAL = b'{"message":"buildkit is only supported with experimental mode"}'


def _files(dockerfile: str) -> AsyncIterator[bytes]:
    return archive({"Dockerfile": dockerfile.encode(), "busybox": BUSYBOX.read_bytes()})


async def _build(engine: Engine, dockerfile: str, tag: str, progress: Listener | None = None) -> str:
    return await engine.build(_files(dockerfile), dockerfile="Dockerfile", tag=tag, progress=progress or Listener())


async def _until_started(listener: Listener, text: str) -> None:
    await until_turned(lambda: any(text in line for line in listener.lines))


def _processes(marker: str) -> list[str]:
    """Processes of this machine, so of the engine's builds too, with that word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"\0{marker}\0" in (folder / "cmdline").read_text(errors="replace"):
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.fixture(params=["buildx", "buildkit", "classic"])
async def builder(
    request: pytest.FixtureRequest, proxy: Proxy, make_engine: EngineMaker, buildx: Mapping[str, str]
) -> Engine:
    """An engine, where the user has the plugin, with BuildKit, and as if it had none."""
    if request.param == "buildx":
        return make_engine(proxy.address, environ=buildx)
    if request.param == "classic":
        proxy.answer(
            b"version=2",
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(REFUSAL), REFUSAL),
        )
    return make_engine(proxy.address, environ=os.environ | WITHOUT)


async def test_target_arguments_and_labels_reach_the_image(workshop: Workshop, builder: Engine) -> None:
    dockerfile = f'{FROM_SCRATCH}ARG WHO\nENV WHO=$WHO\nENTRYPOINT ["/bin/busybox"]\nFROM base\nENV LAST=1\n'
    image_id = await builder.build(
        _files(dockerfile),
        dockerfile="Dockerfile",
        tag=workshop.name(),
        target="base",
        args={"WHO": "it's me"},
        labels={"dx.test": workshop.word, "a": "b=c"},
        progress=Listener(),
    )
    image = await workshop.engine.image(workshop.name())
    assert image is not None
    assert image.id == image_id
    assert "WHO=it's me" in image.env
    assert not any(line.startswith("LAST") for line in image.env)
    assert (image.entrypoint, image.labels["a"]) == (("/bin/busybox",), "b=c")


async def test_a_failing_step_is_named_and_its_last_lines_are_told(workshop: Workshop, builder: Engine) -> None:
    listener = Listener()
    step = 'RUN ["/bin/busybox", "sh", "-c", "echo first; busybox seq 30; echo last; busybox sleep 0.1; exit 7"]'
    with pytest.raises(BuildFailed) as raised:
        await _build(builder, FROM_SCRATCH + step, workshop.name(), listener)
    assert "] RUN [" in raised.value.message
    assert "exit code 7" in raised.value.message
    assert "  last" in listener.notes
    assert "  30" in listener.notes
    assert "  first" not in listener.notes
    assert await workshop.engine.image(workshop.name()) is None


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        (f"{FROM_SCRATCH}FOO bar\n", ":3: unknown instruction: FOO"),
        ("", "empty"),
        ("FROM scratch\nCOPY missing /\n", "missing"),
    ],
)
async def test_a_wrong_dockerfile_says_what_is_wrong(
    workshop: Workshop, builder: Engine, dockerfile: str, message: str
) -> None:
    with pytest.raises(BuildFailed) as raised:
        await _build(builder, dockerfile, workshop.name())
    assert message in raised.value.message
    assert raised.value.hint == "mend Dockerfile, then try again"
    assert "\n" not in raised.value.message


async def test_a_base_image_that_only_this_engine_has_is_not_asked_for_elsewhere(
    workshop: Workshop, builder: Engine
) -> None:
    base = await workshop.image(suffix="-base")
    assert await _build(builder, f"FROM {workshop.name('-base')}\nENV A=1\n", workshop.name()) != base


async def test_a_base_that_is_named_by_its_digest_is_taken_whatever_its_tag_means(
    workshop: Workshop, builder: Engine, tmp_path: Path
) -> None:
    """With the registry gone: pinned builds count on it."""
    with RealRegistry(tmp_path) as registry:
        ref = registry.ref("base:1")
        digest = registry.push(f"FROM {await workshop.image()}\nENV WORD=pinned\n", "base:1")
        registry.kill()
        workshop.forget(ref)
        pinned = workshop.forget(f"{registry.ref('base')}@{digest}")
        await workshop.engine.tag(await workshop.image(suffix="-other"), ref)
        text = f"FROM {pinned} AS one\nFROM {pinned}\nCOPY --from={pinned} /bin/busybox /copied\n"
        image = await workshop.engine.image(await _build(builder, text, workshop.name()))
    assert image is not None
    assert "WORD=pinned" in image.env


async def test_steps_are_told_while_they_run(workshop: Workshop, builder: Engine) -> None:
    listener = Listener()
    step = f'RUN ["/bin/busybox", "sh", "-c", "echo hello {workshop.word}; busybox sleep 0.2"]'
    await _build(builder, FROM_SCRATCH + step, workshop.name(), listener)
    assert any(line.endswith(f": hello {workshop.word}") for line in listener.lines)


async def test_a_cancelled_build_is_cancelled_in_the_engine(workshop: Workshop, builder: Engine) -> None:
    listener, seconds = Listener(), str(1_000_000 + int(workshop.word[-4:], 16))
    step = f'RUN ["/bin/busybox", "sh", "-c", "echo up; exec busybox sleep {seconds}"]'
    task = asyncio.create_task(_build(builder, FROM_SCRATCH + step, workshop.name(), listener))
    await _until_started(listener, ": up")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_turned(lambda: not _processes(seconds))
    assert await workshop.engine.image(workshop.name()) is None


async def test_a_step_that_says_nothing_for_longer_than_the_deadline_goes_on(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address, deadline_s=0.3)
    await engine.info()
    step = f'RUN ["/bin/busybox", "sh", "-c", "busybox sleep 1; : {workshop.word}"]'
    assert await _build(engine, FROM_SCRATCH + step, workshop.name())
    assert any("_ping" in request for request in proxy.requests)


async def test_an_engine_that_hangs_in_a_build_is_a_timeout(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine, listener = make_engine(proxy.address, deadline_s=0.3), Listener()
    step = f'RUN ["/bin/busybox", "sh", "-c", "echo up; busybox sleep 2; : {workshop.word}"]'
    task = asyncio.create_task(_build(engine, FROM_SCRATCH + step, workshop.name(), listener))
    await _until_started(listener, ": up")
    proxy.hang()
    with pytest.raises(EngineTimeout):
        await task


async def test_an_engine_lost_in_a_build_is_down_and_nothing_is_taken_for_done(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    listener = Listener()
    step = f'RUN ["/bin/busybox", "sh", "-c", "echo up; busybox sleep 60; : {workshop.word}"]'
    task = asyncio.create_task(_build(make_engine(proxy.address), FROM_SCRATCH + step, workshop.name(), listener))
    await _until_started(listener, ": up")
    await proxy.cut()
    with pytest.raises(EngineDown):
        await task
    assert await workshop.engine.image(workshop.name()) is None


async def test_a_stream_that_ends_early_without_an_error_is_no_success(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    proxy.answer(b"POST", b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"stream":"Step 1/2 : FROM scratch"}\r\n')
    with pytest.raises(EngineDown, match="broke off"):
        await _build(make_engine(proxy.address), FROM_SCRATCH, workshop.name())


async def test_what_reading_the_context_fails_with_is_what_is_raised(workshop: Workshop, builder: Engine) -> None:
    async def context() -> AsyncIterator[bytes]:
        files = {"Dockerfile": b"FROM scratch\nCOPY busybox /\n", "busybox": b"x", "large": bytes(3 << 20)}
        async for whole in archive(files):
            yield whole[: 1 << 20]
            raise Internal("the disk is gone")

    with pytest.raises(Internal, match="the disk is gone"):
        await builder.build(context(), dockerfile="Dockerfile", tag=workshop.name(), progress=Listener())
    assert await workshop.engine.image(workshop.name()) is None


async def test_a_large_context_is_streamed(workshop: Workshop, builder: Engine) -> None:
    files = {"Dockerfile": b"FROM scratch\nCOPY small /\n", "small": b"x", "large": bytes(60 << 20)}

    async def context() -> AsyncIterator[bytes]:
        async for whole in archive(files):
            for at in range(0, len(whole), 1 << 20):
                yield whole[at : at + (1 << 20)]

    assert await builder.build(context(), dockerfile="Dockerfile", tag=workshop.name(), progress=Listener())


@pytest.mark.parametrize("text", ["FROM", "FRM x", "FROM scratch\nRUN", "FROM scratch\nCOPY missing /", ""])
async def test_a_dockerfile_has_the_name_that_the_user_knows(builder: Engine, text: str) -> None:
    listener = Listener()
    name = f".{'0' * 20}.Dockerfile"
    with pytest.raises(BuildFailed) as raised:
        await builder.build(
            archive({name: text.encode()}), dockerfile=name, path="/there/D", tag=None, progress=listener
        )
    assert name not in raised.value.line() + "".join(listener.lines + listener.notes)
    assert raised.value.hint == "mend /there/D, then try again"
