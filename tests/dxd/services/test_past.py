"""What of the past of services outlives the daemon, and for how long it counts."""

from dxd.compose.model import ServiceName
from dxd.kit.boot import boot_id
from dxd.services import histories, past, policy
from dxd.services.ledger import Ledger
from dxd.services.model import Do, Phase
from tests.dxd.services.projects import instance, ledger, service

DB = ServiceName("db")


def crashed() -> Ledger:
    """Twice, the second time at 20."""
    book = ledger(service("db"))
    book.look([instance("db")], 0)
    for start, at in ((1, 10), (2, 20)):
        book.see(instance("db", "exited", exit_code=3, start=start), at)
        if start == 1:
            book.see(instance("db", start=2), 15)
    return book


def again(book: Ledger, now: float, *, boot: str = "a", kept_in: str = "a") -> Ledger:
    """By a daemon that has just been started."""
    rows = past.kept(book.falls(), DB, kept_in)
    return Ledger(book.project, book.wills, book.ends(), past.known(DB, rows, boot, now))


def test_a_daemon_that_is_restarted_in_a_pause_waits_for_its_end() -> None:
    book = again(crashed(), 20.5)
    book.look([instance("db", "exited", exit_code=3, start=2)], 20.5, excused="it ended while dx was away")
    assert book.plan(20.5) == []
    assert book.phase(DB, 20.5) == (Phase.BACKOFF, "ended with status 3; started again in 1 s")
    until = book.wake_at(20.5)
    assert until is not None
    assert 21.6 <= until <= 22.4
    assert [(each.do, each.reason) for each in book.plan(until)] == [(Do.START, "ended with status 3")]
    assert book.history(instance("db")).deaths == (10, 20)


def test_what_has_ended_while_the_daemon_was_away_is_started_at_once_and_what_was_before_counts() -> None:
    book = again(crashed(), 100)
    book.look([instance("db", "exited", exit_code=3, start=3)], 100, excused="it ended while dx was away")
    assert [each.do for each in book.plan(100)] == [Do.START]
    assert book.history(instance("db")).streak == 2


def test_falls_of_another_boot_of_long_ago_or_of_a_time_to_come_do_not_count() -> None:
    fell = crashed()
    for now, boot, kept_in in (
        (30.0, "b", "a"),
        (30.0, "", ""),
        (20.0 + histories.WINDOW_S, "a", "a"),
        (19.0, "a", "a"),
    ):
        book = again(fell, now, boot=boot, kept_in=kept_in)
        assert book.falls() == {}
        book.look([instance("db", "exited", exit_code=3, start=2)], now, excused="it ended while dx was away")
        assert [each.do for each in book.plan(now)] == [Do.START]
        assert not book.history(instance("db")).deaths


def test_what_was_given_up_stays_so_in_that_run_alone() -> None:
    book = ledger(service("db"))
    book.look([instance("db", health="healthy")], 0)
    for start in range(1, histories.MOST + 1):
        now = 70.0 * start
        book.see(instance("db", health="unhealthy", start=start), now)
        (action,) = book.plan(now)
        if book.begin(action, now):
            book.finish(action.container)
            book.see(instance("db", health="starting", start=start + 1), now)
    for start, shown in ((histories.MOST, Phase.FAILED), (histories.MOST + 1, Phase.UNHEALTHY)):
        after = again(book, 10_000)
        after.look([instance("db", health="unhealthy", start=start)], 10_000)
        after.plan(10_000)
        assert policy.phase(after.wanted, after.seen, DB, 10_000) is shown


def test_a_boot_is_the_same_for_as_long_as_it_lasts() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
