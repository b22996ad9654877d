from dataclasses import replace

from dxd.services import profiles
from dxd.services.ledger import Ledger
from dxd.services.model import Will
from tests.dxd.services.projects import instance, project, service

WEB, DEBUG, JOB = service("web"), service("debug"), service("job", restart="no")
PLAIN = replace(project(WEB), inactive={DEBUG.name: ("a", "b"), JOB.name: ("tools",)})


def ledger(debug: Will, *, job: int | None = None) -> Ledger:
    """`web` and `debug` run, and the job was asked for where it has ended with a status."""
    wills = {WEB.name: Will.UP, DEBUG.name: debug, JOB.name: Will.DOWN if job is None else Will.UP}
    found = Ledger(project(WEB, DEBUG, JOB), wills)
    ended = [] if job is None else [instance("job", "exited", exit_code=job)]
    for each in (instance("web"), instance("debug"), *ended):
        found.see(each, 0.0)
    found.plan(0.0)
    return found


def in_force(it: Ledger, *given: str) -> list[str]:
    return profiles.in_force(it, PLAIN, given, 0.0)


def test_a_profile_is_in_force_while_somebody_wants_one_of_its_services() -> None:
    assert in_force(ledger(Will.UP)) == ["a"]
    assert in_force(ledger(Will.UP), "b", "tools") == ["b"]
    assert in_force(ledger(Will.ASLEEP), "a", "b") == ["a", "b"]
    for will in (Will.STOPPING, Will.DOWN):
        assert in_force(ledger(will), "a") == []


def test_what_has_done_its_work_needs_no_profile_and_what_has_failed_does() -> None:
    assert in_force(ledger(Will.DOWN, job=0), "tools") == []
    assert in_force(ledger(Will.DOWN, job=1), "tools") == ["tools"]


def test_all_services_are_those_that_were_asked_for_and_what_runs_of_others() -> None:
    every = project(WEB, DEBUG, JOB)
    for it, meant in (
        (ledger(Will.UP), {"web", "debug"}),
        (ledger(Will.DOWN), {"web"}),
        (ledger(Will.UP, job=0), {"web", "debug"}),
        (ledger(Will.UP, job=1), {"web", "debug"}),
    ):
        assert profiles.meant(it, PLAIN, every, 0.0) == meant
    assert profiles.meant(ledger(Will.DOWN, job=1), every, every, 0.0) == {"web", "debug", "job"}
