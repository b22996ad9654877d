"""Services that follow their files, and others who use them meanwhile: projects elsewhere, and tools."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.consumer import SERVER, Consumer, shared
from tests.e2e.rig import warm
from tests.e2e.shop import Shop
from tests.e2e.site import ANSWERS, FOLLOWED_S, NET, Site, check
from tests.house import IMAGE, House
from tests.waiting import until

WEB = {"build": "web", "image": None, "command": None, **NET, **ANSWERS}
FETCH = ["wget", "-q", "-O", "-", "http://web/"]


@pytest.fixture
def site(house: House) -> Iterator[Site]:
    with Site(house) as site:
        yield site
        house.dx(["stop", "--all"])
    site.remove_images()


@pytest.mark.parametrize(
    ("top", "more"),
    [
        ({}, {}),
        ({"volumes": {"data": {}}}, {"volumes": ["data:/data"]}),
        ({}, {"container_name": "dx-test-shared"}),
    ],
    ids=["beside", "after", "in place"],
)
def test_a_new_container_is_on_the_networks_of_those_who_use_it(
    house: House, site: Site, top: dict[str, Any], more: dict[str, Any]
) -> None:
    """By the name that they have for it, and it alone."""
    site.write(top, web={**WEB, "expose": ["80"], **more})
    consumer = Consumer(house)
    consumer.uses(str(site.root), "web")
    with consumer:
        consumer.compose("up", "--detach")

        def got() -> str:
            return consumer.compose("exec", "-T", "app", "sh", "-c", "wget -q -O - http://web/ || true")

        def on_network() -> set[str]:
            names = "{{range .Containers}}{{.Name}} {{end}}"
            return set(site.docker("network", "inspect", "--format", names, f"{consumer.name}_default").split())

        until(lambda: got() == "one", "the consumer is answered")
        site.page("two")
        until(lambda: got() == "two", "the consumer is answered by the new one", deadline_s=FOLLOWED_S)
        name = str(more.get("container_name", site.container("web")))
        until(lambda: on_network() == {name, consumer.container("app")}, "the old one is gone")
        assert got() == "two"
        consumer.compose("down", "--timeout", "0")
        assert site.states() == {"web": "stopped"}


def test_what_depends_on_a_shared_service_keeps_its_variables(house: House, site: Site) -> None:
    """A project that dx keeps is a consumer as well. Compose alone knows what its providers have said."""
    shop = shared(house)
    server = {"provider": {"type": "dx", "options": {"project": str(shop.root)}}}
    web = {"build": "web", "init": True, "stop_grace_period": "1s", **ANSWERS, "depends_on": ["server"]}
    site.file.write_text(json.dumps({"services": {"web": web, "server": server}}))

    def variables() -> set[str]:
        return {each for each in site.inspect("web")["Config"]["Env"] if each.startswith("SERVER_")}

    with shop:
        site.dx("up", "--wait")
        assert shop.states() == {"server": "ready"}
        assert {"SERVER_HOST=server", "SERVER_PORT=80"} <= variables()
        reached = ["sh", "-c", "wget -q -O /dev/null http://$SERVER_HOST/true && echo reached"]
        assert site.inside(*reached) == "reached"
        before = site.inspect("web")["Id"]
        site.page("two")
        site.why("its image is another one by now; to apply that: dx up")
        assert site.inspect("web")["Id"] == before
        site.dx("up", "--wait")
        site.shows("two")
        until(lambda: site.services()["web"]["reason"] == "", "nothing is left to be told")
        assert {"SERVER_HOST=server", "SERVER_PORT=80"} <= variables()
        assert site.inside(*reached) == "reached"
        site.dx("down")
        assert site.docker("network", "ls", "--quiet", "--filter", f"name={site.name}_default") == ""
        assert shop.states() == {"server": "stopped"}


def test_a_shared_service_may_use_another_one_and_not_its_own_user(house: House) -> None:
    last, middle, first = shared(house), Shop(house), Consumer(house)

    def uses(of: Shop, used: Shop) -> None:
        other = {"provider": {"type": "dx", "options": {"project": str(used.root), "service": "server"}}}
        of.file.write_text(json.dumps({"services": {"server": {**SERVER, "depends_on": ["other"]}, "other": other}}))

    uses(middle, last)
    first.uses(str(middle.root), "server")
    with last, middle, first:
        first.compose("up", "--detach")
        first.reaches()
        assert (middle.states()["server"], last.states()["server"]) == ("ready", "ready")
        first.compose("down", "--timeout", "0")
        assert middle.states()["server"] == "stopped"
        middle.dx("down")
        assert last.states()["server"] == "stopped"
        last.dx("down")
        uses(last, middle)
        done = last.dx("up", ok=False)
        assert done.returncode == 125
        assert "use each other" in done.stderr


def exchanges(site: Site) -> int:
    """How many were begun."""
    return site.house.log.count('"event": "exchange"')


def test_a_run_that_needs_what_is_exchanged_waits_for_the_new_one(house: House, site: Site) -> None:
    """It has asked for a service that is ready, and not for another exchange: runs one after the other would begin it
    for ever.
    """
    late = "sleep 4; exec httpd -f -h /www"
    checked = check("wget -q -O /dev/null http://127.0.0.1/", start_period="60s")
    site.write({"volumes": {"data": {}}}, web={**WEB, **checked, "volumes": ["data:/data"]})
    site.dx("up", "--wait")
    assert house.run(["--up", "web", IMAGE, *FETCH], cwd=site.root).stdout == b"one"
    site.page("two")
    site.shows("two")
    begun = exchanges(site)
    site.dockerfile(command=late)
    name = f"{site.container('web')}-next"
    until(lambda: name in site.docker("ps", "--format", "{{.Names}}"), "one is on trial", deadline_s=FOLLOWED_S)
    done = house.run(["--up", "web", IMAGE, *FETCH], cwd=site.root)
    assert (done.returncode, done.stdout) == (0, b"two"), done.stderr
    assert late in json.dumps(site.inspect("web")["Config"]["Cmd"]), "it was the old one that answered"
    assert exchanges(site) == begun + 1


def test_a_run_goes_on_over_an_exchange_and_so_does_its_warm_container(house: House, site: Site) -> None:
    site.write({"volumes": {"data": {}}}, web={**WEB, "volumes": ["data:/data"]})
    site.dx("up", "--wait")
    asks = 'until [ "$(timeout 2 wget -q -O - http://web/)" = two ]; do sleep 0.1; done; exit 7'
    command = [str(house.bin / "dx"), "run", "--network", "project", IMAGE, "sh", "-c", asks]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=site.root, env=house.env, stdin=null, stderr=null) as run:
        try:
            until(lambda: any(each["runs"] for each in warm(house)), "it runs")
            (before,) = {each["id"] for each in warm(house)}
            site.page("two")
            assert run.wait(FOLLOWED_S) == 7
        finally:
            run.kill()
    site.shows("two")
    assert house.run(["--network", "project", IMAGE, *FETCH], cwd=site.root).stdout == b"two"
    assert {each["id"] for each in warm(house)} == {before}


def test_a_warm_container_stays_where_services_are_made_anew(house: House, site: Site) -> None:
    site.write(web=WEB)
    site.dx("up", "--wait")
    for _ in range(2):
        assert house.run(["--network", "project", IMAGE, *FETCH], cwd=site.root).stdout == b"one"
        before = site.inspect("web")["Id"]
        site.dx("up", "--wait", "--recreate")
        assert site.inspect("web")["Id"] != before
