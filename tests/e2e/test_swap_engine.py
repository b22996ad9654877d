"""Exchanges of containers while the engine goes: an engine of the test's own."""

from collections.abc import Iterator

import pytest

from tests.e2e.site import ANSWERS, FOLLOWED_S, Site
from tests.fakes.private_engine import PrivateEngine
from tests.house import House
from tests.waiting import until

WEB = {
    "build": {"context": "web", "network": "host"},
    "image": None,
    "command": None,
    "volumes": ["data:/data"],
    **ANSWERS,
}


@pytest.fixture
def place() -> Iterator[tuple[PrivateEngine, Site]]:
    with (
        PrivateEngine("", "--live-restore=false") as engine,
        House(DOCKER_HOST=engine.address) as house,
        Site(house) as made,
    ):
        yield engine, made
        if not engine.socket.exists():
            engine.start()


def test_an_engine_that_goes_during_a_trial_proves_nothing(place: tuple[PrivateEngine, Site]) -> None:
    """The old one is put back when the engine is, the one on trial goes, and what the files say by then is taken."""
    engine, site = place
    site.write({"volumes": {"data": {}}}, web={**WEB, "healthcheck": {**ANSWERS["healthcheck"], "start_period": "90s"}})
    site.dx("up", "--wait")
    before = site.inspect("web")["Id"]
    site.dockerfile(command="sleep 1000")
    names = ("ps", "--all", "--format", "{{.Names}}")
    until(lambda: "web-1-next" in site.docker(*names), "one is on trial", deadline_s=FOLLOWED_S)
    engine.stop()
    site.dockerfile()
    engine.start()
    site.house.start()
    site.reach(web="ready", deadline_s=FOLLOWED_S)
    until(lambda: site.docker(*names).split() == [site.container("web")], "nothing is left", deadline_s=FOLLOWED_S)
    assert site.inspect("web")["Id"] == before
    site.page("two")
    site.shows("two")
