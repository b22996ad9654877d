"""A thousand random faults over ten services, in virtual time."""

import ast
import pickle
import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dxd.proxy as proxy_room
import dxd.services as services_room
from dxd.compose.model import Service, ServiceName
from dxd.engine.model import Health
from dxd.services import histories
from dxd.services.model import Phase
from tests.dxd.services.projects import service
from tests.dxd.services.world import World

NAMES = [f"s{number}" for number in range(10)]


@st.composite
def projects(draw: st.DrawFn) -> tuple[list[Service], frozenset[str]]:
    """Ten services that depend on earlier ones in any way; two of them may be one-shots."""
    jobs = draw(st.sets(st.sampled_from(NAMES[:4]), max_size=2))
    checked = frozenset(draw(st.sets(st.sampled_from(NAMES)))) - jobs
    services = []
    for at, name in enumerate(NAMES):
        others = draw(st.lists(st.sampled_from(NAMES[:at]), unique=True, max_size=3)) if at else []
        after = {other: "done" if other in jobs else draw(st.sampled_from(["started", "healthy"])) for other in others}
        kinds = [""] if name in jobs else ["", "always", "unless-stopped", "on-failure"]
        services.append(service(name, after, restart=draw(st.sampled_from(kinds))))
    for name in jobs - {each.service for one in services for each in one.depends_on}:
        services.append(service(f"after-{name}", {name: "done"}))
    return services, checked


@settings(max_examples=25, deadline=None)
@given(projects(), st.integers(0, 2**32))
def test_whatever_happens_every_service_that_is_wanted_is_ready_again(
    made: tuple[list[Service], frozenset[str]], seed: int
) -> None:
    """Starts in order (the world checks each), and in the end all are well: but for those that fell too often."""
    services, checked = made
    world = World(services, seed, checked=checked)
    world.run(60)
    assert set(world.shown().values()) <= {Phase.READY, Phase.DONE}, world.shown()
    for _ in range(25):
        world.fault()
        world.run(world.random.uniform(0, 120))
    for name in sorted(world.user_stopped):
        world.by_user(name)
    failed = {name for name, shown in world.shown().items() if shown is Phase.FAILED}
    world.ledger.ask_up(name for name in world.containers if name in failed)
    world.act()
    world.run(600)
    assert set(world.shown().values()) <= {Phase.READY, Phase.DONE}, world.shown()


def test_a_thousand_faults_over_ten_services() -> None:
    """Rare enough that none is a failure: every service ends healthy, within its pause."""
    services = [service(name, {NAMES[at - 1]: "healthy"} if at % 3 else {}) for at, name in enumerate(NAMES)]
    world = World(services, 7, checked=frozenset(NAMES[::2]))
    world.run(60)
    for _ in range(1000):
        world.fault()
        world.run(world.random.uniform(300, 900))
        for name in sorted(world.user_stopped):
            world.by_user(name)
    world.run(300)
    assert set(world.shown().values()) == {Phase.READY}, world.shown()


def test_a_service_that_always_ends_is_started_five_times_and_no_more_for_an_hour() -> None:
    world = World([service("a"), service("b", {"a": "started"})], 3, checked=frozenset())
    world.broken = {next(iter(world.containers))}
    world.run(3600)
    assert Counter(str(name) for _, name in world.started)["a"] == histories.MOST
    assert world.shown()["a"] is Phase.FAILED


def test_it_is_started_no_more_often_where_the_daemon_is_restarted_in_each_pause() -> None:
    """And no sooner."""
    world = World([service("a")], 3, checked=frozenset())
    (name,) = world.broken = set(world.containers)
    for _ in range(3600):
        world.run(1)
        if world.shown()[name] is Phase.BACKOFF:
            world.restart_daemon()
    times = [at for at, _ in world.started]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == histories.MOST
    assert all(gap >= 0.8 * 2**at for at, gap in enumerate(gaps)), gaps
    assert world.shown()[name] is Phase.FAILED


def test_pauses_between_starts_grow() -> None:
    world = World([service("a")], 3, checked=frozenset())
    world.broken = set(world.containers)
    world.run(3600)
    times = [at for at, _ in world.started]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(1 <= gap <= 61 for gap in gaps)
    assert sorted(gaps) == gaps


def test_the_same_faults_lead_to_the_same_starts() -> None:
    def once() -> list[tuple[float, str]]:
        world = World([service(name) for name in NAMES], 11, checked=frozenset(NAMES[:5]))
        for _ in range(50):
            world.fault()
            world.run(random.Random(world.count).uniform(0, 60))
        return [(at, name) for at, name in world.started]

    first = once()
    assert len(first) > 50
    assert once() == first


def size_of(world: World) -> int:
    """In bytes, of all that is remembered."""
    return len(pickle.dumps(vars(world.ledger)))


def test_ten_thousand_restarts_of_one_service_leave_no_trace() -> None:
    """Whatever they were for, whoever made them, and however late it is told."""
    world = World([service("a"), service("b", {"a": "healthy"})], 5, checked=frozenset({"a"}))
    world.run(60)
    name = next(iter(world.containers))
    early = 0
    while world.containers[name].starts < 10_000:
        match world.random.randrange(4):
            case 0:
                world.end(name, 137)
            case 1:
                world.health(name, Health.UNHEALTHY, world.containers[name].starts)
            case 2:
                world.by_user(name)
                world.run(1)
                world.by_user(name)
            case 3:
                # As `docker restart` does, which is told before it is looked at.
                seen = world.ledger.get(world.instance(name).id)
                assert seen is not None
                world.end(name, 143)
                world.start(name)
                world.ledger.excuse(seen.run, "stopped by somebody")
        world.run(700)
        if world.containers[name].starts == 100:
            early = size_of(world)
    assert set(world.shown().values()) == {Phase.READY}
    assert early > 0
    assert size_of(world) < early + 500
    assert len(world.ledger.history(world.instance(name)).deaths) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_an_engine_that_is_gone_for_an_hour_is_nobodys_fault(seed: int) -> None:
    """What was wanted is up again when it is back, in order; what was stopped and what was done stays so."""
    services = [
        service("job", restart="no"),
        service("db", {"job": "done"}),
        service("api", {"db": "healthy"}, restart="always"),
        service("off"),
        service("web", {"api": "started"}, restart="on-failure:1"),
    ]
    world = World(services, seed, checked=frozenset({"db"}), check_s=30)
    world.run(60)
    off, job = ServiceName("off"), ServiceName("job")
    world.by_user(off)
    world.run(60)
    began = len(world.started)
    world.engine_goes()
    world.run(3600)
    assert len(world.started) == began
    world.engine_returns()
    world.run(60)
    assert world.shown() == {**dict.fromkeys(world.containers, Phase.READY), off: Phase.STOPPED, job: Phase.DONE}
    for name in world.containers:
        history = world.ledger.history(world.instance(name))
        assert (history.deaths, history.streak, history.gave_up) == ((), 0, None), name


def test_whatever_stands_still_for_eight_hours_goes_on_as_it_was() -> None:
    """A machine that was suspended, and whose clock went on: no health check is blamed, and nothing is stopped."""
    services = [service(name, {NAMES[at - 1]: "healthy"} if at else {}) for at, name in enumerate(NAMES)]
    world = World(services, 3, checked=frozenset(NAMES), check_s=30)
    world.run(300)
    assert set(world.shown().values()) == {Phase.READY}
    began = len(world.started)
    for _ in range(5):
        world.suspend(8 * 3600)
        world.run(300)
        assert set(world.shown().values()) == {Phase.READY}
    assert (len(world.started), world.stopped) == (began, [])
    assert all(not world.ledger.history(world.instance(name)).deaths for name in world.containers)


def test_a_health_check_that_stops_in_the_world_is_found() -> None:
    """So that the one above shows something."""
    world = World([service("a")], 3, checked=frozenset({"a"}), check_s=30)
    world.run(300)
    for _ in range(3):
        world.suspended_s += 60
        world.run(60)
    assert [name for _, name in world.stopped] == ["a"]


def test_no_time_of_day_decides_about_services() -> None:
    """So a clock that is set by a day changes nothing, and one that is suspended with the machine makes nobody idle."""
    for room in (services_room, proxy_room):
        for path in Path(str(room.__file__)).parent.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                assert not (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and (node.value.id, node.attr) in (("time", "time"), ("time", "time_ns"), ("datetime", "now"))
                ), f"{path}:{node.lineno}"
    assert time.get_clock_info("monotonic").implementation == "clock_gettime(CLOCK_MONOTONIC)"
