"""An engine that is slow, or refuses a stop: nobody is blamed, and it is asked again after pauses that grow."""

from itertools import pairwise

import pytest

from dxd.compose.model import ServiceName
from dxd.services.ledger import Ledger
from dxd.services.model import Action, Do, EndKind, Instance, Phase, Will
from tests.dxd.services.projects import instance, ledger, service
from tests.dxd.services.world import World

DB = ServiceName("db")
SILENT = "the engine does not answer within 10 s"
REFUSED = "the engine refuses: cannot stop it"


def asked(book: Ledger, do: Do, until: float) -> list[float]:
    """When the engine is asked for it, which it does not do."""
    times, now = [], 0.0
    while now < until:
        for each in book.plan(now):
            assert each.do is do
            assert book.begin(each, now)
            book.not_done(each, REFUSED, now)
            book.finish(each.container)
            times.append(now)
        book.plan(now)
        now = book.wake_at(now) or until
    return times


def only(book: Ledger, now: float) -> Action:
    """The one thing to do now."""
    (action,) = book.plan(now)
    return action


@pytest.mark.parametrize(
    ("seen", "will", "do"),
    [
        (instance("db"), Will.STOPPING, Do.STOP),
        (instance("db"), Will.ASLEEP, Do.STOP),
        (instance("db", health="unhealthy"), Will.UP, Do.RESTART),
        (instance("db", "exited"), Will.UP, Do.START),
    ],
)
def test_the_engine_is_asked_again_after_pauses_that_grow(seen: Instance, will: Will, do: Do) -> None:
    book = ledger(service("db"))
    book.look([seen], 0.0, excused="while dx was away")
    if will is Will.ASLEEP:
        book.ask_sleep(DB)
    elif will is Will.STOPPING:
        book.ask_stop([DB])
    times = asked(book, do, 3600)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.8 <= gap <= 61 for gap in gaps)
    assert gaps[:6] == sorted(gaps[:6])
    assert min(gaps[6:]) > 40
    phase, reason = book.phase(DB, times[-1] + 1)
    assert phase is not Phase.FAILED
    assert REFUSED in reason


def test_a_restart_for_bad_health_counts_once_however_often_the_engine_is_asked() -> None:
    book = ledger(service("db"))
    book.look([instance("db", health="unhealthy")], 0.0)
    asked(book, Do.RESTART, 300)
    assert len(book.history(instance("db")).deaths) == 1


def test_whoever_asks_again_waits_for_no_pause() -> None:
    book = ledger(service("db"))
    book.look([instance("db")], 0.0)
    book.ask_stop([DB])
    book.not_done(only(book, 1.0), REFUSED, 1.0)
    assert book.unstopped([DB]) == [(DB, REFUSED)]
    assert book.plan(1.1) == []
    book.ask_stop([DB])
    assert book.unstopped([DB]) == []
    assert only(book, 1.1).do is Do.STOP


def test_a_stop_that_comes_after_all_is_excused_and_the_next_daemon_knows() -> None:
    book = ledger(service("db", restart="always"))
    book.look([instance("db")], 0.0)
    book.rest([DB])
    action = only(book, 1.0)
    assert book.begin(action, 1.0)
    book.not_done(action, SILENT, 31.0)
    book.finish(action.container)
    book.rest(())
    assert [(each.run, each.kind) for each in book.ends()] == [(instance("db").run, EndKind.EXCUSED)]
    assert book.plan(32.0) == []
    book.see(instance("db", "exited", exit_code=137), 33.0)
    assert only(book, 33.0).do is Do.START


def test_a_service_that_sleeps_goes_on_to_though_its_stop_takes_long() -> None:
    book = ledger(service("db", idle_s=10.0))
    book.look([instance("db")], 0.0)
    book.ask_sleep(DB)
    action = only(book, 1.0)
    assert book.begin(action, 1.0)
    book.not_done(action, SILENT, 31.0)
    book.finish(action.container)
    book.look([instance("db")], 32.0)
    assert book.wanted.will(DB) is Will.ASLEEP


def test_a_start_that_comes_when_nobody_wants_it_any_more_is_undone() -> None:
    for is_late in (False, True):
        book = ledger(service("db"))
        book.look([instance("db", "created", start=0)], 0.0)
        action = only(book, 1.0)
        assert book.begin(action, 1.0)
        if is_late:
            book.not_done(action, SILENT, 11.0)
            book.finish(action.container)
        book.ask_stop([DB])
        assert book.plan(12.0) == []
        book.see(instance("db"), 13.0)
        book.finish(action.container)
        assert only(book, 13.0).do is Do.STOP


def test_services_of_an_engine_that_takes_longer_than_is_waited_for_become_ready_and_nobody_is_blamed() -> None:
    services = [service("db"), service("web", {"db": "healthy"}), service("job"), service("end", {"job": "done"})]
    world = World(services, 5, checked=frozenset({"db"}))
    world.engine_s = 25.0
    world.run(3600)
    assert world.shown() == {"db": Phase.READY, "web": Phase.READY, "job": Phase.DONE, "end": Phase.READY}
    for name in ("db", "web"):
        history = world.ledger.history(world.instance(ServiceName(name)))
        assert (history.deaths, history.restarts) == ((), 0)
