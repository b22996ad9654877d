"""A restart that is cut short, or fails in between: what was wanted up comes up again, by the next daemon too."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.shop import Shop, after
from tests.house import DEADLINE_S, House
from tests.waiting import until

STUBBORN = {"command": ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"], "stop_grace_period": "4s"}
"""It takes that long to stop, so that there is a middle of it."""
DB: dict[str, Any] = {"restart": "always"}


def test_an_image_that_is_missing_costs_nothing(house: House) -> None:
    with Shop(house, db=DB, web=after(db="started")) as shop:
        shop.dx("up", "--wait")
        before = shop.started("db"), shop.started("web")
        missing = f"127.0.0.1:1/{shop.name}:1"
        shop.write(db={**DB, "image": missing}, web=after(db="started"))
        done = shop.dx("restart", ok=False)
        assert done.returncode == 125
        assert "127.0.0.1:1" in done.stderr
        assert shop.states() == {"db": "ready", "web": "ready"}
        assert (shop.started("db"), shop.started("web")) == before


def test_containers_that_cannot_be_made_leave_those_that_were_there(house: House) -> None:
    """They are stopped by then, and start again, though nobody asks again."""
    with Shop(house, db=DB, web=after(db="started")) as shop:
        shop.dx("up", "--wait")
        before = shop.started("web")
        nowhere = {
            "type": "bind",
            "source": f"{shop.root}/nowhere",
            "target": "/x",
            "bind": {"create_host_path": False},
        }
        shop.write(db={**DB, "volumes": [nowhere]}, web=after(db="started"))
        done = shop.dx("restart", ok=False)
        assert done.returncode == 125
        assert "nowhere" in done.stderr
        until(lambda: shop.started("web") > before, "web is started again")
        shop.reach(db="ready", web="ready")
        assert {each["wanted"] for each in shop.services().values()} == {"up"}


def interrupt_the_client(_: Shop, restart: "subprocess.Popen[bytes]") -> None:
    restart.kill()


def kill_the_daemon(shop: Shop, _: "subprocess.Popen[bytes]") -> None:
    """The next one finds that it has stopped."""
    shop.kill_daemon()
    until(lambda: not shop.inspect("db")["State"]["Running"], "db has stopped")
    shop.house.start()


@pytest.mark.parametrize("cut", [interrupt_the_client, kill_the_daemon])
def test_one_that_is_cut_short_starts_what_was_to_run(
    house: House, cut: Callable[[Shop, "subprocess.Popen[bytes]"], None]
) -> None:
    with Shop(house, db={**DB, **STUBBORN}, web={}, off={}) as shop:
        shop.dx("up", "--wait")
        shop.dx("stop", "off")
        before = shop.started("db"), shop.started("web")
        restart = house.popen(["restart"], cwd=shop.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            shop.reach(db="stopping", web="stopped")
            cut(shop, restart)
            restart.wait(DEADLINE_S)
        finally:
            restart.kill()
            restart.wait()
        until(lambda: shop.started("db") > before[0], "db is started again")
        until(lambda: shop.started("web") > before[1], "web is started again")
        shop.reach(db="ready", web="ready", off="stopped")
        assert {name: each["wanted"] for name, each in shop.services().items()} == {
            "db": "up",
            "web": "up",
            "off": "down",
        }


def test_a_daemon_that_is_killed_while_a_file_has_a_service_restarted_restarts_it(house: House) -> None:
    shop = Shop(house)
    first, file = shop.root / "first", shop.root / "conf"
    for each in (first, file):
        each.write_text("one")
    rules = [
        {"action": "sync", "path": str(first), "target": "/first", "initial_sync": True},
        {"action": "sync+restart", "path": str(file), "target": "/conf"},
    ]
    shop.write(db={**DB, **STUBBORN, "develop": {"watch": rules}})
    with shop:
        shop.dx("up", "--wait")
        until(lambda: "first" in shop.docker("exec", shop.container("db"), "ls", "/"), "its files are followed")
        before = shop.started("db")
        file.write_text("two")
        shop.reach(db="stopping")
        shop.kill_daemon()
        until(lambda: not shop.inspect("db")["State"]["Running"], "db has stopped")
        house.start()
        until(lambda: shop.started("db") > before, "db is started again")
        shop.reach(db="ready")
        assert shop.services()["db"]["wanted"] == "up"


def test_a_stop_that_takes_the_engine_longer_than_is_waited_for_is_nobodys_will(house: House) -> None:
    """The container was made to be given more time than the file says by now."""
    with Shop(house, db={**DB, **STUBBORN, "stop_grace_period": "33s"}) as shop:
        shop.dx("up", "--wait")
        before = shop.started("db")
        shop.write(db={**DB, **STUBBORN, "stop_grace_period": "1s"})
        done = shop.dx("restart", ok=False)
        assert done.returncode == 125
        assert "dx: db does not stop: the engine does not answer within 31 s" in done.stderr
        until(lambda: shop.started("db") > before, "db is started again")
        shop.reach(db="ready")
        assert shop.services()["db"]["wanted"] == "up"
