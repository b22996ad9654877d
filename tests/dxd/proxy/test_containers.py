"""Doors before a real container, on the engine's bridge: asleep, woken, frozen, killed, gone."""

import asyncio
import json
import subprocess

import pytest

from dxd.engine.model import ContainerId
from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy
from tests.dxd.proxy.conftest import connect
from tests.dxd.proxy.test_proxy import ask, free
from tests.fakes.real_engine import Workshop
from tests.waiting import until_turned

SERVER = "while true; do /bin/busybox nc -l -p 7000 -e /bin/busybox cat; done"


class Sleeper:
    """A container that is started by the first connection; it answers one after the other."""

    def __init__(self, workshop: Workshop, container: ContainerId) -> None:
        self.workshop = workshop
        self.container = container
        self.woken = 0

    async def wake(self) -> Place:
        self.woken += 1
        await self.workshop.engine.start(self.container)
        said = subprocess.run(["docker", "inspect", self.container], check=True, capture_output=True).stdout
        return Place(json.loads(said)[0]["NetworkSettings"]["IPAddress"], 7000)


@pytest.fixture
async def sleeper(workshop: Workshop) -> Sleeper:
    image = await workshop.image()
    spec = workshop.spec(image, "/bin/busybox", "sh", "-c", SERVER, network="bridge")
    return Sleeper(workshop, await workshop.engine.create(spec))


async def test_the_first_connection_starts_the_container_and_is_answered(proxy: Proxy, sleeper: Sleeper) -> None:
    """It started without listening yet: that is waited for, too."""
    place = free()
    await proxy.listen("web", place, sleeper.wake)
    assert await ask(await connect(place.port), b"hello") == b"hello"


async def test_after_a_kill_the_next_connection_starts_it_again(proxy: Proxy, sleeper: Sleeper) -> None:
    """A connection that was open ends with it."""
    place = free()
    await proxy.listen("web", place, sleeper.wake)
    reader, writer = await connect(place.port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    subprocess.run(["docker", "kill", sleeper.container], check=True, capture_output=True)
    assert await asyncio.wait_for(reader.read(-1), 20) == b""
    woken = sleeper.woken
    assert await ask(await connect(place.port), b"again") == b"again"
    assert sleeper.woken > woken


async def test_what_a_frozen_container_is_sent_arrives_when_it_is_thawed(proxy: Proxy, sleeper: Sleeper) -> None:
    place = free()
    await proxy.listen("web", place, sleeper.wake)
    client = await connect(place.port)
    client[1].write(b"x")
    assert await client[0].readexactly(1) == b"x"
    subprocess.run(["docker", "pause", sleeper.container], check=True, capture_output=True)
    client[1].write(b"frozen")
    await until_turned(lambda: proxy.idle_since("web") is None)
    subprocess.run(["docker", "unpause", sleeper.container], check=True, capture_output=True)
    assert await client[0].readexactly(6) == b"frozen"


async def test_without_use_it_may_be_stopped_and_started_again(proxy: Proxy, sleeper: Sleeper) -> None:
    place = free()
    await proxy.listen("web", place, sleeper.wake)
    assert await ask(await connect(place.port), b"x") == b"x"
    await until_turned(lambda: proxy.rest("web"))
    subprocess.run(["docker", "stop", "-t", "0", sleeper.container], check=True, capture_output=True)
    assert await ask(await connect(place.port), b"y") == b"y"
