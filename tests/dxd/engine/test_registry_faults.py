"""Pulls that fail, in an engine that tries each layer once: the real one goes on for 75 s."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.errors import EngineError, ImageMissing
from dxd.images.images import Images
from tests.fakes.private_engine import PrivateEngine
from tests.fakes.real_engine import EngineMaker, Listener
from tests.fakes.real_registry import RealRegistry
from tests.waiting import until_turned

pytestmark = pytest.mark.timeout(180)

SMALL = """truncate -s 96M disk
mkfs.ext4 -q -O ^has_journal disk
mkdir -p data
mount -o loop disk data
"""
"""A file system of its own below the engine's data."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    with RealRegistry(tmp_path) as registry:
        yield registry


@pytest.fixture
def private(registry: RealRegistry, request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    prepare = getattr(request, "param", "")
    with PrivateEngine(f"{prepare}{registry.passage} :", "--max-download-attempts", "1") as engine:
        yield engine


def push(registry: RealRegistry, directory: Path, name: str, *layers_bytes: int) -> str:
    """Have an image of noise at the registry, a layer for each size; returns its name."""
    context = directory / name.replace(":", "-")
    context.mkdir()
    lines = "FROM scratch\nLABEL dx.test=noise\n"
    for index, size in enumerate(layers_bytes):
        (context / f"noise{index}").write_bytes(os.urandom(size))
        lines += f"COPY noise{index} /\n"
    digest = registry.push(lines, name, context)
    ref = registry.ref(name)
    registry.forget(ref, f"{ref.rpartition(':')[0]}@{digest}")
    return ref


async def test_a_registry_that_dies_in_the_middle_of_a_pull_for_good(
    registry: RealRegistry, private: PrivateEngine, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Ends it for all who wait with a clear error; nothing half is left, and the next pull has it whole."""
    ref = await asyncio.to_thread(push, registry, tmp_path, "big:1", 1 << 10, 8 << 20)
    engine = make_engine(private.address)
    images, listeners = Images(engine), [Listener(), Listener()]
    registry.hold(1 << 20)
    pulls = [asyncio.create_task(images.resolve(ref, each)) for each in listeners]
    await until_turned(registry.is_held)
    assert registry.log.count("GET /v2/big/manifests") <= 2
    await asyncio.to_thread(registry.kill)
    registry.release()
    for each in pulls:
        with pytest.raises(ImageMissing, match="cannot be reached"):
            await each
    assert await engine.image(ref) is None
    await asyncio.to_thread(registry.start)
    assert (await images.resolve(ref)).labels["dx.test"] == "noise"
    await images.close()


@pytest.mark.parametrize("private", [SMALL], indirect=True, ids=["small"])
async def test_an_engine_whose_disk_is_full_keeps_what_it_has(
    registry: RealRegistry, private: PrivateEngine, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """The message says so, and what the pull had taken is free again."""
    small = await asyncio.to_thread(push, registry, tmp_path, "small:1", 1 << 20)
    large = await asyncio.to_thread(push, registry, tmp_path, "large:1", 120 << 20)
    middle = await asyncio.to_thread(push, registry, tmp_path, "middle:1", 16 << 20)
    engine = make_engine(private.address)
    await engine.pull(small, Listener())
    with pytest.raises(EngineError, match="no space left"):
        await engine.pull(large, Listener())
    assert await engine.image(large) is None
    assert await engine.image(small) is not None
    await engine.pull(middle, Listener())
    assert await engine.image(middle) is not None
