"""An engine that does not answer, or refuses a stop: services are not to blame, and whoever asks is told."""

from collections.abc import Iterator

import pytest

from tests.e2e.shop import Shop
from tests.house import ME, Forwarder, House
from tests.waiting import until

REFUSED = "cannot stop container: tried to kill container, but did not receive an exit event"


@pytest.fixture
def engine(house: House) -> Iterator[Forwarder]:
    """On the way to it."""
    with Forwarder(house.root / "engine.sock", ME) as forwarder:
        house.env["DOCKER_HOST"] = forwarder.address
        yield forwarder


def test_a_start_that_is_not_answered_is_tried_again_and_is_no_fall(house: House, engine: Forwarder) -> None:
    with Shop(house, db={"restart": "no"}) as shop:
        caught = engine.trap("/start", answered=False)
        shop.dx("up", "--wait")
        assert caught.is_set()
        assert (shop.states(), shop.services()["db"]["restarts"]) == ({"db": "ready"}, 0)


def test_a_start_whose_answer_is_lost_was_dxs_own(house: House, engine: Forwarder) -> None:
    """Only the first start of it is: what somebody stops after that stays stopped."""
    with Shop(house, db={"restart": "always"}) as shop:
        engine.trap("/start", answered=True)
        shop.dx("up", "--wait")
        started = shop.started("db")
        shop.docker("stop", shop.container("db"))
        shop.reach(db="stopped")
        shop.docker("start", shop.container("db"))
        shop.reach(db="ready")
        assert shop.started("db") > started
        assert shop.services()["db"]["wanted"] == "up"


def test_a_stop_that_the_engine_refuses_is_told_and_tried_again_after_pauses(house: House, engine: Forwarder) -> None:
    with Shop(house, db={"restart": "always"}, web={}) as shop:
        shop.dx("up", "--wait")
        refusals = 3
        for _ in range(refusals):
            engine.refuse(b"/stop ", REFUSED)
        done = shop.dx("stop", "db", ok=False)
        assert done.returncode == 125
        assert f"dx: db does not stop: the engine refuses: {REFUSED}; how it goes on: dx services\n" in done.stderr
        assert shop.states() == {"db": "stopping", "web": "ready"}
        until(lambda: "tried again in" in shop.services()["db"]["reason"], "it is told")
        assert REFUSED in shop.services()["db"]["reason"]
        shop.dx("start", "web")  # the verb that failed has given up its turn
        shop.reach(db="stopped", web="ready")
        lines = [line for line in house.log.splitlines() if '"do": "stop"' in line and '"service": "db"' in line]
        assert len(lines) == refusals + 1
        assert sum(REFUSED in line for line in house.log.splitlines()) == refusals
