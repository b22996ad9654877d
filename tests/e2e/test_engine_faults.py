"""The engine stops, hangs or is not there: warm tools answer, cold ones say why they cannot, and it all comes back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Held, ask, kill_daemon, one_line, warm
from tests.fakes.private_engine import PrivateEngine
from tests.house import ME, House
from tests.waiting import until

TOOLS = """
[tools.warm]
image = "{image}"
network = "none"
[tools.cold]
image = "{image}"
network = "none"
pids = 100
"""


@pytest.fixture(scope="module")
def one_engine(image: str) -> Iterator[PrivateEngine]:
    with PrivateEngine() as engine:
        engine.load(image)
        yield engine


@pytest.fixture
def engine(one_engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """An engine that runs at first, and again at the end, with no container."""
    yield one_engine
    if left := one_engine.docker("ps", "--all", "--quiet").split():
        one_engine.docker("rm", "--force", *left)


@pytest.fixture
def house(engine: PrivateEngine, image: str) -> Iterator[House]:
    """A dx with one warm tool on that engine."""
    with House(ME, DOCKER_HOST=engine.address) as house:
        house.define(TOOLS.format(image=image))
        assert house.run(["warm", "true"]).returncode == 0
        yield house


def test_a_stopped_engine(engine: PrivateEngine, house: House) -> None:
    """Its containers are kept, so warm tools go on, runs that have begun too; a cold tool is told at once."""
    before = [each["id"] for each in warm(house)]
    with Held(house, "warm", 3) as held:
        held.begun()
        engine.stop()
        try:
            for status in range(20):
                assert house.run(["warm", "sh", "-c", f"exit {status}"]).returncode == status
            assert held.go().returncode == 3
            begun = time.monotonic()
            one_line(house.run(["cold", "true"]), "no container engine found", str(engine.socket), "start it")
            assert time.monotonic() - begun < 3
            assert ask(house, "/v1/status")["engine"]["state"] == "down"
        finally:
            engine.start()
    assert until(lambda: house.run(["cold", "true"]).returncode == 0, "the engine is found again")
    assert house.run(["warm", "true"]).returncode == 0
    assert {each["id"] for each in warm(house)} > set(before), "the warm container was kept"
    assert len(engine.docker("ps", "--all", "--quiet").split()) == 2


def test_a_hung_engine(engine: PrivateEngine, house: House) -> None:
    """A warm tool waits two seconds at most, once; a cold one gets its line after ten seconds."""
    engine.hang()
    try:
        begun = time.monotonic()
        for status in range(20):
            assert house.run(["warm", "sh", "-c", f"exit {status}"]).returncode == status
        assert time.monotonic() - begun < 5
        begun = time.monotonic()
        one_line(house.run(["cold", "true"]), "does not answer within 10 s")
        assert 9 < time.monotonic() - begun < 14
        assert house.run(["warm", "true"]).returncode == 0
    finally:
        engine.resume()
    assert until(lambda: house.run(["cold", "true"]).returncode == 0, "the engine is used again")
    assert len(engine.docker("ps", "--all", "--quiet").split()) == 2, "what was given up is not left behind"


def test_a_daemon_that_starts_while_the_engine_hangs(engine: PrivateEngine, house: House) -> None:
    """It answers its status, tells a run why, and adopts its container when the engine is back."""
    with house.file.open("a") as file:
        file.write("[daemon]\nengine_deadline_s = 2\n")
    before = [each["id"] for each in warm(house)]
    kill_daemon(house)
    engine.hang()
    try:
        begun = time.monotonic()
        one_line(house.run(["warm", "true"]), "does not answer within 2 s")
        assert time.monotonic() - begun < 6
    finally:
        engine.resume()
    until(lambda: [each["id"] for each in warm(house)] == before, "the container is adopted")
    assert house.run(["warm", "true"]).returncode == 0
    assert [each["id"] for each in warm(house)] == before


def test_no_engine(image: str, tmp_path: Path) -> None:
    """At an address where nothing is, and at one where nobody listens."""
    (dead := tmp_path / "dead").touch()
    for path, words in ((tmp_path / "nowhere", "no container engine found"), (dead, "the engine does not run")):
        with House(ME, DOCKER_HOST=f"unix://{path}") as house:
            begun = time.monotonic()
            line = one_line(house.run([image, "true"]), words)
            assert "start" in line
            assert str(path) in line
            assert time.monotonic() - begun < 3
            assert ask(house, "/v1/status")["ready"], "the daemon itself is well"
