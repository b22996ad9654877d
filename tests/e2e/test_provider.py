"""dx as a provider: a plain `docker compose up` elsewhere uses a service that dx keeps."""

import json

from tests.e2e.consumer import Consumer, shared
from tests.e2e.rig import ask
from tests.house import House


def uses(house: House) -> set[tuple[str, str, str]]:
    found = ask(house, "/v1/consumers")["consumers"]
    return {(each["consumer"], each["project"], each["service"]) for each in found}


def test_compose_up_elsewhere_starts_the_service_and_reaches_it_by_name(house: House) -> None:
    """Again and again; its last down stops what it began, and removes its own network."""
    shop, site = shared(house), Consumer(house)
    site.uses(str(shop.root), "server")
    with shop, site:
        site.compose("up", "--detach")
        assert shop.states() == {"server": "ready"}
        site.reaches()
        app = json.loads(site.docker("inspect", site.container("app")))[0]
        assert {"WEB_HOST=web", "WEB_PORT=80", "WEB_PORT_80=80"} <= set(app["Config"]["Env"])
        began = shop.started("server")
        site.compose("up", "--detach")
        # Which makes the app anew, as Compose does for every provider; it is told the same again.
        again = json.loads(site.docker("inspect", site.container("app")))[0]
        assert set(again["Config"]["Env"]) == set(app["Config"]["Env"])
        site.reaches()
        assert shop.started("server") == began
        assert uses(house) == {(site.name, shop.name, "server")}
        site.compose("down", "--timeout", "0")
        assert uses(house) == set()
        assert shop.states() == {"server": "stopped"}
        assert site.docker("network", "ls", "--quiet", "--filter", f"name={site.name}_default") == ""


def test_a_service_that_others_use_goes_on_until_the_last_one_leaves(house: House) -> None:
    shop, one, two = shared(house), Consumer(house), Consumer(house)
    with shop, one, two:
        for each in (one, two):
            each.uses(str(shop.root), "server")
            each.compose("up", "--detach")
        one.compose("down", "--timeout", "0")
        assert shop.states() == {"server": "ready"}
        two.reaches()
        two.compose("down", "--timeout", "0")
        assert shop.states() == {"server": "stopped"}


def test_what_dx_up_has_begun_is_not_stopped_by_others(house: House) -> None:
    """It is named by the project's name; made anew it is on the other's network again."""
    shop, site = shared(house), Consumer(house)
    site.uses(shop.name, "server")
    with shop, site:
        shop.dx("up", "--wait")
        site.compose("up", "--detach")
        site.reaches()
        shop.dx("up", "--wait", "--recreate")
        site.compose("restart", "--timeout", "0", "app")
        site.reaches()
        site.compose("exec", "-T", "app", "wget", "-q", "-O", "/dev/null", "http://web/true")
        site.compose("down", "--timeout", "0")
        assert shop.states() == {"server": "ready"}


def test_a_use_outlives_the_daemon(house: House) -> None:
    shop, site = shared(house), Consumer(house)
    site.uses(str(shop.root), "server")
    with shop, site:
        site.compose("up", "--detach")
        shop.kill_daemon()
        house.start()
        assert uses(house) == {(site.name, shop.name, "server")}
        site.compose("down", "--timeout", "0")
        assert shop.states() == {"server": "stopped"}


def test_what_is_wrong_is_said_in_composes_own_output(house: House) -> None:
    shop, site = shared(house), Consumer(house)
    with shop, site:
        site.uses(str(shop.root))
        done = site.tried("up", "--detach")
        assert done.returncode != 0
        assert f"the project {shop.name} has no service 'web'" in done.stderr
        site.uses("dxt-nobody", "server")
        done = site.tried("up", "--detach")
        assert done.returncode != 0
        assert "there is no project 'dxt-nobody'" in done.stderr
        dies = {"command": ["sh", "-c", "exit 3"], "healthcheck": {"test": ["NONE"]}}
        broken = shared(house, **dies)
        with broken:
            site.uses(str(broken.root), "server")
            done = site.tried("up", "--detach")
            assert done.returncode != 0
            assert "server: ended with status 3" in done.stderr
