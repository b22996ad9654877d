"""Random faults over ten services in the real engine: in the end all are well, and what was stored is there."""

import random
from contextlib import suppress
from typing import Any

from tests.e2e.shop import Shop, after
from tests.house import House

FAULTS = 40
PATIENCE_S = 60.0
"""Longer than any pause that so few faults can lead to."""
CHECK = {
    "healthcheck": {"test": ["CMD-SHELL", "test -e /run/well"], "interval": "1s", "retries": 1, "timeout": "2s"},
    "command": ["sh", "-c", "date >> /data/starts; touch /run/well; exec sleep 1000"],
    "tmpfs": "/run",
}


def ten() -> dict[str, dict[str, Any]]:
    """Half of them with a health check, in chains of three, each with data of its own."""
    services: dict[str, dict[str, Any]] = {}
    for at in range(10):
        name = f"s{at}"
        plain = {"command": ["sh", "-c", "date >> /data/starts; exec sleep 1000"]}
        services[name] = {
            **(CHECK if at % 2 else plain),
            **(after(**{f"s{at - 1}": "healthy"}) if at % 3 else {}),
            "volumes": [f"{name}:/data"],
            "restart": random.choice(["always", "unless-stopped", "on-failure"]),
        }
    return services


def test_after_many_faults_every_service_is_well_and_no_volume_was_touched(house: House) -> None:
    """Killed, made unhealthy, frozen, stopped and started by its user; and the daemon killed beneath it all."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    services = ten()
    shop = Shop(house)
    shop.write({"volumes": {name: {} for name in services}}, **services)
    with shop:
        shop.dx("up", "--wait")
        for _ in range(FAULTS):
            name = dice.choice(sorted(services))
            container = shop.container(name)
            running = shop.inspect(name)["State"]["Running"]
            with suppress(AssertionError):  # it may have ended just now
                match dice.randrange(6):
                    case 0 | 1 if running:
                        shop.docker("kill", container)
                    case 2 if running:
                        shop.docker("exec", container, "rm", "-f", "/run/well")
                    case 3 if running:
                        shop.docker("kill", "--signal", "STOP", container)
                    case 4:
                        shop.docker("stop", "--time", "0", container)
                        shop.docker("start", container)
                    case 5:
                        shop.kill_daemon()
                        house.start()
        wanted = dict.fromkeys(services, "ready")
        failed = [name for name, state in shop.states().items() if state == "failed"]
        if failed:  # one that was hit five times within a few seconds; whoever asks for it gets it
            shop.dx("start", *failed)
        frozen = [each for each in services if shop.inspect(each)["State"]["Running"]]
        for name in frozen:  # without a health check nobody can tell
            if "healthcheck" not in services[name]:
                shop.docker("kill", "--signal", "CONT", shop.container(name))
        shop.reach(PATIENCE_S, **wanted)
        for name in services:
            starts = shop.docker("exec", shop.container(name), "cat", "/data/starts").splitlines()
            assert len(starts) >= 1, f"the data of {name} is gone, seed {seed}"
            assert shop.inspect(name)["HostConfig"]["RestartPolicy"]["Name"] == "no"
