"""A day with dev services, end to end: PostgreSQL, Redis, nginx and a small shop, by the commands of the tutorial."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.e2e.shop import now, when
from tests.e2e.tutorial import Day
from tests.house import House
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)

FOLLOWED_S = 120.0
"""For a build and an exchange, on a machine that others use too."""
ORDER = ("db", "cache", "web", "proxy")
"""Of which each waits for those before it, the first two aside."""
open_ = build_opener(ProxyHandler({})).open


@pytest.fixture
def day(house: House) -> Iterator[Day]:
    with Day(house) as made:
        yield made


def asked(day: Day, path: str = "", method: str = "GET") -> dict[str, Any]:
    """What the shop answers by way of nginx."""
    request = Request(f"http://127.0.0.1:{day.house.env['SHOP_PORT']}/{path}", method=method)
    with open_(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def lines(day: Day, service: str) -> list[str]:
    """What dx has kept of its output."""
    return day.dx("logs", "--no-prefix", service).stdout.splitlines()


def printed(day: Day, service: str) -> list[str]:
    """What the engine has of the container that there is now; PostgreSQL prints to one stream only."""
    done = subprocess.run(["docker", "logs", day.container(service)], capture_output=True, text=True, timeout=60)
    return done.stderr.splitlines()


def orders(text: str) -> int:
    """The number that psql prints for a count."""
    return int(text.partition("-------\n")[2].split()[0])


@contextmanager
def followed(day: Day, service: str) -> Iterator[Callable[[], list[str]]]:
    """What somebody has read by now who follows its output, from its first line on."""
    path = day.house.root / "followed"
    with (
        path.open("wb") as file,
        day.house.popen(
            ["logs", "-f", "--no-prefix", service], cwd=day.root, stdout=file, stderr=subprocess.DEVNULL
        ) as it,
    ):
        try:
            yield lambda: path.read_text().splitlines()
        finally:
            it.terminate()


class Customers:
    """Ask for the shop's window all the time, until the end of the block."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        self.seen: list[str] = []
        self.failed: list[str] = []
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._threads:
            each.join(30)

    def _ask(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            try:
                self.seen.append(asked(self._day)["window"])
            except Exception as error:
                self.failed.append(f"{now():.3f} {error!r}")
            self.longest_s = max(self.longest_s, time.monotonic() - began)


def test_a_day_with_services(day: Day) -> None:
    """Each step of the page, and what it says of it."""
    begins_in_order(day)
    with followed(day, "db") as read:
        takes_orders(day)
        is_reached_by_tools(day)
        recovers(day)
        follows_an_edit_without_a_request_that_fails(day)
        is_restarted_in_order(day)
        is_saved_and_put_back(day)
        comes_back_with_its_data(day)
        until(lambda: read() == lines(day, "db"), "who follows has read all of it, each line once")
    day.does("Put it away")
    assert day.left == []
    assert "there is no project" in day.dx("services", "--project", day.name, ok=False).stderr
    mine = f"label=com.docker.compose.project={day.name}"
    assert day.docker("ps", "--all", "--quiet", "--filter", mine) == ""
    assert day.docker("volume", "ls", "--quiet", "--filter", mine) == ""


def begins_in_order(day: Day) -> None:
    out = day.does("Begin")
    assert dict(line.split()[:2] for line in out.splitlines()[1:]) == {
        "cache": "ready",
        "db": "ready",
        "migrate": "done",
        "proxy": "ready",
        "web": "ready",
        "worker": "ready",
    }
    migrated = day.inspect("migrate")["State"]
    assert day.started("db") < when(migrated["StartedAt"])
    assert when(migrated["FinishedAt"]) <= min(day.started("web"), day.started("worker"))
    assert day.started("web") < day.started("proxy")
    assert asked(day, "health") == {"migrations": 1}
    assert asked(day) == {"greeting": "Welcome", "window": "apples", "orders": 0, "packed": 0, "visits": 1}


def takes_orders(day: Day) -> None:
    """Through nginx to the web program and PostgreSQL, through Redis to the worker."""
    out = day.does("Order something")
    assert out.startswith('{"order": 1}{"greeting": "Welcome"')
    assert "1 pear\n" in out
    until(lambda: asked(day)["packed"] == 1, "the order is packed")
    until(lambda: "packed order 1" in lines(day, "worker"), "the worker says so")
    assert day.states()["report"] == "done"


def is_reached_by_tools(day: Day) -> None:
    out = day.does("Look into the database")
    assert f"postgresql://shop:kept-in-the-cellar@127.0.0.1:{day.house.env['DB_PORT']}/shop\n" in out
    assert orders(out.partition("/shop\n")[2]) == 1
    assert orders(day.does("Look into the database")) == 1
    assert orders(day.does("Look into the database")) == 1
    day.reach(web="ready", worker="ready", proxy="ready")


def recovers(day: Day) -> None:
    """SIGKILL to PostgreSQL: it is back in a second, with its data; what it printed is kept once."""
    container, restarts = day.inspect("db")["Id"], day.services()["db"]["restarts"]
    killed = now()
    out = day.does("Let it fall")
    assert now() - killed < 30
    assert asked(day, "health") == {"migrations": 1}
    assert day.services()["db"]["restarts"] == restarts + 1
    assert day.inspect("db")["Id"] == container
    assert "automatic recovery in progress" in "\n".join(lines(day, "db"))
    assert "db" in out
    assert asked(day)["orders"] == 1
    until(lambda: lines(day, "db") == printed(day, "db"), "both have the same lines, each once")


def follows_an_edit_without_a_request_that_fails(day: Day) -> None:
    before = {name: day.inspect(name)["Id"] for name in ("web", "worker", "db", "migrate")}
    with Customers(day) as customers:
        until(lambda: len(customers.seen) > 20, "customers are served")
        edited = now()
        day.does("Change something")
        until(lambda: customers.seen[-1:] == ["plums"], "there are plums", deadline_s=FOLLOWED_S)
        shown_s = now() - edited
        until(
            lambda: all(day.inspect(name)["Id"] != before[name] for name in ("web", "worker")),
            "both are new ones",
            deadline_s=FOLLOWED_S,
        )
        day.reach(web="ready", worker="ready", deadline_s=FOLLOWED_S)
        # While both are there, nginx asks either.
        until(lambda: customers.seen[-40:] == ["plums"] * 40, "the old one is asked no more")
    assert customers.failed == []
    retried = sum("upstream" in line for line in lines(day, "proxy"))
    took = f"the longest took {customers.longest_s:.2f} s, nginx asked {retried} again; plums after {shown_s:.1f} s"
    print(f"{len(customers.seen)} requests, {took}")
    assert {name: day.inspect(name)["Id"] for name in ("db", "migrate")}.items() <= before.items()
    assert asked(day, "health") == {"migrations": 1}
    good = day.inspect("web")["Id"]
    with Customers(day) as customers:
        day.does("Change something")
        until(lambda: "its new container" in day.services()["web"]["reason"], "it is told", deadline_s=FOLLOWED_S)
    assert customers.failed == []
    assert set(customers.seen) == {"plums"}
    assert day.inspect("web")["Id"] == good
    day.does("Change something")
    until(lambda: day.services()["web"]["reason"] == "", "all is well", deadline_s=FOLLOWED_S)
    day.reach(web="ready", worker="ready", deadline_s=FOLLOWED_S)


def is_restarted_in_order(day: Day) -> None:
    before = {name: day.started(name) for name in ORDER}
    day.does("Start all of it again")
    started = [day.started(name) for name in ORDER]
    assert all(day.started(name) > before[name] for name in ORDER)
    assert max(started[:2]) < started[2] < started[3]
    until(lambda: asked(day)["orders"] == 1, "it is open again")
    assert asked(day, "health") == {"migrations": 2}


def is_saved_and_put_back(day: Day) -> None:
    out = day.does("Save what there is")
    assert "DELETE 1" in out
    day.reach(web="ready", worker="ready", proxy="ready", deadline_s=FOLLOWED_S)
    assert asked(day)["orders"] == 1


def comes_back_with_its_data(day: Day) -> None:
    """Containers are others; the log goes on where it was, no line of it twice."""
    container = day.inspect("db")["Id"]
    assert lines(day, "db")[-3:] == printed(day, "db")[-3:]
    out = day.does("Put it away")
    assert "pear" in out
    assert day.inspect("db")["Id"] != container
    assert asked(day)["orders"] == 1
    assert asked(day, "health") == {"migrations": 3}
    now_there = printed(day, "db")
    until(lambda: lines(day, "db")[-len(now_there) :] == now_there, "what the new one prints is kept as well")
    kept = lines(day, "db")
    assert len(set(kept)) == len(kept)
    assert sum("database system is ready to accept connections" in line for line in kept) >= 4
