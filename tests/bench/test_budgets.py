"""The budgets of a run, measured: native, `docker exec`, `docker run`, the launcher and a shim, interleaved in one run.

Prints its figures and fails only when something does not work, never because of a time. `DX_BENCH_ROUNDS` (20) sets how
often; medians of whole processes, as a shell would start them.
"""

import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
ROUNDS = int(os.environ.get("DX_BENCH_ROUNDS", "20"))
PIPE_BYTES = 2 << 30
IMAGE = "dx-bench-busybox:latest"
IDLE_S = 10.0
"""How long an idle daemon is watched."""


def spawn(argv: Sequence[str], env: dict[str, str]) -> int:
    """Start a program with nothing on its standard streams; its pid."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, each) for each in (0, 1)]
        return os.posix_spawn(argv[0], list(argv), env, file_actions=actions)
    finally:
        os.close(null)


def once(argv: Sequence[str], env: dict[str, str]) -> float:
    """Seconds of one run, which must succeed."""
    begun = time.perf_counter()
    _, status = os.waitpid(spawn(argv, env), 0)
    took = time.perf_counter() - begun
    assert status == 0, argv
    return took


def at_a_time(argv: Sequence[str], env: dict[str, str], *, total: int, width: int) -> float:
    """Runs per second with `width` of them going on all the time; each must succeed. By xargs, which costs little."""
    numbers = "".join(f"{number}\n" for number in range(total))
    begun = time.perf_counter()
    subprocess.run(["xargs", "-n", "1", "-P", str(width), *argv], input=numbers, env=env, check=True, text=True)
    return total / (time.perf_counter() - begun)


class Bench:
    """An image, a container of it for `docker exec`, and a dx of its own."""

    def __init__(self, base: Path) -> None:
        self.docker = shutil.which("docker") or "docker"
        bin_dir = Path(os.environ.get("DX_TEST_BIN") or Path(sys.executable).parent)
        self.dx = str(bin_dir / "dx")
        self.shim = str(base / "d" / "shims" / "true")
        self.project, self.extra = base / "project", base / "extra"
        for each in (self.project, self.extra, base / "home"):
            each.mkdir()
        (self.project / ".git").mkdir()
        places = {f"DX_{name}_DIR": str(base / name[0].lower()) for name in ("CONFIG", "STATE", "DATA", "RUNTIME")}
        self.env = {**os.environ, **places, "HOME": str(base / "home")}
        (base / "c").mkdir()
        (base / "c" / "dx.toml").write_text(
            f'[tools.busy]\nimage = "{IMAGE}"\ncommands = ["true", "cat"]\nmounts = ["{self.extra}"]\n'
        )
        context = base / "context"
        context.mkdir()
        shutil.copy(BUSYBOX, context / "busybox")
        (context / "Dockerfile").write_text(
            'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
        )
        self.call(self.docker, "build", "-q", "-t", IMAGE, str(context))
        self.container = self.call(self.docker, "run", "-d", IMAGE, "sleep", "3600").strip()
        self.call(self.dx, "reshim")
        self.call(self.shim)

    def call(self, *argv: str) -> str:
        """A command's output; it must succeed."""
        return subprocess.run(
            argv, env=self.env, cwd=self.project, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def close(self) -> None:
        """Leave nothing behind."""
        for argv in (
            [self.dx, "stop", "--all"],
            [self.dx, "daemon", "stop"],
            [self.docker, "rm", "-f", self.container],
            [self.docker, "rmi", IMAGE],
        ):
            subprocess.run(argv, env=self.env, check=False, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    base = Path(tempfile.mkdtemp(prefix="dxb", dir="/tmp"))
    before = Path.cwd()
    made = None
    try:
        made = Bench(base)
        os.chdir(made.project)
        yield made
    finally:
        os.chdir(before)
        if made is not None:
            made.close()
        shutil.rmtree(base, ignore_errors=True)


def test_latency(bench: Bench) -> None:
    commands = {
        "native": [BUSYBOX, "true"],
        "dx run": [bench.dx, "run", "true"],
        "shim": [bench.shim],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -m dx run": [sys.executable, "-m", "dx", "run", "true"],
        "docker exec": [bench.docker, "exec", bench.container, "true"],
        "docker run --rm": [bench.docker, "run", "--rm", IMAGE, "true"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, argv in commands.items():
            repeat = 1 if name.startswith("docker") else 5
            times[name] += [once(argv, bench.env) for _ in range(repeat)]
    medians = {name: statistics.median(each) for name, each in times.items()}
    ours = medians["dx run"]
    print(f"\n{'one run of true, fresh root, two grants':<42}{'ms':>9}{'of dx run':>12}")
    for name, median in sorted(medians.items(), key=lambda each: each[1]):
        print(f"  {name:<40}{median * 1e3:>9.2f}{median / ours:>11.2f}x")
    print("  budget: docker run >= 80x, docker exec >= 15x, native >= 1/12 = 0.08x; python -m dx run <= 25 ms")


def test_at_a_time(bench: Bench) -> None:
    argv = [bench.dx, "run", "true"]
    rates, natives = [], []
    for _ in range(3):
        rates.append(at_a_time(argv, bench.env, total=1000, width=8))
        natives.append(at_a_time([BUSYBOX, "true"], bench.env, total=1000, width=8))
    native = statistics.median(natives)
    execs = at_a_time([bench.docker, "exec", bench.container, "true"], bench.env, total=40, width=8)
    print(
        f"\n8 at a time, runs/s: dx {statistics.median(rates):.0f} (budget 600), native {native:.0f}, exec {execs:.0f}"
    )


def test_burst(bench: Bench) -> None:
    begun = time.perf_counter()
    rate = at_a_time([bench.dx, "run", "true"], bench.env, total=1000, width=1000)
    print(f"\n1,000 at once: all succeeded in {time.perf_counter() - begun:.2f} s, {rate:.0f} runs/s")


def test_pipe(bench: Bench) -> None:
    sinks = {
        "native": [BUSYBOX, "cat"],
        "dx run": [bench.dx, "run", "cat"],
        "docker exec -i": [bench.docker, "exec", "-i", bench.container, "cat"],
    }
    rates: dict[str, list[float]] = {name: [] for name in sinks}
    for number in range(3):
        for name, argv in sinks.items():
            if name.startswith("docker") and number:
                continue
            begun = time.perf_counter()
            head = [BUSYBOX, "head", "-c", str(PIPE_BYTES), "/dev/zero"]
            with subprocess.Popen(head, stdout=subprocess.PIPE) as source:
                subprocess.run(argv, env=bench.env, check=True, stdin=source.stdout, stdout=subprocess.DEVNULL)
            assert source.returncode == 0
            rates[name].append(PIPE_BYTES / (time.perf_counter() - begun) / (1 << 20))
    best = {name: max(each) for name, each in rates.items()}
    print(f"\n2 GiB through a pipe, MiB/s: {', '.join(f'{name} {rate:.0f}' for name, rate in best.items())}")
    print(f"  dx of native: {best['dx run'] / best['native']:.2f} (budget 0.95)")


def test_cold(bench: Bench) -> None:
    cold, runs = [], []
    for _ in range(5):
        bench.call(bench.dx, "stop", "--all")
        cold.append(once([bench.dx, "run", "true"], bench.env))
        runs.append(once([bench.docker, "run", "--rm", IMAGE, "true"], bench.env))
    first, other = statistics.median(cold), statistics.median(runs)
    print(f"\ncold container {first * 1e3:.0f} ms, docker run --rm {other * 1e3:.0f} ms: {first / other:.2f}x")


def test_daemon(bench: Bench) -> None:
    begun = time.perf_counter()
    bench.call(bench.dx, "daemon", "stop")
    stopped = time.perf_counter()
    bench.call(bench.dx, "daemon", "start")
    started = time.perf_counter()
    bench.call(bench.dx, "status", "--wait")
    ready = time.perf_counter()
    print(f"\ndaemon: stopped in {stopped - begun:.2f} s, takes requests after {started - stopped:.2f} s (budget 0.4)")
    print(f"  ready, with what was warm before, after {ready - stopped:.2f} s, `dx status` included")


def test_idle(bench: Bench) -> None:
    tools = "".join(f'[tools.t{n}]\nimage = "{IMAGE}"\npids = {100 + n}\n' for n in range(20))
    (Path(bench.env["DX_CONFIG_DIR"]) / "dx.toml").write_text(tools)
    for number in range(20):
        bench.call(bench.dx, "run", f"t{number}", "true")
    daemon = json.loads(bench.call(bench.dx, "status", "--json"))
    warm = json.loads(bench.call(bench.dx, "ps", "--json"))["containers"]
    begun, used = time.perf_counter(), cpu_s(daemon["pid"])
    select.select([], [], [], IDLE_S)
    share = (cpu_s(daemon["pid"]) - used) / (time.perf_counter() - begun)
    agents = [resident_kib(each["agent_pid"]) for each in warm]
    print(f"\nidle with {len(warm)} warm containers: {share:.2%} of a core (budget 0.2 %)")
    resident = resident_kib(daemon["pid"]) / 1024
    print(f"  daemon {resident:.0f} MiB resident (budget 60 MB), agents {max(agents)} KiB at most (1 MB)")


def cpu_s(pid: int) -> float:
    """What the main thread of a process has used of a processor so far; finer than the ticks of stat."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def resident_kib(pid: int) -> int:
    """What a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
