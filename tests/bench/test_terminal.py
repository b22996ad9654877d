"""The echo of a key, through a run's terminal and natively, interleaved. Prints its figures; never fails for a time."""

import os
import statistics
import time

import pexpect

from tests.house import BUSYBOX, House

KEYS = int(os.environ.get("DX_BENCH_KEYS", "500"))


def echo_s(child: "pexpect.spawn[bytes]", key: bytes) -> float:
    """Seconds from the key to its echo."""
    begun = time.perf_counter()
    os.write(child.child_fd, key)
    seen = b""
    while not seen.endswith(key):
        seen += os.read(child.child_fd, 100)
    return time.perf_counter() - begun


def test_echo(image: str) -> None:
    script = ["sh", "-c", "stty -icanon; echo ready; exec cat >/dev/null"]
    with House() as house:
        commands = {"native": [BUSYBOX, *script], "dx run": [str(house.bin / "dx"), "run", image, *script]}
        children = {
            name: pexpect.spawn(line[0], line[1:], env=house.env, cwd=house.work, timeout=60)
            for name, line in commands.items()
        }
        times: dict[str, list[float]] = {name: [] for name in children}
        try:
            for child in children.values():
                child.expect("ready\r\n")
            for number in range(KEYS):
                for name, child in children.items():
                    times[name].append(echo_s(child, b"%c" % (97 + number % 26)))
        finally:
            for child in children.values():
                child.close(force=True)
    for name, each in times.items():
        p99 = sorted(each)[len(each) * 99 // 100]
        print(f"\necho of a key, {name}: median {statistics.median(each) * 1e3:.3f} ms, 99 % {p99 * 1e3:.3f} ms")
    more = statistics.median(times["dx run"]) - statistics.median(times["native"])
    print(f"  dx adds {more * 1e3:.3f} ms (budget 2)")
