"""The ledger, while services rest for something that is done with their data, and while they are seeded."""

from dxd.compose.model import ServiceName
from dxd.services.ledger import BY_DX, Ledger
from dxd.services.model import Do, EndKind, Phase, Will
from tests.dxd.services.projects import instance, ledger, project, service

DB, WEB = ServiceName("db"), ServiceName("web")


def acts(book: Ledger, now: float = 100.0) -> list[tuple[Do, str]]:
    """What is to be done now; it is begun."""
    actions = book.plan(now)
    for each in actions:
        book.begin(each, now)
    return [(each.do, each.service) for each in actions]


def rested() -> Ledger:
    """`db` was told to rest, and has ended well; `web` goes on."""
    book = ledger(service("web"), service("db"))
    book.look([instance("web"), instance("db")], 0.0)
    book.rest([DB])
    assert acts(book) == [(Do.STOP, "db")]
    assert not book.rests()
    book.see(instance("db", "exited"), 101.0)
    book.finish(instance("db").id)
    return book


def test_one_that_rests_is_stopped_and_starts_again_though_nothing_else_was_wanted() -> None:
    """One that ends with status 0 would be done otherwise."""
    book = rested()
    assert book.rests()
    assert acts(book, 102.0) == []
    assert (book.phase(DB, 102.0)[0], book.phase(WEB, 102.0)[0]) == (Phase.STOPPED, Phase.READY)
    assert book.wills == {DB: Will.UP, WEB: Will.UP}
    book.rest(())
    assert acts(book, 103.0) == [(Do.START, "db")]


def test_only_starts_after_a_fall_or_for_bad_health_are_counted_as_restarts() -> None:
    """Not those after a rest, a restart that somebody or a rule has asked for, or an end of the engine's doing."""
    book = rested()
    book.rest(())

    def restarts(now: float) -> int:
        """After it has been started once more."""
        assert acts(book, now) == [(Do.START, "db")]
        book.see(instance("db", start=int(now)), now)
        book.finish(instance("db").id)
        return book.history(instance("db", start=int(now))).restarts

    assert restarts(103) == 0
    book.rest([DB])
    assert acts(book, 110) == [(Do.STOP, "db")]
    book.ask_up([DB])
    book.see(instance("db", "exited", start=103), 111)
    book.finish(instance("db").id)
    book.rest(())
    assert restarts(112) == 0
    book.excuse_all("the engine was restarted")
    book.see(instance("db", "exited", start=112, exit_code=137), 120)
    assert restarts(121) == 0
    book.see(instance("db", "exited", start=121, exit_code=137), 130)
    assert restarts(140) == 1
    book.see(instance("db", health="unhealthy", start=140), 150)
    assert acts(book, 200) == [(Do.RESTART, "db")]
    book.see(instance("db", "exited", start=140, exit_code=143), 201)
    book.finish(instance("db").id)
    assert restarts(202) == 2


def test_the_next_daemon_starts_it_whether_or_not_this_one_saw_its_end() -> None:
    running = ledger(service("db"))
    running.look([instance("db")], 0.0)
    running.rest([DB])
    for book in (running, rested()):
        ends = [each for each in book.ends() if each.run == instance("db").run]
        assert [(each.kind, each.reason) for each in ends] == [(EndKind.EXCUSED, BY_DX)]
        after = Ledger(project(service("db")), {DB: Will.UP}, ends)
        after.look([instance("db", "exited")], 0.0)
        assert acts(after) == [(Do.START, "db")]


def test_one_that_was_stopped_before_stays_so() -> None:
    book = ledger(service("db"), will=Will.DOWN)
    book.look([instance("db", "exited")], 0.0)
    book.rest([DB])
    assert book.rests()
    book.rest(())
    assert acts(book) == []


def test_one_that_is_to_be_seeded_is_not_ready_before() -> None:
    """And the seed waits for its test."""
    book = ledger(service("db", seed=("CMD", "fill")), service("web", {"db": "healthy"}))
    created = instance("web", "created", start=0)
    book.look([instance("db", health="starting"), created], 0.0)
    assert book.to_seed(100.0) == []
    book.see(instance("db", health="healthy"), 100.0)
    assert [each.service for each in book.to_seed(101.0)] == ["db"]
    assert book.phase(DB, 101.0)[0] is Phase.STARTING
    assert acts(book, 101.0) == []
    book.seed(DB, due=False)
    assert (book.to_seed(102.0), book.phase(DB, 102.0)[0]) == ([], Phase.READY)
    assert acts(book, 102.0) == [(Do.START, "web")]


def test_a_run_whose_seed_has_failed_has_failed_and_is_not_started_again() -> None:
    book = ledger(service("db", restart="always", seed=("CMD", "fill")))
    book.look([instance("db")], 0.0)
    book.condemn(instance("db").run, "its seed ended with status 3")
    book.see(instance("db", "exited", exit_code=143), 100.0)
    assert acts(book, 101.0) == []
    assert book.phase(DB, 101.0) == (Phase.FAILED, "its seed ended with status 3")
    book.ask_up([DB])
    assert acts(book, 102.0) == [(Do.START, "db")]
