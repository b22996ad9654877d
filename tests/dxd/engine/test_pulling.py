import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.engine.docker import Engine
from dxd.errors import EngineDown, EngineTimeout, ImageMissing
from dxd.kit.progress import Kind
from tests.fakes.proxy import ENGINE, Proxy
from tests.fakes.real_engine import EngineMaker, Listener, Workshop
from tests.fakes.registry import Registry
from tests.waiting import until_turned


@pytest.fixture
def registry(workshop: Workshop) -> Iterator[Registry]:
    with Registry(name=workshop.word, content=workshop.word.encode()) as registry:
        workshop.forget(registry.ref)
        yield registry


async def test_a_pull_tells_its_progress_and_ends_with_the_image(registry: Registry, engine: Engine) -> None:
    listener = Listener()
    await engine.pull(registry.ref, listener)
    image = await engine.image(registry.ref)
    assert image is not None
    assert image.labels == {"pulled": "yes"}
    # The engine does not tell the bytes of what is there in no time.
    assert re.fullmatch(f"pulling {registry.ref}: (100%, .* MB, )?1 of 1 layers", listener.lines[-1])
    last = {step.kind: step for step in listener.steps}
    assert set(last) == {Kind.WORK, Kind.LAYER}
    assert all(step.took_s is not None and not step.error for step in last.values())


async def test_a_tag_that_does_not_exist_says_so(registry: Registry, engine: Engine) -> None:
    with pytest.raises(ImageMissing, match="manifest unknown"):
        await engine.pull(f"{registry.host}/{registry.name}:2", Listener())


async def test_a_registry_that_cannot_be_reached_says_so(engine: Engine) -> None:
    with pytest.raises(ImageMissing, match="cannot be reached") as raised:
        await engine.pull("127.0.0.1:1/it:1", Listener())
    assert "127.0.0.1:1/it:1" in raised.value.message
    assert "docker load" in raised.value.hint


@pytest.mark.parametrize("ref", ["It", "", "a b", f"sha256:{'0' * 64}"])
async def test_what_cannot_be_a_name_is_not_asked_for(proxy: Proxy, make_engine: EngineMaker, ref: str) -> None:
    with pytest.raises(ImageMissing, match="no registry can have"):
        await make_engine(proxy.address).pull(ref, Listener())
    assert proxy.requests == []


async def test_the_users_login_is_used(workshop: Workshop, make_engine: EngineMaker, tmp_path: Path) -> None:
    engine = make_engine(f"unix://{ENGINE}", environ={"DOCKER_CONFIG": str(tmp_path)})
    with Registry(name=workshop.word, content=workshop.word.encode(), login="me:secret") as registry:
        workshop.forget(registry.ref)
        with pytest.raises(ImageMissing) as raised:
            await engine.pull(registry.ref, Listener())
        assert "docker login" in raised.value.hint
        auths = {registry.host: {"auth": b64encode(b"me:secret").decode()}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        await engine.pull(registry.ref, Listener())
    assert await engine.image(registry.ref) is not None


async def test_a_cancelled_pull_ends_in_the_engine(registry: Registry, engine: Engine) -> None:
    registry.gate.clear()
    task = asyncio.create_task(engine.pull(registry.ref, Listener()))
    await until_turned(lambda: sum("/blobs/" in request for request in registry.requests) >= 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    registry.gate.set()
    assert await engine.image(registry.ref) is None


async def test_a_layer_that_is_not_what_its_digest_says_is_not_taken(registry: Registry, engine: Engine) -> None:
    """The message says so, and nothing of it is left: the next pull has it right."""
    registry.spoiled = True
    with pytest.raises(ImageMissing, match="not what it promised") as raised:
        await engine.pull(registry.ref, Listener())
    assert "try again" in raised.value.hint
    assert await engine.image(registry.ref) is None
    registry.spoiled = False
    await engine.pull(registry.ref, Listener())
    assert await engine.image(registry.ref) is not None


async def test_a_registry_that_wants_fewer_questions_says_so(registry: Registry, engine: Engine) -> None:
    """The image that is here already is none of its business."""
    await engine.pull(registry.ref, Listener())
    registry.limited = True
    with pytest.raises(ImageMissing) as raised:
        await engine.pull(registry.ref, Listener())
    assert raised.value.hint.startswith("wait")
    assert await engine.image(registry.ref) is not None


async def test_a_quiet_download_goes_on_as_long_as_the_engine_answers(
    registry: Registry, proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address, deadline_s=0.2)
    await engine.info()
    registry.gate.clear()
    task = asyncio.create_task(engine.pull(registry.ref, Listener()))
    await proxy.seen("_ping", 2)
    registry.gate.set()
    await task
    assert await engine.image(registry.ref) is not None


async def test_an_engine_that_hangs_or_goes_in_a_pull_is_an_error(
    registry: Registry, proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address, deadline_s=0.2)
    await engine.info()
    registry.gate.clear()
    task = asyncio.create_task(engine.pull(registry.ref, Listener()))
    await proxy.seen("_ping")
    proxy.hang()
    with pytest.raises(EngineTimeout):
        await task
    proxy.resume()
    task = asyncio.create_task(engine.pull(registry.ref, Listener()))
    await proxy.seen("/images/create", 2)
    await proxy.cut()
    with pytest.raises(EngineDown):
        await task


async def test_a_stream_that_ends_early_without_an_error_is_no_success(
    registry: Registry, proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    proxy.answer(b"POST", b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status":"Pull complete","id":"a"}\r\n')
    with pytest.raises(EngineDown, match="broke off"):
        await engine.pull(registry.ref, Listener())
