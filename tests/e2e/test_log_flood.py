"""A service that prints as fast as it can, beside others: nobody else is held up, and all of it is kept."""

import json
import time

from tests.e2e.project import peak_bytes
from tests.e2e.shop import Shop
from tests.house import House
from tests.waiting import until

LINES = 50_000
TEXT = " INFO a line as services print them, all day and all night long, and then once more for good" * 20
FLOOD = ["seq", "-w", "-s", f"{TEXT}\n", "1", f"{LINES}"]
"""A hundred megabytes in numbered lines, in a second or two: no program of the image prints faster."""
KILLS = 2
PATIENCE_S = 5.0
"""For an answer: it takes half a second where there is no other work, and tests have company."""
MEMORY_BYTES = 96 << 20
"""What a flood may add to the daemon's memory."""


def test_a_flood_holds_up_nobody_and_is_kept(house: House) -> None:
    """While it is read another service falls and comes back, and the daemon answers."""
    house.define("[daemon]\nlog_bytes = '300m'\n")
    with Shop(house, flood={"command": FLOOD, "restart": "no"}, web={"restart": "always"}) as shop:
        house.start()
        before = peak_bytes(house)
        shop.dx("up")
        took = []
        for _ in range(KILLS):
            restarts = shop.services()["web"]["restarts"]
            shop.kill("web")
            until(lambda: shop.services()["web"]["restarts"] > restarts, "web is started again")  # noqa: B023
            shop.reach(web="ready")
            begun = time.monotonic()
            shop.dx("services")
            took.append(time.monotonic() - begun)

        def is_read() -> bool:
            lines = shop.dx("logs", "--json", "--tail", "1", "flood", ok=False).stdout.splitlines()
            return bool(lines) and json.loads(lines[-1]).get("mark") == "ended"

        until(is_read, "all that it printed is read", deadline_s=100)
        assert shop.states() == {"flood": "done", "web": "ready"}
        assert max(took) < PATIENCE_S
        assert peak_bytes(house) - before < MEMORY_BYTES
        kept = shop.dx("logs", "--no-prefix", "flood")
        numbers = [int(line.partition(" ")[0]) for line in kept.stdout.splitlines() if line.endswith(TEXT)]
        assert kept.stderr == ""
        assert numbers == list(range(1, LINES))  # no text after the last
