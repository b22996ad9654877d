"""Tests of containers that are not ready yet, in real ones."""

from dxd.engine.docker import Engine
from dxd.engine.model import Inspected
from dxd.engine.supervised import Supervised
from dxd.kit.tasks import Tasks
from dxd.services.probes import MOST_OPEN, Probe, Probes
from tests.fakes.real_engine import Workshop
from tests.waiting import until_turned

SHELL = 'RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]'
HANGS = "until test -e /well; do /bin/busybox sleep 0.05; done"


async def test_a_test_that_hangs_is_made_again_and_never_too_often_at_once(workshop: Workshop, engine: Engine) -> None:
    """Given up so often, another is made only where one of them has ended; and the reason is told."""
    containers = Supervised(engine)
    container = await engine.create(
        workshop.spec(await workshop.image(SHELL), "/bin/busybox", "sleep", "3000"),
    )
    await containers.start(container)
    seen = await containers.inspect(container)
    assert seen is not None
    passed: list[Inspected] = []
    reasons: list[str] = []
    failures: list[BaseException] = []

    async def go_on() -> int:
        found = await containers.inspect(container)
        return len(found.execs) if found else 0

    tasks = Tasks(lambda _, error: failures.append(error))
    probes = Probes(containers, tasks, passed.append, lambda _, reason: reasons.append(reason), hung_s=0.05)
    wanted = {"c@1": (seen, Probe(("CMD-SHELL", HANGS), 0.3, "ready test"))}
    try:
        probes.keep(wanted, wanted)
        await until_turned(lambda: len(reasons) == 2)
        assert reasons[0] == "its ready test did not end within 0.3 s; it is made again every 0.05 s"
        assert reasons[1].startswith(f"its ready test does not end, and goes on {MOST_OPEN} times by now")
        # Whoever is asked again and again by a service that flaps does not begin others.
        for _ in range(5):
            probes.keep({}, wanted)
            probes.keep(wanted, wanted)
            assert await go_on() == MOST_OPEN
        assert not passed
        await containers.run(container, ["/bin/busybox", "touch", "/well"], deadline_s=30)
        await until_turned(lambda: passed)
        assert failures == []
    finally:
        await tasks.close()


async def test_a_program_that_closes_its_output_is_waited_for(workshop: Workshop, engine: Engine) -> None:
    """What it says by its end is not known before."""
    containers = Supervised(engine)
    container = await engine.create(workshop.spec(await workshop.image(SHELL), "/bin/busybox", "sleep", "3000"))
    await containers.start(container)
    silent = ["/bin/sh", "-c", "exec >&- 2>&-; /bin/busybox sleep 0.5; exit 3"]
    assert await containers.run(container, silent, deadline_s=30) == (3, "")
