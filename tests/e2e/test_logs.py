"""`dx logs` with the real daemon: what is kept is told by the next one, and following goes over daemons."""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dxd.logs.keeper import Keeper
from dxd.logs.model import Mark, MarkKind, ServiceId
from tests.dxd.logs.made import DB, TWO, WEB, at, entry, keep, opened
from tests.house import PEOPLE, House
from tests.waiting import until


def directory(house: House, service: ServiceId) -> Path:
    """Where the daemon keeps that service's output."""
    return house.state / "logs" / service.project / service.service


def stock(house: House, service: ServiceId, write: Callable[[Keeper], None]) -> None:
    """Have something kept, as by a daemon before, of a container that has stopped."""
    keeper = opened(directory(house, service))
    write(keeper)
    for instance in keeper.untold():
        keeper.mark(Mark(MarkKind.ENDED, "the container has stopped", at(9), instance))
    keeper.close()
    top = house.state
    for each in [top, *top.rglob("*")]:
        os.chown(each, house.person.uid, house.person.gid)


@pytest.mark.parametrize("house", PEOPLE, indirect=True, ids=lambda person: person.name)
def test_what_a_daemon_before_has_kept(house: House) -> None:
    stock(house, WEB, lambda keeper: keep(keeper, [entry(1, b"one\n"), entry(3, b"ERROR three\n", stderr=True)]))
    stock(house, DB, lambda keeper: keep(keeper, [entry(2, b"two \xff\n")], TWO))
    done = house.dx(["logs", "-p", "shop"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"web-1 | one\ndb    | two \xff\nweb-1 | ERROR three\n"
    assert house.dx(["logs", "-p", "shop", "--no-prefix", "--level", "error"]).stdout == b"ERROR three\n"
    told = house.dx(["logs", "-p", "shop", "--json", "web"]).stdout.splitlines()
    assert [json.loads(each).get("line") for each in told] == ["one", "ERROR three", None]
    done = house.dx(["logs", "-p", "shop", "wbe"])
    assert (done.returncode, done.stderr) == (125, b"dx: nothing is kept of a service wbe of shop; did you mean web?\n")


def test_following_goes_over_a_daemon_that_begins_anew(house: House) -> None:
    """Stopped, and killed: each line is shown once."""
    stock(house, WEB, lambda keeper: keep(keeper, [entry(1, b"line 1\n")]))
    follower = house.popen(["logs", "-f", "-p", "shop", "--no-prefix"], stdout=subprocess.PIPE)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"line 1\n"
        for number in (2, 3):
            if number == 2:
                assert house.dx(["daemon", "stop"]).returncode == 0
            else:
                house.stop(9)
            stock(house, WEB, lambda keeper, number=number: keep(keeper, _lines(number)))  # type: ignore[misc]
            house.start()
            assert follower.stdout.readline() == b"line %d\n" % number
    finally:
        with suppress(ProcessLookupError):
            follower.terminate()
        assert follower.communicate(timeout=30)[0] == b""
    until(lambda: follower.returncode is not None, "it has ended")


def _lines(last: int) -> list[bytes]:
    return [entry(number, b"line %d\n" % number) for number in range(1, last + 1)]
