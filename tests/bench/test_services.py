"""How soon whoever waits for services is told, and what thirty of them cost. Prints; nothing fails by time."""

import os
import time
from pathlib import Path
from statistics import median

from tests.e2e.lazy import Lazy
from tests.e2e.shop import Shop, after, healthy, now, when
from tests.house import House

ROUNDS = 5
MANY = 30
IDLE_S = 60.0


def test_ready_and_death_are_told_soon(house: House) -> None:
    """From what happens in the container to the end of `dx up --wait`, process and all."""
    shared = house.root / "shared"
    shared.mkdir()
    told, fallen = [], []
    lives = {"command": ["sh", "-c", "sleep 1; touch /shared/up; exec sleep 1000"], "volumes": [f"{shared}:/shared"]}
    with Shop(
        house,
        good={**lives, **healthy("test -e /shared/up")},
        bad={"command": ["sh", "-c", "sleep 1; exit 3"], **healthy("false")},
    ) as shop:
        for _ in range(ROUNDS):
            shop.dx("up", "--wait", "--recreate", "good")
            told.append(now() - (shared / "up").stat().st_mtime)
            (shared / "up").unlink()
            shop.dx("up", "--wait", "--recreate", "bad", ok=False)
            fallen.append(now() - when(shop.inspect("bad")["State"]["FinishedAt"]))
            shop.dx("stop", "bad")
    print(
        f"\nready to told: median {median(told):.2f} s, longest {max(told):.2f} s; "
        f"death to told: median {median(fallen):.2f} s, longest {max(fallen):.2f} s"
    )


def test_many_services(house: House) -> None:
    """A third of them with a health check, in chains of three."""
    services = {}
    for at in range(MANY):
        services[f"s{at}"] = after(**{f"s{at - 1}": "healthy"}) if at % 3 else healthy("true")
    with Shop(house, **services) as shop:
        begun = time.monotonic()
        shop.dx("up", "--wait")
        first = time.monotonic() - begun
        begun = time.monotonic()
        shop.dx("up", "--wait")
        again = time.monotonic() - begun
        pid = house.daemon
        assert pid is not None
        before = busy_s(pid)
        time.sleep(IDLE_S)
        share = (busy_s(pid) - before) / IDLE_S
        memory = Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    print(
        f"\n{MANY} services: up {first:.1f} s, up again {again:.2f} s; the daemon has {int(memory) / 1024:.0f} MiB, "
        f"idle {share:.2%} of a core"
    )


def busy_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_first_connection_is_answered_soon_after_ready(house: House) -> None:
    """To a service that sleeps: from where it begins to listen to its first answer, and from the connection to that."""
    shared = house.root / "shared"
    shared.mkdir()
    over, whole, later = [], [], []
    with Lazy(house, extras={"lazy": True, "idle": "1s"}) as lazy:
        lazy.services_of(
            db=lazy.db
            | {
                "command": ["sh", "-c", "touch /shared/up; exec nc -ll -p 7000 -e cat"],
                "healthcheck": {"test": ["CMD-SHELL", "test -e /shared/up"], "interval": "30s"},
                "volumes": [f"{shared}:/shared"],
            }
        )
        lazy.dx("up")
        for _ in range(ROUNDS):
            lazy.sleeps()
            (shared / "up").unlink(missing_ok=True)
            begun = now()
            assert lazy.says() == b"hello"
            over.append(now() - (shared / "up").stat().st_mtime)
            whole.append(now() - begun)
            begun = now()
            assert lazy.says() == b"hello"
            later.append(now() - begun)
    print(
        f"\nfirst answer after listening: median {median(over):.2f} s, longest {max(over):.2f} s; after connecting: "
        f"median {median(whole):.2f} s; to one that is ready: {median(later) * 1000:.1f} ms"
    )
