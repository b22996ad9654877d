"""Services while their engine comes and goes: an engine of the test's own."""

from collections.abc import Iterator

import pytest

from tests.e2e.shop import Shop, after, healthy
from tests.fakes.private_engine import PrivateEngine
from tests.house import House
from tests.waiting import until

SHOP = {
    "db": {
        "command": ["sh", "-c", "sleep 0.3; touch /tmp/up; exec sleep 1000"],
        "tmpfs": "/tmp",
        "restart": "always",
        **healthy("test -e /tmp/up"),
    },
    "job": {"command": ["true"]},
    "web": {"restart": "always", **after(db="healthy", job="done")},
    "off": {"restart": "always"},
}


@pytest.fixture
def shop(request: pytest.FixtureRequest, image: str) -> Iterator[tuple[PrivateEngine, Shop]]:
    """With an engine that is started with the options that the fixture is parametrized with."""
    with PrivateEngine("", *request.param) as engine:
        engine.load(image)
        with House(DOCKER_HOST=engine.address) as house, Shop(house, **SHOP) as made:
            yield engine, made
            if not engine.socket.exists():
                engine.start()


@pytest.mark.parametrize("shop", [["--live-restore=false"]], indirect=True)
def test_after_an_engine_restart_all_start_in_order_and_nobody_is_blamed(shop: tuple[PrivateEngine, Shop]) -> None:
    """What was done is done, and what somebody had stopped stays so; also where the daemon was away meanwhile."""
    engine, made = shop
    made.dx("up", "--wait")
    made.docker("stop", made.container("off"))
    made.reach(off="stopped")
    job = made.started("job")
    for is_away in (False, True):
        if is_away:
            made.kill_daemon()
        before = made.started("web")
        engine.stop()
        if not is_away:
            until(lambda: "the engine is away" in made.dx("services").stderr, "it is noticed")
            assert made.states().keys() == SHOP.keys()
            assert "no container engine found" in made.dx("up", ok=False).stderr
        engine.start()
        made.house.start()
        until(lambda: made.started("web") > before, "web is started again", deadline_s=60)  # noqa: B023
        made.reach(db="ready", job="done", web="ready", off="stopped")
        assert made.started("db") + 0.3 <= made.started("web")
        assert made.started("job") == job
        assert made.inspect("db")["State"]["ExitCode"] == 0
        restarts = {name: each["restarts"] for name, each in made.services().items()}
        made.kill("db")
        made.reach(db="backoff")
        assert "again in 1 s" in made.services()["db"]["reason"], "the engine's doing was counted as the service's"
        made.reach(db="ready")
        assert made.services()["db"]["restarts"] == restarts["db"] + 1
        made.dx("up", "db", "--wait")  # the fall just now counts over a restart of the daemon, but not after this


@pytest.mark.parametrize("shop", [[]], indirect=True)
def test_an_engine_that_leaves_containers_alone_leaves_services_alone(shop: tuple[PrivateEngine, Shop]) -> None:
    engine, made = shop
    made.dx("up", "--wait")
    before = {name: made.started(name) for name in SHOP}
    engine.stop()
    engine.start()
    made.reach(db="ready", job="done", web="ready", off="ready")
    assert {name: made.started(name) for name in SHOP} == before
    made.kill("web")
    made.reach(web="backoff")
    made.reach(web="ready")


@pytest.mark.parametrize("shop", [["--live-restore=false"]], indirect=True)
def test_what_a_killed_engine_stops_when_it_starts_again_is_nobodys_will(shop: tuple[PrivateEngine, Shop]) -> None:
    """It ends the containers that outlived it, and tells that as if somebody had stopped them."""
    engine, made = shop
    made.dx("up", "--wait")
    before = made.started("web")
    engine.kill()
    engine.start()
    until(lambda: made.started("web") > before, "web is started again", deadline_s=60)
    made.reach(db="ready", job="done", web="ready", off="ready")
    assert {each["wanted"] for each in made.services().values()} == {"up"}
