"""Tests of containers that are not ready yet, far more often than the engine makes them.

An engine of this generation tests for the first time when a whole interval has passed, 30 s if nobody says otherwise.
So until a container is ready dx makes the same test itself, one at a time. Owned by the supervisor; told by nobody
once the container is ready, has ended, or its test hangs: then the engine's own have to do.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dxd.engine.model import ContainerId, Inspected
from dxd.engine.supervised import TIMED_OUT, Supervised
from dxd.errors import DxError, EngineTrouble
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.model import Phase

OFTEN_S, SELDOM_S = 0.15, 1.0
"""Between two tests: whoever waits for the service is told that soon."""
EAGER_S = 60.0
"""One that takes longer than this to become ready is tested seldom."""
ENGINE_S = 0.3
"""A health check that the engine makes this often needs no help."""
TEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A test to make until it succeeds."""

    test: tuple[str, ...]
    deadline_s: float


def needed(container: Inspected, ready: tuple[str, ...] | None) -> Probe | None:
    """The test that would show it ready: `ready` of `x-dx`, else the health check where the engine makes it rarely."""
    if ready is not None:
        return Probe(ready, TEST_S)
    if container.check is not None and container.check.interval_s > ENGINE_S:
        return Probe(container.check.test, container.check.timeout_s)
    return None


def due(ledger: Ledger, containers: Mapping[ContainerId, Inspected], now: float) -> dict[str, tuple[Inspected, Probe]]:
    """The tests to make of containers that start, by their runs."""
    found = {}
    for each in ledger.seen.instances:
        container = containers.get(each.id)
        if container is None or not each.runs or each.probed or container.started_at != each.started:
            continue
        if ledger.phase(each.service, now)[0] is Phase.STARTING and not ledger.wanted.one_shot(each.service):
            probe = needed(container, ledger.project.services[each.service].extras.ready)
            if probe is not None:
                found[each.run] = container, probe
    return found


class Probes:
    """The tests of one project that go on."""

    def __init__(self, containers: Supervised, tasks: Tasks, passed: Callable[[Inspected], None]) -> None:
        self._containers = containers
        self._tasks = tasks
        self._passed = passed
        self._running: dict[str, asyncio.Task[None]] = {}

    def keep(self, wanted: dict[str, tuple[Inspected, Probe]]) -> None:
        """Test these runs of containers, and no others; a run is tested until it has passed once."""
        for run in self._running.keys() - wanted.keys():
            self._running.pop(run).cancel()
        for run, (container, probe) in wanted.items():
            if run not in self._running:
                self._running[run] = self._tasks.start(self._test(container, probe), name=f"probe {container.name}")

    async def _test(self, container: Inspected, probe: Probe) -> None:
        began = time.monotonic()
        while True:
            try:
                status, _ = await self._containers.test(container, probe.test, deadline_s=probe.deadline_s)
            except EngineTrouble:
                status = 1  # found again by whoever follows the engine
            except DxError:
                return
            if status == 0:
                self._passed(container)
                return
            if status == TIMED_OUT:
                return  # the test still runs in there; another one beside it would only pile up
            await asyncio.sleep(OFTEN_S if time.monotonic() - began < EAGER_S else SELDOM_S)
