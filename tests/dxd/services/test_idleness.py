"""What sleeps, what wakes it, and when it is stopped: decided over values, in virtual time."""

from typing import Any

import pytest

from dxd.compose.model import ServiceName
from dxd.services import idleness, policy
from dxd.services.idleness import Rest, Use
from dxd.services.ledger import Ledger
from dxd.services.model import Do, Instance, Phase, Will
from tests.dxd.services.projects import instance, ledger, service
from tests.dxd.services.world import World

DB, WEB, API = ServiceName("db"), ServiceName("web"), ServiceName("api")
NEVER = instance("db", "created", start=0)
STOPPED = instance("db", "exited", exit_code=143)


def acts(book: Ledger, now: float = 100.0) -> list[tuple[Do, str]]:
    return [(each.do, each.service) for each in book.plan(now)]


def lazy(**more: Any) -> Ledger:
    """`db` is lazy, and was begun."""
    book = ledger(service("db", lazy=True, **more), will=Will.DOWN)
    book.look([NEVER], 0)
    book.ask_up([DB], lazily=True)
    return book


def chain(condition: str = "healthy", **more: Any) -> Ledger:
    """`web` after `api` after `db`, of which the last two are lazy."""
    book = ledger(
        service("web", {"api": condition}, **more),
        service("api", {"db": condition}, lazy=True),
        service("db", lazy=True),
        will=Will.DOWN,
    )
    book.look([instance(name, "created", start=0) for name in ("web", "api", "db")], 0)
    return book


def test_what_is_lazy_sleeps_and_counts_as_good() -> None:
    book = lazy()
    assert acts(book) == []
    assert book.phase(DB, 100) == (Phase.SLEEPS, "until it is needed")
    assert policy.waiting(book.wanted, book.seen, [DB], 100) == {}
    assert policy.stuck(book.wanted, book.seen, [DB], 100) == []


def test_asked_for_by_itself_it_starts() -> None:
    book = lazy()
    book.ask_up([DB])
    assert acts(book) == [(Do.START, "db")]


def test_what_is_wanted_already_goes_on() -> None:
    book = lazy()
    book.ask_up([DB])
    book.ask_up([DB], lazily=True)
    assert book.wanted.will(DB) is Will.UP


def test_what_depends_on_it_wakes_it_through_another_that_sleeps_too() -> None:
    book = chain()
    book.ask_up([DB, API], lazily=True)
    assert acts(book) == []
    book.ask_up([WEB])
    assert acts(book) == [(Do.START, "db")]
    assert {name: book.wanted.will(name) for name in (DB, API)} == {DB: Will.UP, API: Will.UP}


@pytest.mark.parametrize("will", [Will.DOWN, Will.STOPPING])
def test_what_is_not_wanted_wakes_nothing(will: Will) -> None:
    book = chain()
    book.ask_up([DB, API], lazily=True)
    book.taken(WEB, will)
    assert idleness.called(book.wanted, book.seen) == []


def test_a_dependant_that_has_done_its_work_wakes_nothing_and_holds_nothing() -> None:
    book = ledger(service("migrate", {"db": "started"}), service("web", {"migrate": "done"}), service("db", lazy=True))
    book.look([instance("migrate"), instance("web", "created", start=0), instance("db")], 0)
    assert idleness.dependants(book.wanted, book.seen, DB) == ["migrate"]
    book.see(instance("migrate", "exited"), 1)
    assert idleness.dependants(book.wanted, book.seen, DB) == []
    book.ask_sleep(DB)
    assert idleness.called(book.wanted, book.seen) == []


def test_what_the_user_has_stopped_is_not_woken() -> None:
    book = chain()
    book.taken(DB, Will.DOWN)
    book.ask_up([API, WEB])
    assert acts(book) == []
    assert book.wanted.will(DB) is Will.DOWN


def idle(book: Ledger, use: Use, now: float) -> list[Rest]:
    book.plan(now)
    return idleness.rests(book.wanted, book.seen, [(DB, use)], now)


def ready(**more: Any) -> Ledger:
    """`db` runs, and was first seen ready at 10."""
    book = ledger(service("db", idle_s=60.0, **more))
    book.look([instance("db")], 10)
    book.plan(10)
    return book


def test_it_may_be_stopped_so_long_after_its_last_use_or_after_it_was_ready() -> None:
    assert idle(ready(), Use(), 20) == [Rest(DB, 70)]
    assert idle(ready(), Use(last=15), 20) == [Rest(DB, 75)]


def test_while_it_is_used_it_may_not_be_before_its_time_has_passed_once_more() -> None:
    assert idle(ready(), Use(now=True, last=1), 500) == [Rest(DB, 560)]


def test_a_dependant_that_runs_or_is_about_to_keeps_it() -> None:
    """And one that is done does not."""
    book = ledger(service("db", idle_s=60.0), service("web", {"db": "started"}, restart="no"))
    book.look([instance("db"), instance("web")], 10)
    book.plan(10)
    for web in (instance("web"), instance("web", "created", start=0)):
        book.look([instance("db"), web], 20)
        assert idle(book, Use(), 500) == [Rest(DB, 560)]
    book.look([instance("db"), instance("web")], 520)
    book.look([instance("db"), instance("web", "exited", exit_code=0)], 530)
    assert idle(book, Use(), 540) == [Rest(DB, 70)]


@pytest.mark.parametrize(
    "seen", [instance("db", health="unhealthy"), instance("db", health="starting"), instance("db", "paused"), STOPPED]
)
def test_what_is_not_ready_is_left_to_others(seen: Instance) -> None:
    book = ready()
    book.look([seen], 20)
    assert idle(book, Use(), 500) == []


def test_without_a_time_it_is_never_idle() -> None:
    book = ledger(service("db", lazy=True))
    book.look([instance("db")], 10)
    assert idle(book, Use(), 1e9) == []


def test_what_is_idle_is_stopped_and_its_end_is_no_fault() -> None:
    book = ready()
    book.ask_sleep(DB)
    (action,) = book.plan(100)
    assert (action.do, action.reason) == (Do.STOP, "nobody has used it")
    assert book.phase(DB, 100)[0] is Phase.STOPPING
    assert book.begin(action, 100)
    book.see(instance("db", "exited", exit_code=137), 101)
    book.finish(action.container)
    assert acts(book, 101) == []
    assert book.phase(DB, 101) == (Phase.SLEEPS, "until it is needed")


def test_asked_for_while_it_stops_it_is_started_as_soon_as_it_has() -> None:
    book = ready()
    book.ask_sleep(DB)
    (action,) = book.plan(100)
    book.begin(action, 100)
    book.ask_up([DB])
    assert acts(book, 100.1) == []
    book.see(instance("db", "exited", exit_code=143), 101)
    book.finish(action.container)
    assert acts(book, 101) == [(Do.START, "db")]


def test_one_that_a_killed_daemon_did_not_stop_runs_on() -> None:
    """The next one finds it running, with a will of before, and it is idle in its time."""
    book = Ledger(ready().project, {DB: Will.ASLEEP})
    book.look([instance("db")], 0)
    assert book.wanted.will(DB) is Will.UP


def test_the_look_of_everything_does_not_take_back_a_stop_that_goes_on() -> None:
    book = ready()
    book.ask_sleep(DB)
    (action,) = book.plan(100)
    book.begin(action, 100)
    book.look([instance("db")], 100.5)
    assert book.wanted.will(DB) is Will.ASLEEP


def test_somebody_who_starts_it_by_hand_wants_it() -> None:
    book = lazy()
    book.look([instance("db")], 5)
    assert book.wanted.will(DB) is Will.UP


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_what_sleeps_rests_and_what_is_needed_runs(seed: int) -> None:
    """Twenty minutes of idle stops, calls by dependants, kills and restarts in virtual time."""
    services = [
        service("db", lazy=True, idle_s=5.0),
        service("api", {"db": "healthy"}, lazy=True),
        service("web", {"api": "started"}),
    ]
    world = World(services, seed, checked=frozenset({"db"}))
    world.ledger.ask_up([DB, API, WEB])
    for _ in range(40):
        match world.random.randrange(5):
            case 0:
                world.end(world.random.choice([DB, API, WEB]), 137)
            case 1:
                world.ledger.ask_stop([WEB])
            case 2:
                world.ledger.ask_up([WEB])
            case 3:
                world.restart_daemon()
            case 4:
                for name in (API, DB):
                    if not idleness.dependants(world.ledger.wanted, world.ledger.seen, name):
                        world.ledger.ask_sleep(name)
        world.act()
        world.run(30)
        shown = world.shown()
        if shown[WEB] is Phase.READY:
            assert shown[API] is not Phase.SLEEPS
            assert shown[DB] is not Phase.SLEEPS
    world.ledger.ask_up([API, DB], lazily=True)  # as `dx start web` does, which forgives failures
    world.ledger.ask_up([WEB])
    world.act()
    world.run(900)
    assert set(world.shown().values()) == {Phase.READY}
