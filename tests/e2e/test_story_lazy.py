"""A day with services that sleep: PostgreSQL is woken by psql, kept awake by an open session, and gone when idle."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_story import asked
from tests.e2e.tutorial import Day
from tests.house import House
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)

IDLE_S = 2.0
PASSWORD = "kept-in-the-cellar"


class Night(Day):
    """The shop, with services of it that may sleep; what the page says of it is not done."""

    def sleepy(self, **extras: dict[str, Any]) -> None:
        """Have it say so."""
        override = {"services": {name: {"x-dx": each} for name, each in extras.items()}}
        (self.root / "compose.override.yaml").write_text(json.dumps(override))

    def psql(self, *arguments: str) -> list[str]:
        """A client on this machine's own network, at the port that the file says."""
        url = f"postgresql://shop:{PASSWORD}@127.0.0.1:{self.house.env['DB_PORT']}/shop"
        return ["run", "--network", "host", "dx-shop/postgres", "psql", url, "-qtAX", *arguments]

    def says(self, statement: str) -> str:
        """What the database answers, at the first try."""
        done = self.house.dx(self.psql("-c", statement), cwd=self.root)
        assert (done.returncode, done.stderr) == (0, b""), (done, self.services(), self.house.log[-4000:])
        return done.stdout.decode().strip()

    def rests(self) -> None:
        """Wait until the database does."""
        self.reach(db="sleeps", deadline_s=60)

    def memory(self) -> Path:
        """Where the kernel counts the memory of the database's container."""
        pid = self.inspect("db")["State"]["Pid"]
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if "memory" in kinds.split(","):
                return Path(f"/sys/fs/cgroup/memory{path}/memory.usage_in_bytes")
            if not kinds:
                unified = Path(f"/sys/fs/cgroup{path}/memory.current")
                if unified.exists():
                    return unified
        raise AssertionError("the kernel counts no memory of it")


@pytest.fixture
def night(house: House) -> Iterator[Night]:
    with Night(house) as made:
        made.copy()
        try:
            yield made
        finally:
            # What listens in its place is no part of the engine.
            made.house.dx(["stop", "--all"])
            made.dx("down", ok=False)


def test_psql_wakes_a_database_that_is_stopped_at_the_first_try(night: Night) -> None:
    """With what was in it; and when nobody uses it its memory is free."""
    night.sleepy(db={"lazy": True, "idle": f"{IDLE_S:g}s"})
    out = night.dx("up", "--wait", "db").stdout
    assert "sleeps" in out
    assert not night.inspect("db")["State"]["Running"]
    began = time.monotonic()
    night.says("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')")
    first_s = time.monotonic() - began
    night.says("SELECT 1")
    count = night.memory()
    taken = int(count.read_text())
    assert taken > 8 << 20, taken
    night.rests()
    assert not count.exists()
    assert night.inspect("db")["State"]["Pid"] == 0
    began = time.monotonic()
    assert night.says("SELECT word FROM kept") == "here"
    print(
        f"the first psql {first_s:.2f} s (a new database), after idling {time.monotonic() - began:.2f} s; "
        f"{taken >> 20} MiB were freed"
    )


def test_an_open_session_that_says_nothing_keeps_it_awake(night: Night) -> None:
    night.sleepy(db={"lazy": True, "idle": f"{IDLE_S:g}s"})
    night.dx("up", "--wait", "db")
    pipe = subprocess.PIPE
    with night.house.popen(night.psql(), cwd=night.root, stdin=pipe, stdout=pipe, stderr=pipe) as session:
        try:
            assert session.stdin is not None
            assert session.stdout is not None
            session.stdin.write(b"SELECT pg_postmaster_start_time();\n")
            session.stdin.flush()
            began = session.stdout.readline()
            assert began.strip()
            opened = time.monotonic()
            until(lambda: time.monotonic() - opened > 4 * IDLE_S, "four times as long as it may be idle")
            assert night.states()["db"] == "ready"
            session.stdin.write(b"SELECT pg_postmaster_start_time();\n")
            session.stdin.flush()
            assert session.stdout.readline() == began
            session.stdin.close()
            assert session.wait(20) == 0
        finally:
            session.kill()
    night.rests()


def test_one_request_wakes_the_shop_in_its_order(night: Night) -> None:
    """nginx, which needs the web program, which needs the database, which is idle once the migration is done."""
    sleeps = {"lazy": True, "idle": f"{IDLE_S:g}s"}
    night.sleepy(proxy=sleeps, web=sleeps, db=sleeps, cache=sleeps, worker=sleeps)
    night.dx("up", "--wait")
    states = night.states()
    assert (states["proxy"], states["web"], states["migrate"]) == ("sleeps", "sleeps", "done")
    night.reach(db="sleeps", cache="sleeps", deadline_s=60)
    assert asked(night)["window"] == "apples"
    assert night.started("db") < night.started("web") < night.started("proxy")
    assert asked(night, "health") == {"migrations": 1}
    night.reach(proxy="sleeps", web="sleeps", db="sleeps", cache="sleeps", deadline_s=60)
