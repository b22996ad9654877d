"""Images that follow their Dockerfiles: edits under load, and the way back. Prints; nothing fails by time."""

import threading
import time
from datetime import datetime
from statistics import median

from dx import Client
from tests.e2e.project import BUILD_S, Project
from tests.house import House

EDITS = 100
RUNNERS = 8


def test_edits_under_load(house: House, image: str) -> None:
    """A hundred of them, every other broken, with eight runs at a time all the while; then rollbacks."""
    project = Project(house, image)
    failed: list[bytes] = []
    runs = [0]
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            done = house.run([project.tool], timeout=BUILD_S)
            runs[0] += 1
            if done.returncode or not done.stdout.startswith((b"first", b"word")):
                failed.append(done.stdout + done.stderr)

    try:
        assert project.run() == "first"
        threads = [threading.Thread(target=run) for _ in range(RUNNERS)]
        for each in threads:
            each.start()
        served = []
        for number in range(EDITS):
            broken = number % 2 == 0
            project.write(f"word {number}", broken=broken)
            begun = time.monotonic()
            if broken:
                time.sleep(0.5)  # the pace of the edits
            else:
                project.becomes(f"word {number}")
                served.append(time.monotonic() - begun)
        back = []
        good = [each["id"] for each in project.builds() if each["result"] == "good"][:5]
        for each in good * 2:
            begun = time.monotonic()
            Client(house.socket).rollback(project.tool, each)
            back.append(time.monotonic() - begun)
        stop.set()
        for each in threads:
            each.join()
        builds = project.builds()
        waits = sorted(served)
        print(
            f"\n{EDITS} edits, {runs[0]} runs, {len(failed)} failed; {len(builds)} builds; edit to serving: median "
            f"{median(waits):.2f} s, longest {waits[-1]:.2f} s; rollback: median {median(back) * 1000:.0f} ms, longest "
            f"{max(back) * 1000:.0f} ms"
        )
        assert not failed, failed[0]
    finally:
        stop.set()
        project.close()


def test_a_change_is_built_soon(house: House, image: str) -> None:
    """From the edit to the beginning of its build, on a machine that is at rest."""
    project = Project(house, image)
    try:
        assert project.run() == "first"
        waits = []
        for number in range(10):
            before = project.builds()[0]["id"]
            edited = time.time()
            project.write(f"word {number}")
            project.becomes(f"word {number}")
            assert project.builds()[0]["id"] == before + 1
            began = project.builds()[0]["began_at"]
            waits.append(datetime.fromisoformat(began).timestamp() - edited)
        print(f"\nedit to the build's beginning: median {median(waits):.3f} s, longest {max(waits):.3f} s")
    finally:
        project.close()
