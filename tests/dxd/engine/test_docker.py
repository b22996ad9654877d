import asyncio
import os
import subprocess
import sys
from pathlib import Path

import aiodocker
import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, EngineState, ImageId, Volume, VolumeSpec
from dxd.errors import Conflict, EngineDown, EngineError, EngineTimeout
from tests.fakes.proxy import ENGINE, Proxy
from tests.fakes.real_engine import EngineMaker, Workshop
from tests.waiting import until_turned

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def test_importing_the_room_imports_neither_aiodocker_nor_aiohttp() -> None:
    """The daemon has to be ready before they could be imported."""
    script = (
        "import sys, dxd.engine.docker, dxd.engine.events, dxd.engine.model, dxd.images.images\n"
        "dxd.engine.docker.Engine('unix:///nowhere')\n"
        "print([name for name in ('aiodocker', 'aiohttp') if name in sys.modules])"
    )
    path = os.pathsep.join(sys.path)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert (result.stdout, result.stderr) == ("[]\n", "")


async def test_the_engine_says_what_it_is(engine: Engine) -> None:
    info = await engine.info()
    assert info.address == f"unix://{ENGINE}"
    assert info.version
    assert tuple(map(int, info.api_version.split("."))) >= (1, 41)
    assert info.architecture in ("amd64", "arm64")
    assert info.cgroup_version in (1, 2)


async def test_the_status_is_what_the_last_call_found(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(proxy.address)
    assert engine.status().state is EngineState.UNKNOWN
    await engine.info()
    status = engine.status()
    assert (status.state, status.address, status.reason) == (EngineState.UP, proxy.address, None)
    assert status.version
    await proxy.stop()
    with pytest.raises(EngineDown):
        await engine.info()
    status = engine.status()
    assert status.state is EngineState.DOWN
    assert status.reason is not None
    assert str(proxy.path) in status.reason
    await proxy.start()
    await engine.info()
    assert engine.status().state is EngineState.UP


async def test_an_image_by_name_and_by_id(workshop: Workshop) -> None:
    image_id = await workshop.image(
        'ENTRYPOINT ["/bin/busybox"]\nCMD ["ls"]\nENV A=1\nUSER 7\nWORKDIR /w\nLABEL a=b', suffix="-full"
    )
    image = await workshop.engine.image(workshop.name("-full"))
    assert image is not None
    assert image == await workshop.engine.image(image_id)
    assert image == await workshop.engine.image(image_id.removeprefix("sha256:")[:12])
    assert (image.id, image.os) == (image_id, "linux")
    assert (image.entrypoint, image.command, image.user) == (("/bin/busybox",), ("ls",), "7")
    assert (image.working_dir, image.labels["a"]) == ("/w", "b")
    assert "A=1" in image.env
    assert image.size_bytes > 100_000


@pytest.mark.parametrize("ref", ["dx-test-no-such-image", "a b", "../x", "a?b", "A", "", "sha256:" + "0" * 64])
async def test_an_image_that_is_not_there_is_none(engine: Engine, ref: str) -> None:
    assert await engine.image(ref) is None


async def test_the_life_of_a_container(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given\n")
    image = await workshop.image()
    spec = workshop.spec(
        image,
        "/bin/busybox",
        "sh",
        "-c",
        "cat /g/given; busybox touch /g/x; busybox id -u; busybox grep CapEff /proc/self/status; busybox sleep 60",
        name=workshop.word,
        binds=((str(tmp_path), "/g"),),
        capabilities=("SYS_CHROOT",),
        memory_bytes=64 << 20,
        cpus=0.5,
        pids=20,
    )
    container = await workshop.engine.create(spec)
    [listed] = await workshop.engine.containers({"dx.test": workshop.word})
    assert (listed.id, listed.image, listed.running) == (container, image, False)
    await workshop.engine.start(container)
    await workshop.engine.start(container)
    [listed] = [each for each in await workshop.engine.containers({"dx.test": ""}) if each.id == container]
    assert listed.running
    raw = await (workshop.docker.containers.container(container)).show()
    assert raw["Name"] == f"/{workshop.word}"
    host = raw["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 20)
    assert (host["AutoRemove"], raw["Config"]["Healthcheck"]) == (False, {"Test": ["NONE"]})
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "1", "max-size": "1m"}}
    await workshop.engine.remove(container)
    await workshop.engine.remove(container)
    assert await workshop.engine.containers({"dx.test": workshop.word}) == []
    assert not (tmp_path / "x").exists()


async def test_the_logs_are_the_last_lines_of_both_streams(workshop: Workshop) -> None:
    image = await workshop.image()
    script = "echo one; echo two; echo three; echo four >&2; exec busybox sleep 60"
    container = await workshop.engine.create(workshop.spec(image, "/bin/busybox", "sh", "-c", script))
    await workshop.engine.start(container)
    async with asyncio.timeout(10):
        while len((logs := await workshop.engine.logs(container)).split()) < 4:
            await asyncio.sleep(0)
    assert sorted(logs.split()) == ["four", "one", "three", "two"]
    assert await workshop.engine.logs(container, 2) == "".join(logs.splitlines(keepends=True)[-2:])
    assert await workshop.engine.logs(ContainerId("0" * 64)) == ""


async def test_a_containers_anonymous_volumes_go_with_it(workshop: Workshop) -> None:
    image = await workshop.image('VOLUME ["/data"]')
    container = await workshop.engine.create(workshop.spec(image))
    [mount] = (await workshop.docker.containers.container(container).show())["Mounts"]
    await workshop.engine.start(container)
    await workshop.engine.remove(container)
    with pytest.raises(aiodocker.DockerError, match="no such volume"):
        await aiodocker.volumes.DockerVolume(workshop.docker, mount["Name"]).show()  # type: ignore[no-untyped-call]


async def test_a_named_volume_outlives_its_container(workshop: Workshop) -> None:
    """It is made with the container, cannot go while one has it, and going twice is fine."""
    engine, word = workshop.engine, workshop.word
    volume = VolumeSpec(f"{word}-volume", "/data", {"dx.test": word})
    container = await engine.create(workshop.spec(await workshop.image(), volumes=(volume,)))
    assert await engine.volumes({"dx.test": word}) == [Volume(volume.name, {"dx.test": word})]
    with pytest.raises(Conflict, match=volume.name):
        await engine.remove_volume(volume.name)
    await engine.remove(container)
    assert await engine.volumes({"dx.test": ""}) != []
    await engine.remove_volume(volume.name)
    await engine.remove_volume(volume.name)
    assert await engine.volumes({"dx.test": word}) == []


async def test_what_the_engine_refuses_is_said_in_its_words(workshop: Workshop) -> None:
    with pytest.raises(EngineError, match="No such image"):
        await workshop.engine.create(workshop.spec(ImageId(f"sha256:{'0' * 64}")))
    image = await workshop.image()
    with pytest.raises(EngineError, match="bind source path does not exist"):
        await workshop.engine.create(workshop.spec(image, binds=(("/dx-no-such-path", "/x"),)))
    container = await workshop.engine.create(workshop.spec(image, "/no/such/file"))
    with pytest.raises(EngineError, match="no such file"):
        await workshop.engine.start(container)


async def test_no_engine_names_all_that_was_tried(make_engine: EngineMaker) -> None:
    engine = make_engine(lambda: ["unix:///dx-nowhere/a.sock", "unix:///dx-nowhere/b.sock"])
    with pytest.raises(EngineDown, match="there is no /dx-nowhere/a.sock, /dx-nowhere/b.sock"):
        await engine.info()


async def test_the_first_candidate_that_answers_is_the_engine(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(lambda: ["unix:///dx-nowhere/a.sock", proxy.address, f"unix://{ENGINE}"])
    assert (await engine.info()).address == proxy.address


async def test_a_lost_engine_is_looked_for_anew(proxy: Proxy, make_engine: EngineMaker) -> None:
    candidates = [proxy.address]
    engine = make_engine(lambda: candidates)
    assert (await engine.info()).address == proxy.address
    await proxy.stop()
    candidates.append(f"unix://{ENGINE}")
    with pytest.raises(EngineDown):
        await engine.info()
    assert (await engine.info()).address == f"unix://{ENGINE}"


@pytest.mark.parametrize("address", ["ssh://me@there", "npipe://x", "tcp://127.0.0.1:1"])
async def test_an_address_that_cannot_be_used_fails_at_the_call_not_before(
    address: str, make_engine: EngineMaker
) -> None:
    engine = make_engine(address)
    with pytest.raises(EngineDown):
        await engine.info()


async def test_an_engine_that_hangs_is_a_timeout_and_later_works_again(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(proxy.address, deadline_s=0.3)
    await engine.info()
    proxy.hang()
    with pytest.raises(EngineTimeout, match="within 0.3 s"):
        await engine.image("dx-test-none")
    assert engine.status().state is EngineState.DOWN
    proxy.resume()
    assert await engine.image("dx-test-none") is None
    assert engine.status().state is EngineState.UP


async def test_many_who_wait_for_a_hung_engine_wait_no_longer_than_one(proxy: Proxy, make_engine: EngineMaker) -> None:
    proxy.hang()
    engine = make_engine(proxy.address, deadline_s=0.3)
    started = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(engine.info() for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {EngineTimeout}
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_connection_cut_in_the_middle_is_down_and_the_next_call_works(
    proxy: Proxy, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    proxy.answer(b"/images/dx-test-none/json", HEAD + b'Content-Length: 100\r\n\r\n{"Id"')
    with pytest.raises(EngineDown, match="closed the connection"):
        await engine.image("dx-test-none")
    assert await engine.image("dx-test-none") is None


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]", b"{}", b'{"Id": "x", "Config": [1]}', b"\xff" * 100, b"null"])
async def test_an_answer_that_makes_no_sense_is_an_engine_error(
    proxy: Proxy, body: bytes, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    proxy.answer(b"/images/dx-test-none/json", HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    with pytest.raises(EngineError, match="does not understand"):
        await engine.image("dx-test-none")


@pytest.mark.parametrize("answer", [b"not http\r\n\r\n", b"HTTP/1.1 999 \x00\r\n\r\n"])
async def test_something_else_on_the_socket_is_an_error_of_ours(
    proxy: Proxy, answer: bytes, make_engine: EngineMaker
) -> None:
    engine = make_engine(proxy.address)
    proxy.answer(b"/version", answer)
    with pytest.raises((EngineDown, EngineError)):
        await engine.info()


async def test_a_500_is_an_engine_error_with_the_engines_words(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    body = b'{"message":"out of order"}'
    proxy.answer(b"/images/dx-test-none/json", b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n%b" % (len(body), body))  # fmt: skip
    with pytest.raises(EngineError, match="out of order"):
        await engine.image("dx-test-none")
    assert engine.status().state is EngineState.UP


async def test_slow_answers_in_small_pieces_are_read_all_the_same(proxy: Proxy, make_engine: EngineMaker) -> None:
    proxy.piece_bytes = 100
    proxy.delay_s = 0.001
    engine = make_engine(proxy.address)
    assert (await engine.info()).version


async def test_closing_makes_calls_that_wait_fail(proxy: Proxy, make_engine: EngineMaker) -> None:
    engine = make_engine(proxy.address)
    await engine.info()
    proxy.hang()
    waiting = asyncio.create_task(engine.image("dx-test-none"))
    await until_turned(lambda: proxy.waiting)
    await engine.close()
    with pytest.raises(EngineDown):
        await waiting
