"""Volumes of others, containers that end, and ports that are published: the real engine."""

import socket
from collections.abc import AsyncIterator

import pytest

from dxd.engine.model import Publication, Volume, VolumeSpec
from dxd.engine.storage import Storage
from dxd.errors import NotFound
from tests.fakes.real_engine import Workshop


@pytest.fixture
async def storage(workshop: Workshop) -> AsyncIterator[Storage]:
    yield Storage(workshop.engine)
    for container in await workshop.engine.containers({"dx.test": workshop.word}):
        await workshop.engine.remove(container.id)
    for volume in await workshop.engine.volumes({"dx.test": workshop.word}):
        await workshop.engine.remove_volume(volume.name)


async def test_a_volume_by_its_whole_name(storage: Storage, workshop: Workshop) -> None:
    labels = {"dx.test": workshop.word}
    await storage.make_volume(f"{workshop.word}-a", labels)
    await storage.make_volume(f"{workshop.word}-a", {"dx.test": "another"})
    assert await storage.volume(f"{workshop.word}-a") == Volume(f"{workshop.word}-a", labels)
    assert await storage.volume(workshop.word) is None
    with pytest.raises(NotFound, match=workshop.word):
        await storage.need_volume(workshop.word)


async def test_who_has_a_volume_and_what_became_of_it(storage: Storage, workshop: Workshop) -> None:
    """A container's status and its words; read-only is what it says."""
    volume = f"{workshop.word}-a"
    await storage.make_volume(volume, {"dx.test": workshop.word})
    spec = workshop.spec(
        await workshop.image(),
        *("/bin/busybox", "sh", "-c", "/bin/busybox touch /d/x; exit 3"),
        name=f"{workshop.word}-c",
        volumes=(VolumeSpec(volume, "/d", read_only=True),),
    )
    container = await workshop.engine.create(spec)
    assert [(each.name, each.state) for each in await storage.users(volume)] == [(spec.name, "created")]
    await workshop.engine.start(container)
    assert await storage.ended(container) == 3
    assert await storage.ended(container) == 3
    assert "Read-only file system" in await storage.logs(container)
    assert [each.state for each in await storage.users(volume)] == ["exited"]


async def test_ports_that_are_published(storage: Storage, workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    spec = workshop.spec(
        await workshop.image(),
        network="bridge",
        name=f"{workshop.word}-c",
        ports=(Publication("127.0.0.1", port, 80, "tcp"),),
    )
    container = await workshop.engine.create(spec)
    assert [each for each in await workshop.engine.published() if each.container == container] == []
    await workshop.engine.start(container)
    found = [each for each in await workshop.engine.published() if each.container == container]
    assert [(each.address, each.port, each.protocol, each.name) for each in found] == [
        ("127.0.0.1", port, "tcp", spec.name)
    ]
    assert found[0].labels["dx.test"] == workshop.word
