from typing import Any

import pytest

from dxd.compose.model import ServiceName
from dxd.engine.model import ContainerId
from dxd.services import histories, policy
from dxd.services.ledger import Ledger
from dxd.services.model import Do, End, EndKind, History, Instance, Phase, Will
from tests.dxd.services.projects import instance, ledger, service

DB, WEB = ServiceName("db"), ServiceName("web")


def acts(book: Ledger, now: float = 100.0) -> list[tuple[Do, str]]:
    """What is to be done now."""
    return [(each.do, each.service) for each in book.plan(now)]


def reason(book: Ledger, name: str) -> str:
    return next((each.reason for each in book.holds if each.service == name), "")


def pair(condition: str, **more: Any) -> Ledger:
    """`web` depends on `db`."""
    return ledger(service("web", {"db": condition}, **more), service("db"))


@pytest.mark.parametrize(
    ("condition", "dependency", "starts"),
    [
        ("started", instance("db", "created", start=0), False),
        ("started", instance("db"), True),
        ("started", instance("db", health="starting"), True),
        ("started", instance("db", "exited"), True),
        ("healthy", instance("db", health="starting"), False),
        ("healthy", instance("db", health="unhealthy"), False),
        ("healthy", instance("db", health="healthy"), True),
        ("healthy", instance("db"), True),
        ("done", instance("db"), False),
        ("done", instance("db", "exited"), True),
        ("done", instance("db", "exited", exit_code=1), False),
    ],
)
def test_a_service_starts_when_its_dependency_is_what_it_has_to_be(
    condition: str, dependency: Instance, starts: bool
) -> None:
    book = pair(condition)
    book.look([instance("web", "created", start=0)], 0)
    book.see(dependency, 0)
    decided = acts(book)
    assert ((Do.START, "web") in decided) is starts
    assert starts or "waits for db, which is" in reason(book, "web")


def test_the_order_holds_also_after_all_have_ended_and_for_one_alone() -> None:
    book = pair("healthy")
    book.look([instance("web"), instance("db", health="healthy")], 0)
    book.look([instance("web", "exited", exit_code=137), instance("db", "exited", exit_code=137)], 10, excused="engine")
    assert acts(book, 10) == [(Do.START, "db")]
    book.see(instance("db", start=2, health="starting"), 11)
    assert acts(book, 11) == []
    book.see(instance("db", start=2, health="healthy"), 12)
    assert acts(book, 12) == [(Do.START, "web")]


def test_a_dependency_that_is_not_required_is_no_hindrance_once_it_has_failed_or_is_not_wanted() -> None:
    for will, seen in (
        (Will.DOWN, instance("db", "created", start=0)),
        (Will.UP, instance("db", "exited", exit_code=3)),
    ):
        book = ledger(service("web", {"db": "healthy"}, optional=True), service("db", restart="no"))
        book.look([instance("web", "created", start=0), instance("db")], 0)
        book.taken(DB, will)
        book.see(seen, 1)
        assert acts(book) == [(Do.START, "web")]


def test_a_required_one_that_is_stopped_is_waited_for() -> None:
    book = pair("started")
    book.look([instance("web", "created", start=0), instance("db", "created", start=0)], 0)
    book.taken(DB, Will.DOWN)
    assert acts(book) == []
    assert reason(book, "web") == "waits for db, which is stopped"


def test_a_dependency_that_falls_does_not_take_its_dependant_with_it() -> None:
    book = pair("healthy")
    book.look([instance("web"), instance("db", health="healthy")], 0)
    book.see(instance("db", "exited", exit_code=1), 1)
    assert acts(book, 1.1) == []
    assert acts(book, 3) == [(Do.START, "db")]


@pytest.mark.parametrize(
    ("restart", "status", "kind"),
    [
        ("", 0, EndKind.DONE),
        ("", 1, EndKind.CRASHED),
        ("no", 0, EndKind.DONE),
        ("no", 1, EndKind.FAILED),
        ("always", 0, EndKind.CRASHED),
        ("unless-stopped", 0, EndKind.CRASHED),
        ("on-failure", 0, EndKind.DONE),
        ("on-failure", 1, EndKind.CRASHED),
    ],
)
def test_what_an_end_means_is_up_to_the_restart_policy(restart: str, status: int, kind: EndKind) -> None:
    book = ledger(service("db", restart=restart))
    book.look([instance("db")], 0)
    book.see(ended := instance("db", "exited", exit_code=status), 1)
    end = book.history(ended).end
    assert end is not None
    assert end.kind is kind


def test_a_one_shot_is_done_when_it_ends_well_and_is_not_tried_again_when_it_does_not() -> None:
    book = pair("done")
    book.look([instance("db"), instance("web", "created", start=0)], 0)
    assert book.phase(DB, 1)[0] is Phase.STARTING
    book.see(instance("db", "exited"), 1)
    assert acts(book, 1) == [(Do.START, "web")]
    assert [(each.run, each.kind) for each in book.ends()] == [("db@1", EndKind.DONE)]
    other = pair("done")
    other.look([instance("db"), instance("web", "created", start=0)], 0)
    other.see(instance("db", "exited", exit_code=2), 1)
    assert acts(other, 1000) == []
    assert other.phase(DB, 1000) == (Phase.FAILED, "ended with status 2")


def test_what_was_done_before_the_daemon_is_done_still_and_what_ran_then_runs_again() -> None:
    services = (service("web", {"db": "done"}), service("db"), service("job"))
    wills = {each.name: Will.UP for each in services}
    ends = [End(f"{each}@1", EndKind.DONE, "done", 0) for each in ("db", "job")]
    book = Ledger(ledger(*services).project, wills, ends)
    book.look([instance("db", "exited"), instance("job", "exited"), instance("web", "exited")], 0, excused="reboot")
    assert acts(book) == [(Do.START, "web")]


def test_on_failure_with_a_count_is_tried_so_often() -> None:
    book = ledger(service("db", restart="on-failure:2"))
    book.look([instance("db")], 0)
    assert crash_until_failed(book) == 3
    assert "allows 2 restarts" in reason(book, "db")


def test_five_deaths_within_ten_minutes_are_a_failure_with_the_reason() -> None:
    book = ledger(service("db", restart="always"))
    book.look([instance("db")], 0)
    assert crash_until_failed(book) == histories.MOST
    assert reason(book, "db") == "ended with status 7, 5 times within 10 minutes"


def test_whoever_asks_for_it_gives_it_a_new_chance() -> None:
    book = ledger(service("db"))
    book.look([instance("db")], 0)
    crash_until_failed(book)
    book.ask_up([DB])
    assert acts(book, 50) == [(Do.START, "db")]


def crash_until_failed(book: Ledger) -> int:
    """Have it crash as soon as it is started; how often."""
    now, start, crashes = 0.0, 1, 0
    while crashes < 20:
        book.see(instance("db", "exited", exit_code=7, start=start), now)
        crashes += 1
        actions = book.plan(now)
        if not actions:
            wake = book.wake_at(now)
            if wake is None:
                return crashes
            assert wake - now >= histories.FIRST_S
            now = wake
            actions = book.plan(now)
        assert [each.do for each in actions] == [Do.START]
        assert book.begin(actions[0], now)
        start += 1
        book.see(instance("db", start=start), now)
        book.finish(actions[0].container)
    raise AssertionError("it is tried again and again")


@pytest.mark.parametrize("streak", range(1, 30))
def test_pauses_double_up_to_a_minute_and_differ_from_service_to_service(streak: int) -> None:
    pauses = [histories.pause(streak, f"{each}/{streak}") for each in range(50)]
    plain = min(60.0, 2.0 ** (streak - 1))
    assert all(max(1.0, 0.8 * plain) <= each <= min(60.0, 1.2 * plain) for each in pauses)
    assert len(set(pauses)) > 20
    assert pauses[0] == histories.pause(streak, f"0/{streak}")


def test_an_unhealthy_service_is_restarted_and_left_alone_after_the_fifth_time() -> None:
    book = ledger(service("db"))
    now, start = 0.0, 1
    book.look([instance("db", health="healthy")], now)
    restarts = 0
    while restarts < 20:
        book.see(instance("db", health="unhealthy", start=start, health_output="no answer"), now)
        actions = book.plan(now)
        if not actions:
            wake = book.wake_at(now)
            if wake is None:
                break
            now = wake
            actions = book.plan(now)
        assert [each.do for each in actions] == [Do.RESTART]
        if not book.begin(actions[0], now):
            continue
        restarts += 1
        book.see(instance("db", "exited", exit_code=143, start=start), now)
        book.finish(actions[0].container)
        (action,) = book.plan(now)
        assert (action.do, book.begin(action, now)) == (Do.START, True)
        start += 1
        book.see(instance("db", health="starting", start=start), now)
        book.finish(action.container)
    assert restarts == histories.MOST - 1
    assert book.phase(DB, now) == (Phase.FAILED, "unhealthy 5 times within 10 minutes: no answer")


def test_a_health_check_that_is_silent_for_too_long_is_bad_health() -> None:
    """Looked at by itself, and not blamed for what the engine or the machine did not do; nor for a pause."""
    book = ledger(service("db"))
    book.look([instance("db", health="healthy", check_s=3, last_test="a")], 0)
    now, looks = 0.0, 0

    def wait(test: str, status: str = "running") -> list[tuple[Do, str]]:
        nonlocal now, looks
        now = book.wake_at(now) or now + 6
        looks += book.silent(now) == ["db"]
        book.see(instance("db", status, health="healthy", check_s=3, last_test=test), now)
        return acts(book, now)

    for test in ("b", "c", "c", "d", "d"):
        assert wait(test) == []
    wait("d", "paused")
    assert (wait("d"), wait("d")) == ([], [])
    book.look([instance("db", health="healthy", check_s=3, last_test="d")], now)
    assert wait("d") == []
    before = now
    assert wait("d") == [(Do.RESTART, "db")]
    assert now - before == 6
    assert looks == 9
    assert book.phase(DB, now) == (Phase.UNHEALTHY, "")


@pytest.mark.parametrize("more", [{"restart": "no"}, {"restart_unhealthy": False}])
def test_an_unhealthy_service_is_left_alone_where_the_file_says_so(more: dict[str, Any]) -> None:
    book = ledger(service("db", **more))
    book.look([instance("db", health="unhealthy")], 0)
    assert acts(book, 1000) == []
    assert book.phase(DB, 1000)[0] is Phase.UNHEALTHY


def test_after_ten_minutes_of_health_a_crash_is_the_first_again() -> None:
    history = History(streak=4, ready_at=0.0)
    book = ledger(service("db"))
    seen = instance("db", "exited", exit_code=1)
    assert histories.ended(history, book.wanted, seen, histories.STABLE_S).streak == 1
    assert histories.ended(history, book.wanted, seen, histories.STABLE_S - 1).streak == 5


def test_a_start_that_the_engine_refuses_counts_each_time() -> None:
    book = ledger(service("db"))
    book.look([instance("db", "created", start=0)], 0)
    now = 0.0
    for count in range(1, 6):
        (action,) = book.plan(now)
        assert book.begin(action, now)
        book.could_not_start(action.container, "port 80 is taken", now)
        book.finish(action.container)
        assert book.plan(now) == []
        now = book.wake_at(now) or now
        assert len(book.history(instance("db")).deaths) == count
    assert book.phase(DB, now) == (
        Phase.FAILED,
        "it could not be started: port 80 is taken, 5 times within 10 minutes",
    )


def test_dependants_stop_before_what_they_depend_on() -> None:
    book = pair("healthy")
    book.look([instance("web"), instance("db", health="healthy")], 0)
    book.ask_stop([WEB, DB])
    (action,) = book.plan(1)
    assert (action.do, action.service) == (Do.STOP, "web")
    assert book.begin(action, 1)
    assert acts(book, 1) == []
    book.see(instance("web", "exited", exit_code=143), 2)
    book.finish(action.container)
    assert acts(book, 2) == [(Do.STOP, "db")]
    book.see(instance("db", "exited", exit_code=0), 3)
    assert acts(book, 3) == []
    assert dict(book.wills) == {"web": Will.DOWN, "db": Will.DOWN}


def test_a_dependency_stops_alone_where_only_that_is_asked() -> None:
    book = pair("healthy")
    book.look([instance("web"), instance("db", health="healthy")], 0)
    book.ask_stop([DB])
    assert acts(book, 1) == [(Do.STOP, "db")]


def test_a_stop_by_somebody_else_is_taken_as_their_will_and_so_is_a_start() -> None:
    book = ledger(service("db", restart="always"))
    book.look([instance("db")], 0)
    book.taken(DB, Will.DOWN)
    book.see(instance("db", "exited", exit_code=0), 1)
    assert acts(book, 1000) == []
    assert book.phase(DB, 1000)[0] is Phase.STOPPED
    book.taken(DB, Will.UP)
    book.see(instance("db", start=2), 1001)
    book.see(instance("db", "exited", exit_code=1, start=2), 1002)
    assert acts(book, 1010) == [(Do.START, "db")]


def test_a_paused_service_is_left_to_whoever_paused_it() -> None:
    book = ledger(service("db"))
    book.look([instance("db", "paused")], 0)
    assert acts(book, 1000) == []
    assert book.phase(DB, 0)[0] is Phase.PAUSED


def test_nothing_is_decided_while_news_may_still_come() -> None:
    book = ledger(service("db"))
    book.look([instance("db", "exited")], 0, excused="gap")
    book.settled = False
    assert acts(book) == []
    book.settled = True
    assert acts(book) == [(Do.START, "db")]


def test_without_a_check_a_service_is_ready_once_it_has_lived_a_moment() -> None:
    book = ledger(service("db"))
    book.look([instance("db", "created", start=0)], 0)
    book.see(instance("db"), 10)
    book.plan(10)
    assert book.phase(DB, 10)[0] is Phase.STARTING
    assert book.wake_at(10) == 10 + policy.ALIVE_S
    assert book.phase(DB, 10 + policy.ALIVE_S)[0] is Phase.READY


def test_a_probe_that_succeeds_makes_it_ready_until_it_is_started_again() -> None:
    book = ledger(service("db", ready=("CMD", "x")))
    book.look([instance("db")], 0)
    assert book.phase(DB, 100)[0] is Phase.STARTING
    book.probed(instance("db").id, "db@1")
    assert book.phase(DB, 100)[0] is Phase.READY
    book.see(instance("db", start=2), 101)
    assert book.phase(DB, 200)[0] is Phase.STARTING


def test_why_it_is_not_ready_is_said_where_its_test_hangs() -> None:
    book = ledger(service("db", ready=("CMD", "x")))
    book.look([instance("db")], 0)
    book.hangs(instance("db").id, "db@1", "its ready test did not end")
    assert (acts(book), book.phase(DB, 100)) == ([], (Phase.STARTING, "its ready test did not end"))
    book.see(instance("db"), 101)
    assert (acts(book), book.phase(DB, 101)) == ([], (Phase.STARTING, "its ready test did not end"))
    book.probed(instance("db").id, "db@1")
    assert (acts(book), book.phase(DB, 102)) == ([], (Phase.READY, ""))
    book.see(instance("db", start=2), 103)
    assert (acts(book), book.phase(DB, 103)) == ([], (Phase.STARTING, ""))


def test_whoever_waits_is_told_of_ends_since_then_and_of_failures_whenever() -> None:
    book = ledger(service("db"), service("web", restart="no"))
    book.look([instance("db"), instance("web")], 0)
    book.see(instance("db", "exited", exit_code=1), 10)
    book.see(instance("web", "exited", exit_code=2), 10)
    names = [DB, WEB]
    assert [reason for _, reason in policy.fallen(book.wanted, book.seen, names, 5)] == [
        "ended with status 1",
        "ended with status 2",
    ]
    assert [reason for _, reason in policy.fallen(book.wanted, book.seen, names, 11)] == ["ended with status 2"]


ILL = "its health check fails: no answer"


def fallen(book: Ledger, name: ServiceName, since: float) -> list[str]:
    return [reason for _, reason in policy.fallen(book.wanted, book.seen, [name], since)]


def stuck(book: Ledger, name: ServiceName) -> list[tuple[str, str]]:
    return [(each.reason, each.hint) for each in policy.stuck(book.wanted, book.seen, [name], 100)]


def test_whoever_waits_is_told_of_bad_health_since_then_though_it_is_restarted_for_that() -> None:
    """Of what was ill before they waited the restart counts, which is theirs."""
    book = ledger(service("db"))
    book.look([instance("db", health="starting")], 0)
    book.see(instance("db", health="unhealthy", health_output="no answer"), 10)
    assert fallen(book, DB, 5) == [ILL]
    (action,) = book.plan(10)
    assert book.begin(action, 10)
    book.see(instance("db", "exited", exit_code=143), 11)
    book.finish(action.container)
    book.see(instance("db", health="starting", start=2), 12)
    assert fallen(book, DB, 5) == [ILL]
    assert fallen(book, DB, 11) == []
    book.see(instance("db", health="unhealthy", start=2, health_output="no answer"), 20)
    book.see(instance("db", health="healthy", start=2), 21)
    assert fallen(book, DB, 11) == [ILL]
    book.ask_up([DB])
    assert fallen(book, DB, 11) == []


@pytest.mark.parametrize("more", [{"restart": "no"}, {"restart_unhealthy": False}])
def test_whoever_waits_is_told_of_bad_health_that_nothing_is_done_about_whenever_it_began(more: dict[str, Any]) -> None:
    book = ledger(service("db", **more), service("web", {"db": "healthy"}))
    book.look([instance("db", health="unhealthy", health_output="no answer"), instance("web", "created", start=0)], 0)
    assert fallen(book, DB, 50) == [f"{ILL}; it is left alone, as its file says"]
    assert stuck(book, WEB) == [("waits for db, which is unhealthy", "see: dx logs db")]


def test_whoever_waits_for_what_is_paused_is_told_so_and_so_is_who_waits_for_its_dependant() -> None:
    book = ledger(service("db"), service("api", {"db": "healthy"}), service("web", {"api": "started"}))
    never = [instance(name, "created", start=0) for name in ("api", "web")]
    book.look([instance("db", "paused"), *never], 0)
    unpause = "to go on: docker unpause"
    assert stuck(book, DB) == [("it was paused by somebody", unpause)]
    assert stuck(book, ServiceName("api")) == [("waits for db, which is paused", unpause)]
    assert stuck(book, WEB) == [("waits for api, which is waiting", unpause)]
    book.look([instance("db", health="unhealthy"), *never], 1)
    assert stuck(book, WEB) == []


@pytest.mark.parametrize(
    ("status", "for_s", "lost"), [("dead", 0, True), ("removing", 50, False), ("removing", 70, True)]
)
def test_whoever_waits_for_what_the_engine_cannot_remove_is_told_so(status: str, for_s: float, lost: bool) -> None:
    """Or has been removing for long; and so is who waits for its dependant."""
    book = ledger(service("db"), service("web", {"db": "started"}))
    book.look([instance("db"), instance("web", "created", start=0)], 0)
    book.see(instance("db", status, exit_code=137), 100 - for_s)
    book.see(instance("db", status, exit_code=137), 100)
    assert acts(book) == []
    if lost:
        assert reason(book, "db") == f"the engine has it {status}; to have another one: dx up --recreate db"
        again = "dx up --recreate db"
        assert stuck(book, DB) == [(f"the engine has its container {status}", f"make another: {again}")]
        assert stuck(book, WEB) == [("waits for db, which is failed", f"make another: {again}")]
    else:
        assert (stuck(book, DB), stuck(book, WEB)) == ([], [])
        assert book.wake_at(100) == 110


def test_what_the_engine_cannot_remove_and_nobody_wants_is_stopped() -> None:
    book = ledger(service("db"), will=Will.DOWN)
    book.look([instance("db", "dead")], 0)
    assert book.phase(DB, 100)[0] is Phase.STOPPED


def test_a_service_that_was_given_up_and_was_well_for_long_is_new_again() -> None:
    """Not one that was well for a moment now and then."""
    book, now = ledger(service("db")), 0.0
    book.look([instance("db", health="starting")], now)

    def ill(at: float) -> list[tuple[Do, str]]:
        book.see(instance("db", health="unhealthy"), at)
        actions = book.plan(at)
        return [(each.do, each.service) for each in actions if book.begin(each, at)]

    for _ in range(histories.MOST - 1):
        now += 70
        assert ill(now) == [(Do.RESTART, "db")]
        book.finish(instance("db").id)
        book.see(instance("db", health="starting"), now)
    now += 70
    assert ill(now) == []
    assert book.phase(DB, now)[0] is Phase.FAILED
    for well_s in (histories.STABLE_S / 2, histories.STABLE_S / 2, histories.STABLE_S - 1):
        book.see(instance("db", health="healthy"), now + 1)
        assert acts(book, now + 1) == []
        assert book.phase(DB, now + 1)[0] is Phase.READY
        now += 1 + well_s
        assert ill(now) == []
        assert book.phase(DB, now)[0] is Phase.FAILED
    book.see(instance("db", health="healthy"), now + 1)
    book.plan(now + 1)
    now += 1 + histories.STABLE_S
    assert ill(now) == [(Do.RESTART, "db")]
    assert book.history(instance("db")).streak == 1


def test_the_same_end_counts_once() -> None:
    book = ledger(service("db"))
    book.look([instance("db")], 0)
    for now in (1, 2, 3):
        book.see(instance("db", "exited", exit_code=1), now)
    assert book.history(instance("db")).deaths == (1,)
    end = book.history(instance("db")).end
    assert end == End("db@1", EndKind.CRASHED, "ended with status 1", 1)


def test_a_failure_is_one_still_after_the_daemon_was_started_again() -> None:
    """Also that of a container which could never be started."""
    first = ledger(service("db"), service("web", restart="no"))
    first.look([instance("db", "created", start=0), instance("web")], 0)
    first.see(instance("web", "exited", exit_code=3), 1)
    for _ in range(histories.MOST):
        first.could_not_start(instance("db").id, "port 80 is taken", 2)
    again = Ledger(first.project, first.wills, first.ends())
    again.look([instance("db", "created", start=0), instance("web", "exited", exit_code=3)], 100, excused="dx was away")
    assert acts(again, 200) == []
    assert again.phase(WEB, 200) == (Phase.FAILED, "ended with status 3")
    assert again.phase(DB, 200)[0] is Phase.FAILED
    again.ask_up([DB, WEB])
    assert acts(again, 200) == [(Do.START, "db"), (Do.START, "web")]


@pytest.mark.parametrize(("status", "starts"), [(137, True), (143, True), (3, False)])
def test_of_what_ended_unseen_only_what_was_killed_runs_again_where_the_file_says_no(status: int, starts: bool) -> None:
    book = ledger(service("db", restart="no"))
    book.look([instance("db", "exited", exit_code=status)], 0, excused="it ended while dx was away")
    assert acts(book) == ([(Do.START, "db")] if starts else [])


def test_a_stop_that_a_daemon_before_was_about_to_make_is_nobodys_will() -> None:
    """Once, and only of the run that it was to stop."""
    book = ledger(service("db"))
    book.look([instance("db", health="unhealthy")], 0)
    (action,) = book.plan(0)
    assert not book.ends()
    assert book.begin(action, 0)
    (end,) = book.ends()
    assert (end.run, end.kind) == ("db@1", EndKind.EXCUSED)
    for start, foretold in ((1, True), (2, False), (0, True)):
        after = Ledger(book.project, book.wills, [end])
        if start:
            after.look([instance("db", health="unhealthy", start=start)], 0)
        assert [after.was_foretold(ContainerId("db")) for _ in range(2)] == [foretold, False]
        after.look([instance("db", "exited", exit_code=137)], 1)
        assert acts(after, 1) == [(Do.START, "db")]
