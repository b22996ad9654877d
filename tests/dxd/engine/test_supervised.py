import asyncio
import io
import tarfile
import time

import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, ContainerStatus, Health
from dxd.engine.supervised import TIMED_OUT, Supervised
from dxd.errors import Conflict, NotFound
from tests.fakes.proxy import Proxy
from tests.fakes.real_engine import EngineMaker, Workshop


async def test_a_container_is_seen_in_detail(workshop: Workshop, engine: Engine) -> None:
    image = await workshop.image('ENV A=b\nHEALTHCHECK --interval=3s --timeout=2s CMD ["/bin/busybox", "true"]')
    containers = Supervised(engine)
    container = await engine.create(workshop.spec(image))
    seen = await containers.inspect(container)
    assert seen is not None
    assert (seen.status, seen.started_at, seen.restart) == (ContainerStatus.CREATED, "", "no")
    assert "A=b" in seen.env
    assert "A=b" not in repr(seen)
    await containers.start(container)
    running = await containers.inspect(container)
    assert running is not None
    assert (running.status, running.exit_code) == (ContainerStatus.RUNNING, 0)
    assert running.started_at
    assert running.health is Health.NONE  # what dx makes itself has no check
    assert await containers.ids({"dx.test": workshop.word}) == [container]
    assert await containers.inspect(ContainerId("0" * 64)) is None


async def test_a_stop_says_whether_there_was_anything_to_stop(workshop: Workshop, engine: Engine) -> None:
    containers = Supervised(engine)
    image = await workshop.image()
    container = await engine.create(
        workshop.spec(image, "/bin/busybox", "sh", "-c", "trap 'exit 3' TERM; sleep 60 & wait")
    )
    await containers.start(container)
    assert await containers.stop(container, grace_s=10)
    seen = await containers.inspect(container)
    assert seen is not None
    assert (seen.status, seen.exit_code) == (ContainerStatus.EXITED, 3)
    assert not await containers.stop(container, grace_s=10)
    with pytest.raises(NotFound):
        await containers.stop(ContainerId("0" * 64), grace_s=10)


async def test_the_engines_own_restarts_are_turned_off_and_on(workshop: Workshop, engine: Engine) -> None:
    containers = Supervised(engine)
    container = await engine.create(workshop.spec(await workshop.image()))

    async def policy() -> str:
        seen = await containers.inspect(container)
        assert seen is not None
        return seen.restart

    await containers.set_restart(container, "on-failure", 3)
    assert await policy() == "on-failure"
    await containers.leave_to_dx(container)
    assert await policy() == "no"


async def test_a_test_is_run_as_a_health_check_is(workshop: Workshop, engine: Engine) -> None:
    containers = Supervised(engine)
    image = await workshop.image('RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]')
    container = await engine.create(workshop.spec(image))
    await containers.start(container)
    seen = await containers.inspect(container)
    assert seen is not None
    assert await containers.test(seen, ("CMD", "/bin/busybox", "true"), deadline_s=10) == (0, "")
    status, printed = await containers.test(seen, ("CMD-SHELL", "echo out; echo err >&2; exit 4"), deadline_s=10)
    assert (status, sorted(printed.split())) == (4, ["err", "out"])
    status, _ = await containers.test(seen, ("CMD", "/bin/busybox", "sleep", "60"), deadline_s=0.2)
    assert status == TIMED_OUT
    assert engine.status().reason is None, "the engine is blamed for a test that takes long"
    await containers.stop(container, grace_s=1)
    with pytest.raises(NotFound):
        await containers.test(seen, ("CMD", "/bin/busybox", "true"), deadline_s=10)


async def test_a_container_that_ends_while_a_program_is_about_to_run_in_it_is_gone(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    """And no trouble of the engine's, though one that has made the program's place says so, in these words."""
    containers = Supervised(make_engine(proxy.address))
    container = await workshop.engine.create(workshop.spec(await workshop.image()))
    await workshop.engine.start(container)
    seen = await containers.inspect(container)
    assert seen is not None
    body = b'{"message":"Container %b is not running: Exited (5) Less than a second ago"}\n' % container.encode()
    answer = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    for attempt in (
        containers.test(seen, ("CMD", "/bin/busybox", "true"), deadline_s=30),
        containers.run(container, ["/bin/busybox", "true"], deadline_s=30),
    ):
        proxy.answer(b"/start", answer % (len(body), body))
        with pytest.raises(NotFound):
            await attempt


async def test_an_engine_that_takes_no_new_connections_does_not_go_on(proxy: Proxy, make_engine: EngineMaker) -> None:
    containers = Supervised(make_engine(proxy.address))
    assert await containers.goes_on()
    await proxy.stop()
    async with asyncio.timeout(10):
        assert not await containers.goes_on()


async def test_what_the_engine_tells_of_was_so_long_ago_by_its_own_clock(workshop: Workshop, engine: Engine) -> None:
    """It is that of this machine here, so the same must come out."""
    before = time.time()
    ago_s = await Supervised(engine).ago_s(int((before - 100) * 1e9))
    assert 100 - 0.01 < ago_s < 100 + time.time() - before + 0.01


async def test_files_are_put_into_a_container_that_runs_and_programs_run_in_it(
    workshop: Workshop, engine: Engine
) -> None:
    containers = Supervised(engine)
    image = await workshop.image()
    container = await engine.create(workshop.spec(image, "/bin/busybox", "sleep", "60"))
    await containers.start(container)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("deep/down/file")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    await containers.put(container, buffer.getvalue(), deadline_s=30)
    assert await containers.run(container, ["/bin/busybox", "cat", "/deep/down/file"], deadline_s=30) == (0, "hello")
    assert await containers.run(container, ["/bin/busybox", "id", "-u"], user="7", deadline_s=30) == (0, "7")
    script = ["/bin/busybox", "sh", "-c", "echo $(pwd) $A $(/bin/busybox grep CapEff /proc/self/status)"]
    _, plain = await containers.run(container, script, working_dir="/deep", environment=["A=b"], deadline_s=30)
    _, privileged = await containers.run(container, script, privileged=True, deadline_s=30)
    assert plain.startswith("/deep b CapEff:")
    # An engine that has not all of them itself, as one in a container, cannot give them.
    assert "unable to apply caps" in privileged or int(privileged.split()[-1], 16) > int(plain.split()[-1], 16)
    status, _ = await containers.run(container, ["/bin/busybox", "sleep", "30"], deadline_s=0.2)
    assert status == TIMED_OUT
    with pytest.raises(NotFound):
        await containers.run(ContainerId("0" * 64), ["true"], deadline_s=30)


async def test_a_container_gets_another_name_unless_somebody_has_it(workshop: Workshop, engine: Engine) -> None:
    containers = Supervised(engine)
    image = await workshop.image()
    one, two = [await engine.create(workshop.spec(image, "/bin/busybox", "true")) for _ in range(2)]
    await containers.rename(one, f"{workshop.word}-next")
    seen = await containers.inspect(one)
    assert seen is not None
    assert (seen.name, seen.image_id) == (f"{workshop.word}-next", image)
    with pytest.raises(Conflict):
        await containers.rename(two, f"{workshop.word}-next")
    with pytest.raises(NotFound):
        await containers.rename(ContainerId("0" * 64), f"{workshop.word}-other")
