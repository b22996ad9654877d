"""Random faults over ten services in an engine of their own: in the end all are well, and nothing is lost.

Forty of them; `./dev test tests/e2e/test_services_faults.py --faults 1000 --seed 7 -s` for others, with figures.
"""

import subprocess
from typing import Any

import pytest

from tests.e2e.shop import Shop, after
from tests.e2e.storm import PATIENCE_S, Lines, Storm, draw, lines_of
from tests.fakes.private_engine import PrivateEngine
from tests.house import House
from tests.waiting import until

PRINTS = (
    "r=$$(($$(cat /data/run 2>/dev/null || echo 0) + 1)); echo $$r > /data/next; mv /data/next /data/run; "
    "touch /run/well; nc -ll -p 7000 -e echo ok & "
    "i=0; while true; do i=$$((i + 1)); "
    "if [ $$((i % 3)) = 0 ]; then echo line $$r $$i >&2; else echo line $$r $$i; fi; "
    "sleep 0.4; done"
)
"""Which run it is, and which line; each third of them on stderr."""
ANSWERS = 'test "$$(echo | timeout -s KILL 1 nc 127.0.0.1 7000)" = ok'
RUNS: dict[str, Any] = {"command": ["sh", "-c", PRINTS], "tmpfs": "/run", "network_mode": None}
CHECK = {
    "healthcheck": {
        "test": ["CMD-SHELL", f"test -e /run/well && {ANSWERS}"],
        "interval": "1s",
        "retries": 2,
        "timeout": "2s",
    }
}
TEN: dict[str, dict[str, Any]] = {
    "db": {**CHECK, "restart": "always"},
    "queue": {**CHECK, "restart": "unless-stopped"},
    "cache": {},
    "migrate": {"command": ["sh", "-c", "echo line 1 1; echo done >> /data/migrated"], **after(db="healthy")},
    "api": {**CHECK, **after(db="healthy", migrate="done", cache="started")},
    "web": {**CHECK, "restart": "always", **after(api="healthy")},
    "worker": {"restart": "always", **after(queue="healthy", migrate="done")},
    "mailer": {"restart": "on-failure:20", **after(queue="started")},
    "metrics": {"x-dx": {"ready": ANSWERS}},
    "cron": {"restart": "unless-stopped", **after(worker="started", cache="started")},
}
CHECKED = {name: "healthcheck" in each for name, each in TEN.items() if name != "migrate"}
FILL = "dd if=/dev/urandom of=/data/content bs=64k count=4 2>/dev/null"
TOUCHED = "ls -di /data; sha256sum < /data/content"
"""Which volume it is, and what is in it."""


@pytest.mark.timeout(3600)  # every wait of it has a bound of its own
def test_after_many_faults_every_service_is_well_and_nothing_is_lost(
    request: pytest.FixtureRequest, image: str
) -> None:
    """Killed, frozen, ill, stopped, removed, cut off; the engine restarted and killed, and the daemon, all at once."""
    faults: int = request.config.getoption("--faults")
    seed: int = request.config.getoption("--seed")
    print(f"\n{faults} faults, seed {seed}")
    with PrivateEngine() as engine:
        engine.load(image)
        with House(DOCKER_HOST=engine.address) as house, Shop(house) as shop:
            services = {name: {**RUNS, **each, "volumes": [f"{name}:/data"]} for name, each in TEN.items()}
            top = {"volumes": {name: {} for name in TEN}, "networks": {"default": {"internal": True}}}
            shop.write(top, **services)
            shop.dx("up")
            # Whose checks give them two seconds only, and who are restarted where all start too slowly for that.
            until(lambda: shop.dx("wait", ok=False).returncode == 0, "all are well", deadline_s=PATIENCE_S)
            sums = {
                name: shop.docker("exec", shop.container(name), "sh", "-c", f"{FILL}; {TOUCHED}") for name in CHECKED
            }
            before = there(shop)
            storm = Storm(shop, engine, draw(seed, faults, CHECKED), CHECKED)
            try:
                figures = storm.blow()
            except BaseException:
                print(storm.figures if storm.figures.well_s else "", *house.log.splitlines()[-300:], sep="\n")
                raise
            print(figures)
            assert shop.states() == {**dict.fromkeys(CHECKED, "ready"), "migrate": "done"}
            assert there(shop) == before, f"seed {seed}"
            for name in CHECKED:
                found = shop.docker("exec", shop.container(name), "sh", "-c", TOUCHED)
                assert found == sums[name], f"the data of {name} was touched, seed {seed}"
                assert shop.inspect(name)["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
            shop.dx("stop")
            for name in CHECKED:
                whole(shop, name, storm.printed[name])


def there(shop: Shop) -> dict[str, list[str]]:
    """What the engine has, by name."""
    return {
        "containers": sorted(shop.docker("ps", "--all", "--format", "{{.Names}}").split()),
        "networks": sorted(shop.docker("network", "ls", "--format", "{{.Name}}").split()),
        "volumes": sorted(shop.docker("volume", "ls", "--format", "{{.Name}}").split()),
    }


def whole(shop: Shop, name: str, removed: list[Lines]) -> None:
    """What dx has kept of a service is what the engine has of its container, and had of those before it, once each.
    Only the end of one that was removed while it ran may be missing, which is told then.

    Not compared with what was printed: what an engine that is killed had in its hands is nowhere.
    """
    command = ["docker", "logs", shop.container(name)]
    both = subprocess.STDOUT
    printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=both, text=True, timeout=60, env=shop.house.env)
    of_engine = lines_of(printed.stdout)
    first = min(run for run, _ in of_engine)

    def kept() -> Lines:
        return lines_of(shop.dx("logs", "--no-prefix", name).stdout)

    until(lambda: of_engine.keys() <= kept().keys(), f"the last lines of {name} are kept")
    every = kept()
    assert {each: count for each, count in every.items() if each[0] >= first} == of_engine, name
    assert {count for each, count in every.items() if each[0] < first} <= {1}, name
    said = shop.dx("logs", "--no-prefix", name).stderr
    gaps = said.count("removed before all that it printed was read") + said.count("its last lines may be missing")
    short = [lines for lines in removed if lines.keys() - every.keys()]
    assert len(short) <= gaps, (name, short, said)
    for lines in short:
        missing, there = lines.keys() - every.keys(), lines.keys() & every.keys()
        assert min(missing) > max(there, default=(0, 0)), (name, sorted(missing))


def test_a_daemon_that_is_killed_while_it_restarts_a_service_restarts_it(house: House) -> None:
    """What was to be stopped is told as stopped to the next one, who must not take that for somebody's will."""
    script = "trap '' TERM; touch /run/well; while true; do sleep 0.1; done"
    check = {"test": ["CMD-SHELL", "test -e /run/well"], "interval": "1s", "retries": 1}
    ill = {"command": ["sh", "-c", script], "tmpfs": "/run", "healthcheck": check, "init": False}
    with Shop(house, web={**ill, "stop_grace_period": "4s"}) as shop:
        shop.dx("up", "--wait")
        before = shop.started("web")
        shop.docker("exec", shop.container("web"), "rm", "/run/well")
        until(lambda: '"do": "restart"' in house.log, "it is being stopped")
        shop.kill_daemon()
        house.start()
        until(lambda: shop.started("web") > before, "it is started again")
        shop.reach(web="ready")
        assert shop.services()["web"]["wanted"] == "up"
