"""dx snapshot and dx reset: the data of real services, in real volumes."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.e2e.shop import FOREVER, Shop
from tests.house import IMAGE, House
from tests.waiting import until

DB: dict[str, Any] = {"volumes": ["data:/data"]}


@contextmanager
def shop(house: House, **services: dict[str, Any]) -> Iterator[Shop]:
    """One with a volume, and no snapshot of it left at the end."""
    made = Shop(house)
    made.write({"volumes": {"data": {}}}, **(services or {"db": DB}))
    with made:
        try:
            made.dx("up", "--wait")
            yield made
        finally:
            listed = made.dx("snapshot", "ls", "--project", made.name, "--json").stdout
            for each in json.loads(listed)["snapshots"]:
                made.dx("snapshot", "rm", each["name"], "--project", made.name)


def put(shop: Shop, text: str, service: str = "db") -> None:
    """Have this in the volume."""
    shop.docker("exec", shop.container(service), "sh", "-c", f"echo {text} > /data/kept")


def kept(shop: Shop, service: str = "db") -> str:
    """What is in it."""
    return shop.docker("exec", shop.container(service), "sh", "-c", "cat /data/kept 2>/dev/null || echo nothing")


def is_stopped(shop: Shop) -> bool:
    return not shop.inspect("db")["State"]["Running"]


def test_what_was_saved_is_put_back_and_those_that_use_it_come_back(house: House) -> None:
    """All that have the volume are stopped, whether by its name or from another service; the one without goes on."""
    lent, again = {"volumes_from": ["db:ro"]}, {"volumes_from": ["lent"]}
    with shop(house, db=DB, reader=DB, lent=lent, again=again, web={}) as it:
        put(it, "before")
        names = ("db", "reader", "lent", "again", "web")
        ids = [it.inspect(name)["Id"] for name in names]
        started = {name: it.started(name) for name in names}
        saved = json.loads(it.dx("snapshot", "save", "first", "db", "--json").stdout.splitlines()[-1])
        assert (saved["name"], saved["files"], saved["volumes"]) == ("first", 1, [f"{it.name}_data"])
        assert it.states() == dict.fromkeys(names, "ready")
        assert [name for name in names if it.started(name) == started[name]] == ["web"]
        put(it, "after")
        assert "has what first has" in it.dx("snapshot", "restore", "first").stdout
        assert kept(it) == "before"
        assert [it.inspect(name)["Id"] for name in names] == ids
        assert it.dx("snapshot", "ls").stdout.splitlines()[1].split()[0] == "first"
        assert it.dx("snapshot", "rm", "first").stdout == "first is gone\n"
        done = it.dx("snapshot", "restore", "first", ok=False)
        assert (done.returncode, done.stderr) == (
            125,
            f"dx: {it.name} has no snapshot 'first'; see: dx snapshot ls\n",
        )


def test_one_that_was_stopped_stays_so(house: House) -> None:
    with shop(house) as it:
        put(it, "before")
        it.dx("stop", "db")
        it.dx("snapshot", "save", "first")
        it.dx("reset", "db")
        it.dx("snapshot", "restore", "first")
        assert it.states() == {"db": "stopped"}
        it.dx("start", "--wait")
        assert kept(it) == "before"


def test_reset_empties_the_volumes_of_a_service(house: House) -> None:
    with shop(house) as it:
        put(it, "before")
        assert it.dx("reset", "db").stdout == "db begins anew\n"
        assert it.states() == {"db": "ready"}
        assert kept(it) == "nothing"
        assert "has no service 'bd'" in it.dx("reset", "bd", "--project", it.name, ok=False).stderr


def test_without_volumes_there_is_nothing_to_save(house: House) -> None:
    with shop(house, db=DB, web={}) as it:
        assert "web has no named volume" in it.dx("snapshot", "save", "first", "web", ok=False).stderr
        assert "is no name for a snapshot" in it.dx("snapshot", "save", "First", ok=False).stderr
        assert it.states() == {"db": "ready", "web": "ready"}


def test_one_that_is_paused_stays_so_and_one_of_somebody_else_is_named(house: House) -> None:
    """What a paused one has can be saved; nothing can be put under it."""
    with shop(house) as it:
        put(it, "before")
        it.docker("pause", it.container("db"))
        it.reach(db="paused")
        it.dx("snapshot", "save", "first")
        done = it.dx("snapshot", "restore", "first", ok=False)
        assert f"db is paused and has the volume {it.name}_data; stop it: dx stop db" in done.stderr
        assert it.states() == {"db": "paused"}
        it.docker("unpause", it.container("db"))
        it.reach(db="ready")
        other = f"{it.name}-other"
        it.docker("run", "--detach", "--rm", "--name", other, "--volume", f"{it.name}_data:/d", IMAGE, *FOREVER)
        try:
            assert f"{other} is running and has the volume" in it.dx("reset", "db", ok=False).stderr
            it.reach(db="ready")
            assert kept(it) == "before"
        finally:
            it.docker("rm", "--force", other)


def test_a_daemon_that_is_killed_meanwhile_loses_nothing_and_the_next_one_starts_all_again(house: House) -> None:
    """In the middle of a save and of a restore, with a service that ends well when it is told to stop."""
    quits = {"command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"], "init": False}
    for verb in ("save", "restore"):
        with shop(house, db={**DB, **quits}) as it:
            fill = "for n in $(seq 200); do dd if=/dev/urandom of=/data/$n bs=64k count=4 2>/dev/null; done"
            it.docker("exec", it.container("db"), "sh", "-c", fill)
            put(it, "before")
            it.dx("snapshot", "save", "first")
            put(it, "after")
            command = [str(house.bin / "dx"), "snapshot", verb, "first" if verb == "restore" else "second"]
            client = subprocess.Popen(
                command, cwd=it.root, env=house.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until(partial(is_stopped, it), "it is stopped")
            it.kill_daemon()
            assert client.wait() == 125
            it.dx("services")
            it.reach(db="ready")
            assert kept(it) in ({"after"} if verb == "save" else {"before", "after"})
            assert it.docker("exec", it.container("db"), "sh", "-c", "ls -A /data | wc -l") == "201"
            names = [each["name"] for each in json.loads(it.dx("snapshot", "ls", "--json").stdout)["snapshots"]]
            assert "first" in names
            assert not it.docker("volume", "ls", "--quiet", "--filter", "label=dev.dx.snapshot=restore")


SEED = "sleep 0.5; echo seeded >> /data/kept"


def test_a_seed_fills_an_empty_volume_once_before_the_service_is_ready(house: House) -> None:
    """Not at the next start, and again after a reset."""
    with shop(house, db={**DB, "x-dx": {"seed": SEED}}) as it:
        assert kept(it) == "seeded"
        it.dx("restart", "--wait")
        it.dx("down")
        it.dx("up", "--wait")
        assert kept(it) == "seeded"
        put(it, "changed")
        it.dx("reset", "db")
        assert kept(it) == "seeded"


def test_a_seed_that_fails_is_a_failure_of_the_service_and_is_tried_again_at_the_next_start(house: House) -> None:
    with shop(house) as it:
        broken = {**DB, "x-dx": {"seed": "echo no such table; exit 3"}}
        it.dx("reset", "db")
        it.write({"volumes": {"data": {}}}, db=broken)
        done = it.dx("restart", "--wait", ok=False)
        assert "dx: db: its seed ended with status 3: no such table; see: dx logs db" in done.stderr
        assert it.states() == {"db": "failed"}
        it.write({"volumes": {"data": {}}}, db={**DB, "x-dx": {"seed": SEED}})
        it.dx("restart", "--wait")
        assert kept(it) == "seeded"


def test_a_seed_that_the_end_of_the_daemon_cut_short_is_run_again_in_a_fresh_start(house: House) -> None:
    with shop(house) as it:
        it.dx("reset", "db")
        seed = "test -e /data/begun && echo again >> /data/kept || { touch /data/begun; sleep 1000; }"
        it.write({"volumes": {"data": {}}}, db={**DB, "x-dx": {"seed": seed}})
        it.dx("restart")
        begun = ["exec", it.container("db"), "sh", "-c", "test -e /data/begun && echo yes || true"]
        until(lambda: it.states() == {"db": "starting"} and it.docker(*begun) == "yes", "the seed has begun")
        started = it.started("db")
        it.kill_daemon()
        it.dx("services")
        it.reach(db="ready")
        assert it.started("db") > started
        assert kept(it) == "again"
