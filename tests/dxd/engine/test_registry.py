"""The engine and a real registry: what a tag is now, who may know it, and what becomes of a pull when it dies."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.engine.docker import Engine
from dxd.errors import ImageMissing
from dxd.images.images import Images
from tests.fakes.proxy import ENGINE
from tests.fakes.real_engine import EngineMaker, Listener, Workshop
from tests.fakes.real_registry import RealRegistry
from tests.waiting import until_turned

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def registry(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RealRegistry]:
    with RealRegistry(tmp_path, login=getattr(request, "param", False)) as registry:
        yield registry


private = pytest.mark.parametrize("registry", [True], indirect=True, ids=["private"])


def _push(registry: RealRegistry, workshop: Workshop, version: str, name: str = "tool:1") -> str:
    ref = workshop.forget(registry.ref(name))
    digest = registry.push(f"FROM scratch\nLABEL dx.test={workshop.word} version={version}\n", name)
    workshop.forget(f"{ref.rpartition(':')[0]}@{digest}")
    return digest


async def test_a_registry_says_where_a_tag_points(registry: RealRegistry, workshop: Workshop) -> None:
    """Whatever the engine holds of that name."""
    ref = registry.ref("tool:1")
    first = await asyncio.to_thread(_push, registry, workshop, "1")
    assert await workshop.engine.digest(ref) == first
    second = await asyncio.to_thread(_push, registry, workshop, "2")
    assert second != first
    registry.forget(ref)
    assert await workshop.engine.digest(ref) == second
    old = ref.replace(":1", f"@{first}")
    assert await workshop.engine.digest(old) == first
    await workshop.engine.pull(old, Listener())
    image = await workshop.engine.image(old)
    assert image is not None
    assert old in image.digests
    with pytest.raises(ImageMissing, match="manifest unknown"):
        await workshop.engine.digest(registry.ref("tool:7"))


@private
async def test_a_login_is_asked_for_by_name_and_used(
    registry: RealRegistry, workshop: Workshop, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Without one, the message has the command to type."""
    digest = await asyncio.to_thread(_push, registry, workshop, "1")
    registry.forget(registry.ref("tool:1"))
    nobody = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "nothing")}
    engine = make_engine(f"unix://{ENGINE}", environ=nobody)
    for attempt in (engine.digest(registry.ref("tool:1")), engine.pull(registry.ref("tool:1"), Listener())):
        with pytest.raises(ImageMissing) as caught:
            await attempt
        assert f"docker login {registry.host}" in caught.value.line()
    wrong = {**nobody, "DOCKER_CONFIG": str(registry.docker_config(tmp_path / "wrong", password="other"))}
    with pytest.raises(ImageMissing, match=f"docker login {registry.host}|unauthorized"):
        await make_engine(f"unix://{ENGINE}", environ=wrong).pull(registry.ref("tool:1"), Listener())
    somebody = {**nobody, "DOCKER_CONFIG": str(registry.docker_config(tmp_path / "login"))}
    engine = make_engine(f"unix://{ENGINE}", environ=somebody)
    assert await engine.digest(registry.ref("tool:1")) == digest
    await engine.pull(registry.ref("tool:1"), Listener())
    assert await engine.image(registry.ref("tool:1")) is not None


async def test_a_registry_that_is_down_is_said_to_be(registry: RealRegistry, engine: Engine) -> None:
    """Which is no trouble of the engine's."""
    registry.kill()
    with pytest.raises(ImageMissing, match="cannot be reached"):
        await engine.digest(registry.ref("tool:1"))


async def test_a_digest_that_the_registry_does_not_have(registry: RealRegistry, workshop: Workshop) -> None:
    """Is never replaced by anything that it has."""
    await asyncio.to_thread(_push, registry, workshop, "1")
    wrong = registry.ref(f"tool@sha256:{'0' * 64}")
    with pytest.raises(ImageMissing, match="manifest unknown"):
        await workshop.engine.pull(wrong, Listener())
    assert await workshop.engine.image(wrong) is None


async def test_a_registry_that_dies_in_the_middle_of_a_pull_and_comes_back(
    registry: RealRegistry, workshop: Workshop, tmp_path: Path
) -> None:
    """Is asked for the rest only. Two who want the image share the one pull.

    What becomes of one that stays away is in `test_registry_faults`: this engine tries again for 75 s.
    """
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "noise").write_bytes(os.urandom(8 << 20))
    ref = workshop.forget(registry.ref("big:1"))
    dockerfile = f"FROM scratch\nCOPY noise /\nLABEL dx.test={workshop.word}\n"
    await asyncio.to_thread(registry.push, dockerfile, "big:1", tmp_path / "context")
    registry.forget(ref)
    images, listeners = Images(workshop.engine), [Listener(), Listener()]
    registry.hold(1 << 20)
    pulls = [asyncio.create_task(images.resolve(ref, each)) for each in listeners]
    await until_turned(registry.is_held)
    assert registry.log.count("GET /v2/big/manifests") <= 2
    await asyncio.to_thread(registry.kill)
    registry.release()
    await asyncio.to_thread(registry.start)
    assert len({(await each).id for each in pulls}) == 1
    assert registry.log.count('HTTP/1.1" 206') == 1
    await images.close()
