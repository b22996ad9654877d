"""Tests of containers that are not ready yet, far more often than the engine makes them.

An engine of this generation tests for the first time when a whole interval has passed, 30 s if nobody says otherwise.
So until a container is ready dx makes the same test itself, one at a time. Owned by the supervisor; ends once the
container is ready or has ended.

A test that does not end is given up, and goes on: no engine ends such a program for anybody. So it is made again at a
slow pace, and not at all while `MOST_OPEN` of it have not ended.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from dxd.engine.model import ContainerId, ExecId, Inspected
from dxd.engine.supervised import TIMED_OUT, Supervised
from dxd.errors import DxError, EngineTrouble
from dxd.kit.tasks import Tasks
from dxd.services.ledger import Ledger
from dxd.services.model import Phase
from dxd.services.news import SERVICE

OFTEN_S, SELDOM_S = 0.15, 1.0
"""Between two tests: whoever waits for the service is told that soon."""
EAGER_S = 60.0
"""One that takes longer than this to become ready is tested seldom."""
ENGINE_S = 0.3
"""A health check that the engine makes this often needs no help."""
TEST_S = 30.0
"""After so long a `ready` test is given up; a health check after its own `timeout`."""
HUNG_S = 30.0
"""After a test that was given up, before the next."""
MOST_OPEN = 3
"""So many tests of one run may go on that were given up."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A test to make until it succeeds."""

    test: tuple[str, ...]
    deadline_s: float
    what: str
    """It is called so to people."""


def needed(container: Inspected, ready: tuple[str, ...] | None) -> Probe | None:
    """The test that would show it ready: `ready` of `x-dx`, else the health check where the engine makes it rarely."""
    if ready is not None:
        return Probe(ready, TEST_S, "ready test")
    if container.check is not None and container.check.interval_s > ENGINE_S:
        return Probe(container.check.test, container.check.timeout_s, "health check")
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

    def __init__(
        self,
        containers: Supervised,
        tasks: Tasks,
        passed: Callable[[Inspected], None],
        hangs: Callable[[Inspected, str], None],
        *,
        hung_s: float = HUNG_S,
    ) -> None:
        """`hangs` is told why a container whose test does not end is not ready, and with nothing that it ends again."""
        self._containers = containers
        self._tasks = tasks
        self._passed = passed
        self._hangs = hangs
        self._hung_s = hung_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._open: dict[str, set[ExecId]] = {}
        """By run, the tests of which no end is known."""

    def keep(self, wanted: Mapping[str, tuple[Inspected, Probe]], runs: Collection[str]) -> None:
        """Test these runs of containers, and no others, of all that go on; each is tested until it has passed once."""
        for run in self._running.keys() - wanted.keys():
            self._running.pop(run).cancel()
        for run in self._open.keys() - set(runs):
            del self._open[run]
        for run, (container, probe) in wanted.items():
            if run not in self._running:
                work = self._test(container, probe, self._open.setdefault(run, set()))
                self._running[run] = self._tasks.start(work, name=f"probe {container.name}")

    async def _test(self, container: Inspected, probe: Probe, begun: set[ExecId]) -> None:
        began, told = time.monotonic(), None
        while True:
            try:
                status = await self._try(container, probe, begun)
            except EngineTrouble:
                status = 1  # found again by whoever follows the engine
            except DxError:
                return
            if status == 0:
                self._passed(container)
                return
            reason = self._reason(container, probe, begun) if status == TIMED_OUT else ""
            if reason != told:
                self._hangs(container, told := reason)
            if status == TIMED_OUT:
                await asyncio.sleep(self._hung_s)
            else:
                await asyncio.sleep(OFTEN_S if time.monotonic() - began < EAGER_S else SELDOM_S)

    async def _try(self, container: Inspected, probe: Probe, begun: set[ExecId]) -> int:
        """Make the test, unless too many of those before go on: then it has timed out as well."""
        for each in list(begun):
            if await self._containers.program(each) is None:
                begun.discard(each)
        if len(begun) >= MOST_OPEN:
            return TIMED_OUT
        before = set(begun)
        status, _ = await self._containers.test(container, probe.test, deadline_s=probe.deadline_s, began=begun.add)
        if status != TIMED_OUT:
            begun.intersection_update(before)
        return status

    def _reason(self, container: Inspected, probe: Probe, begun: Collection[ExecId]) -> str:
        if len(begun) >= MOST_OPEN:
            again = f"dx restart {container.labels.get(SERVICE, '')}".rstrip()
            return f"its {probe.what} does not end, and goes on {len(begun)} times by now; mend it, then: {again}"
        return f"its {probe.what} did not end within {probe.deadline_s:g} s; it is made again every {self._hung_s:g} s"
