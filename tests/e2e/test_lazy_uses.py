"""What keeps a service awake besides connections, and what becomes of one that sleeps when its files change."""

import time
import urllib.request
from typing import Any

from tests.e2e.consumer import SERVER, Consumer
from tests.e2e.lazy import Lazy, free_port
from tests.e2e.site import FOLLOWED_S, NET, Site
from tests.house import IMAGE, House
from tests.waiting import until

IDLE = {"lazy": True, "idle": "1s"}


def stays(lazy: Lazy, seconds: float) -> None:
    """It is ready for so long, far longer than it may be idle."""
    end = time.monotonic() + seconds
    until(lambda: lazy.states()["db"] != "ready" or time.monotonic() > end, "time has passed", deadline_s=seconds + 10)
    assert lazy.states()["db"] == "ready"


def test_a_program_that_somebody_runs_in_it_keeps_it_awake(house: House) -> None:
    with Lazy(house, extras=IDLE) as lazy:
        lazy.dx("up")
        lazy.dx("start", "db", "--wait")
        lazy.docker("exec", "--detach", lazy.container("db"), "sleep", "4")
        stays(lazy, 3)
        lazy.sleeps()


def test_a_health_check_that_is_nearly_always_under_way_does_not_keep_it_awake(house: House) -> None:
    """But any other program does."""
    check = {"test": ["CMD-SHELL", "sleep 1.9; test -e /run/up"], "interval": "0.1s", "timeout": "10s"}
    with Lazy(house, extras=IDLE, healthcheck=check) as lazy:
        lazy.dx("up")
        lazy.dx("start", "db", "--wait")
        ready = time.monotonic()
        lazy.sleeps()
        assert time.monotonic() - ready < 6
        lazy.dx("start", "db", "--wait")
        lazy.docker("exec", "--detach", lazy.container("db"), "sleep", "5")
        stays(lazy, 4)
        lazy.sleeps()


def test_a_run_on_its_network_keeps_it_awake_over_a_daemon_that_is_killed(house: House) -> None:
    """The next daemon does not know what the run needs, so it may be anything there."""
    with Lazy(house, extras=IDLE) as lazy:
        house.define(f"[tools.tool]\nimage = '{IMAGE}'\nnetwork = 'project'\nneeds = ['db']\nentrypoint = ['sleep']\n")
        lazy.dx("up")
        run = house.popen(["run", "tool", "1000"], cwd=lazy.root)
        try:
            lazy.reach(db="ready")
            lazy.kill_daemon()
            house.start()
            lazy.reach(db="ready")
            stays(lazy, 3)
        finally:
            run.terminate()
            run.wait(20)
        lazy.sleeps()


def test_a_run_that_says_nothing_of_what_it_needs_keeps_it_awake_and_does_not_wake_it(house: House) -> None:
    with Lazy(house, extras=IDLE) as lazy:
        lazy.dx("up")
        assert house.run(["--network", "project", IMAGE, "true"], cwd=lazy.root).returncode == 0
        assert lazy.states() == {"db": "sleeps"}
        done = house.run(["--up", "db", IMAGE, "sh", "-c", "echo hi | nc db 7000"], cwd=lazy.root)
        assert (done.returncode, done.stdout) == (0, b"hi\n")
        lazy.sleeps()


def test_a_project_that_uses_it_keeps_it_awake_and_wakes_it(house: House) -> None:
    lazy, site = Lazy(house, extras=IDLE), Consumer(house)
    lazy.services_of(db={**SERVER, "x-dx": IDLE})
    site.uses(str(lazy.root), "db")
    with lazy, site:
        lazy.dx("up")
        assert lazy.states() == {"db": "sleeps"}
        site.compose("up", "--detach")
        site.reaches()
        stays(lazy, 3)
        site.compose("down", "--timeout", "0")
        lazy.sleeps()


def test_what_its_image_is_built_from_is_followed_asleep_and_awake(house: House) -> None:
    """Asleep it is made anew and sleeps on; awake the new container is behind the same door."""
    port = free_port()
    service: dict[str, Any] = {"build": "web", "image": None, "command": None, **NET, "ports": [f"{port}:80"]}

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=FOLLOWED_S) as answer:
            return str(answer.read().decode())

    with Site(house) as site:
        site.write(web={**service, "x-dx": {"lazy": True}})
        site.dx("up", "--wait")
        before = site.containers()
        site.page("two")
        until(lambda: site.containers() not in (before, []), "it was made anew", deadline_s=FOLLOWED_S)
        assert site.states() == {"web": "sleeps"}
        assert page() == "two"
        site.page("three")
        until(lambda: page() == "three", "the door leads to the new one", deadline_s=FOLLOWED_S)
        site.dx("down")
        site.remove_images()


def test_docker_compose_beside_finds_it_as_it_is_and_takes_it_over(house: House) -> None:
    """`start` and `stop` are somebody's will, and `ps` shows it."""
    with Lazy(house) as lazy:
        lazy.dx("up")
        assert "Exited" in lazy.compose("ps", "--all") or "Created" in lazy.compose("ps", "--all")
        lazy.compose("start", "db")
        lazy.reach(db="ready")
        assert lazy.says() == b"hello"
        lazy.compose("stop", "db")
        lazy.reach(db="stopped")
        until(lazy.is_refused, "nobody listens for what was stopped")
