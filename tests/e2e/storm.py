"""Faults that hit a project's services, its engine and its daemon, all at the same time: drawn by a seed, then done.

`draw` is pure: which faults hit whom, in which order. `Storm` does them: each service has a thread that hits it, waits
until it is well, and hits it again, while others hit the engine and the daemon. What was seen is in its `Figures`.
"""

import json
import os
import random
import re
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from tests.e2e.rig import Unix, ask
from tests.e2e.shop import Shop
from tests.fakes.private_engine import PrivateEngine

PATIENCE_S = 75.0
"""Far more than the longest pause of a service, 16 s, with an engine that is away several times meanwhile."""
HELD_S = 1.5
"""How long something stays frozen, paused or ill that somebody puts right again."""
TICK_S = 0.1
STALE = re.compile("already exists|file exists|already in use")
"""In what the engine says that will not start a container: see `Figures.stale`."""
AWAY = (OSError, HTTPException, json.JSONDecodeError)
"""What asking the engine or the daemon raises while it is away."""


Lines = Counter[tuple[int, int]]
"""How often each line is there: by the number of the run, and that of the line in it."""


def lines_of(text: str) -> Lines:
    """Of what a service has printed."""
    found: Lines = Counter()
    for line in text.splitlines():
        word, run, number = line.split()
        assert word == "line", line
        found[int(run), int(number)] += 1
    return found


class Kind(StrEnum):
    """What happens."""

    KILL = "docker kill"
    KILL_INIT = "kill -9 of its pid 1"
    FREEZE = "SIGSTOP of its processes"
    PAUSE = "docker pause and unpause"
    ILL = "its health check fails"
    FLAP = "its health check fails for a moment"
    STOP = "docker stop and start"
    REMOVE = "docker rm -f, dx up"
    CUT = "docker network disconnect, dx up"
    ENGINE_STOP = "engine restarted"
    ENGINE_KILL = "engine killed"
    DAEMON_KILL = "daemon killed"


WEIGHTS = {
    Kind.KILL: 20,
    Kind.KILL_INIT: 20,
    Kind.FREEZE: 12,
    Kind.PAUSE: 10,
    Kind.ILL: 10,
    Kind.FLAP: 10,
    Kind.STOP: 10,
    Kind.REMOVE: 5,
    Kind.CUT: 3,
}
NEEDS_CHECK = (Kind.ILL, Kind.FLAP)
ENGINE_SHARE, DAEMON_SHARE = 0.02, 0.04
"""Of all faults. Each of the engine's hits everything."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is to happen."""

    services: Mapping[str, Sequence[Kind]]
    rest: Sequence[tuple[int, Kind, bool]]
    """After so many faults, something to the engine or the daemon; whether containers outlive the next end of an engine
    that begins."""


def draw(seed: int, faults: int, checked: Mapping[str, bool]) -> Drawn:
    """So many faults over these services, of which some have a health check. The daemon is killed in the first half."""
    dice = random.Random(seed)
    rest = [
        (dice.randrange(faults), dice.choice([Kind.ENGINE_STOP, Kind.ENGINE_KILL]), dice.random() < 0.5)
        for _ in range(max(2, round(faults * ENGINE_SHARE)))
    ]
    rest += [(dice.randrange(faults // 2), Kind.DAEMON_KILL, True) for _ in range(max(2, round(faults * DAEMON_SHARE)))]
    services: dict[str, list[Kind]] = {name: [] for name in checked}
    for _ in range(faults - len(rest)):
        name = dice.choice(sorted(checked))
        kinds = [kind for kind in WEIGHTS if checked[name] or kind not in NEEDS_CHECK]
        services[name] += dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])
    return Drawn(services, sorted(rest))


@dataclass(slots=True)
class Figures:
    """What was seen."""

    done: Counter[Kind] = field(default_factory=Counter)
    well_s: list[tuple[float, float, str, Kind]] = field(default_factory=list)
    """Seconds until a service was well again; the pauses that dx told in them; which; after what."""
    asked: int = 0
    """How often a service had failed, and somebody started it."""
    stale: int = 0
    """How often the engine would not start a container any more, since what is left of its last run was in the way
    (moby 20.10, where a container ends as the engine is killed), and somebody removed it.
    """
    answers_s: list[float] = field(default_factory=list)
    """What the daemon took to say how its services are."""
    daemon: list[tuple[int, int, int, int]] = field(default_factory=list)
    """After so many faults: its pid, resident KiB, descriptors."""

    def __str__(self) -> str:
        lines = [f"{count:5} {kind}" for kind, count in self.done.most_common()]
        took = sorted(each[0] for each in self.well_s)
        answers = [sorted(self.answers_s)[int((len(self.answers_s) - 1) * share)] for share in (0.5, 0.99, 1)]
        beyond = max(self.well_s, key=lambda each: each[0] - each[1])
        lines += [
            f"well again: median {statistics.median(took):.1f} s, longest {took[-1]:.1f} s",
            f"asked for {self.asked} times, made anew {self.stale} times",
            "longest beyond its pauses: {:.1f} s with {:.1f} s of pauses, {}, {}".format(*beyond),
            "dx services: median {:.3f} s, 99 of 100 within {:.3f} s, longest {:.3f} s".format(*answers),
            *("after {} faults: daemon {}, {} KiB, {} descriptors".format(*each) for each in self.daemon),
        ]
        return "\n".join(lines)


class Storm:
    """Over the services of one shop, in an engine of its own."""

    def __init__(self, shop: Shop, engine: PrivateEngine, drawn: Drawn, checked: Mapping[str, bool]) -> None:
        self.figures = Figures()
        self.printed: dict[str, list[Lines]] = {name: [] for name in checked}
        """What the engine had of containers just before they were removed."""
        self._shop = shop
        self._engine = engine
        self._drawn = drawn
        self._checked = checked
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._states: dict[str, dict[str, Any]] = {}
        self._asked_at = 0.0
        self._tick = threading.Event()

    def blow(self) -> Figures:
        """Do it all; in the end every service is well."""
        threads = [
            threading.Thread(target=self._watch, name="watch"),
            threading.Thread(target=self._hit_rest, name="rest"),
        ]
        for thread in threads:
            thread.start()
        try:
            with ThreadPoolExecutor(len(self._checked)) as pool:
                for each in [pool.submit(self._hit_service, *item) for item in self._drawn.services.items()]:
                    each.result()
            threads[1].join(PATIENCE_S)
            assert not threads[1].is_alive(), "the engine and the daemon are hit no more"
            with ThreadPoolExecutor(len(self._checked)) as pool:
                for each in [pool.submit(self._well, name, "", time.monotonic(), None) for name in self._checked]:
                    each.result()
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        self._note_daemon()
        return self.figures

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the engine itself."""
        connection = Unix(self._engine.socket)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text and method == "GET" and answer.status < 400 else text
        finally:
            connection.close()

    def _hit_service(self, name: str, kinds: Sequence[Kind]) -> None:
        self._well(name, "", time.monotonic(), None)
        for kind in kinds:
            end = time.monotonic() + PATIENCE_S
            while True:
                assert time.monotonic() < end, f"{name} could not be hit: {kind}"
                with suppress(*AWAY):
                    began, before = time.monotonic(), self._inspect(name)
                    if before is not None and before["State"]["Running"] and self._hit(name, kind, before):
                        break
                self._tick.wait(TICK_S)
                self._well(name, "", time.monotonic(), None)  # it has ended just now, or the engine is away
            restarts = kind not in (Kind.PAUSE, Kind.FLAP) and (kind is not Kind.FREEZE or self._checked[name])
            self._count(kind)
            self._well(name, before["State"]["StartedAt"] if restarts else "", began, kind)

    def _hit(self, name: str, kind: Kind, before: dict[str, Any]) -> bool:
        """Whether it was hit; `AWAY` where the engine was not there."""
        this = f"/containers/{before['Id']}"
        match kind:
            case Kind.KILL:
                return self.call("POST", f"{this}/kill")[0] < 400
            case Kind.KILL_INIT:
                with suppress(ProcessLookupError):
                    os.kill(before["State"]["Pid"], signal.SIGKILL)
                    return True
            case Kind.FREEZE:
                return self._freeze(name, this)
            case Kind.PAUSE:
                if self.call("POST", f"{this}/pause")[0] < 400:
                    self._tick.wait(HELD_S)
                    self._insist(name, f"{this}/unpause", lambda state: not state["Paused"])
                    return True
            case Kind.ILL | Kind.FLAP:
                if self._execute(this, "rm -f /run/well"):
                    if kind is Kind.FLAP:
                        self._tick.wait(HELD_S)
                        with suppress(*AWAY):
                            self._execute(this, "touch /run/well")
                    return True
            case Kind.STOP:
                with suppress(*AWAY):  # what the engine has done of it before it went is done
                    self.call("POST", f"{this}/stop?t=0")
                self._insist(name, f"{this}/start", lambda state: bool(state["Running"]))
                return True
            case Kind.REMOVE:
                printed = self._printed(name)
                if self.call("DELETE", f"{this}?force=1")[0] < 400:
                    self.printed[name].append(printed)
                    self._up(name)
                    return True
            case Kind.CUT:
                network = f"/networks/{self._shop.name}_default/disconnect"
                printed = self._printed(name)
                status, said = self.call("POST", network, {"Container": before["Id"]})
                if status < 400 or "is not connected" in str(said):  # an engine that was killed may have forgotten it
                    self._tick.wait(HELD_S)
                    self.printed[name].append(printed)
                    self._up(name)
                    return True
        return False

    def _freeze(self, name: str, this: str) -> bool:
        status, top = self.call("GET", f"{this}/top?ps_args=-o%20pid")
        if status >= 400:
            return False
        held = []
        try:
            for (pid,) in top["Processes"]:
                with suppress(ProcessLookupError):
                    held.append(os.pidfd_open(int(pid)))
                    signal.pidfd_send_signal(held[-1], signal.SIGSTOP)
            if not self._checked[name]:  # nobody can tell, so somebody puts it right
                self._tick.wait(HELD_S)
                for each in held:
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(each, signal.SIGCONT)
        finally:
            for each in held:
                os.close(each)
        return bool(held)

    def _execute(self, this: str, script: str) -> bool:
        status, made = self.call("POST", f"{this}/exec", {"Cmd": ["sh", "-c", script]})
        return status < 400 and self.call("POST", f"/exec/{json.loads(made)['Id']}/start", {"Detach": True})[0] < 400

    def _insist(self, name: str, path: str, done: Callable[[dict[str, Any]], bool]) -> None:
        """Do the second half of a fault, whatever else happens meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with suppress(*AWAY):
                if STALE.search(str(self.call("POST", path)[1])):
                    return self._make_anew(name)
                status, found = self.call("GET", f"{path.rpartition('/')[0]}/json")
                if status == 404 or (status < 400 and done(found["State"])):
                    return None
            self._tick.wait(TICK_S)
        raise AssertionError(f"the engine does not do it: {path}")

    def _up(self, name: str) -> None:
        said, end = "", time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with suppress(TimeoutExpired):
                done = self._shop.dx("up", name, ok=False)
                if done.returncode == 0:
                    return
                said = done.stderr
            self._tick.wait(TICK_S)
        raise AssertionError(f"dx up {name}: {said}")

    def _well(self, name: str, before: str, began: float, kind: Kind | None) -> None:
        """Wait until it is, by the engine and by dx, in another run than the one that began then."""
        pauses: dict[str, float] = {}
        seen: Any = None
        while time.monotonic() < began + PATIENCE_S:
            said, asked_at = self._states.get(name, {}), self._asked_at
            if asked_at > began and said:
                reason = said.get("reason", "")
                if "started again in " in reason:
                    pause = float(reason.rpartition("started again in ")[2].split()[0])
                    key = f"{said['restarts']}"
                    pauses[key] = max(pauses.get(key, 0.0), pause)
                if STALE.search(reason):
                    self._make_anew(name)
                elif said["state"] == "failed":
                    self._ask_for(name)
                with suppress(*AWAY):
                    seen = self._inspect(name)
                    state: dict[str, Any] = seen["State"] if seen else {"Running": False}
                    healthy = state.get("Health", {}).get("Status", "healthy") == "healthy"
                    again = state.get("StartedAt", "") > before and not state.get("Paused")
                    if said["state"] == "ready" and state["Running"] and healthy and again:
                        with self._lock:
                            if kind is not None:
                                self.figures.well_s.append((time.monotonic() - began, sum(pauses.values()), name, kind))
                        return
            self._tick.wait(TICK_S)
        raise AssertionError(f"{name} is not well after {kind}: {self._states.get(name)}, {seen and seen['State']}")

    def _ask_for(self, name: str) -> None:
        with suppress(TimeoutExpired):
            done = self._shop.dx("start", name, ok=False)
            with self._lock:
                self.figures.asked += done.returncode == 0
                self._asked_at = 0.0  # what was known is from before

    def _make_anew(self, name: str) -> None:
        with suppress(*AWAY):
            if self.call("DELETE", f"/containers/{self._shop.container(name)}?force=1")[0] < 400:
                with self._lock:
                    self.figures.stale += 1
        self._up(name)
        self._asked_at = 0.0

    def _inspect(self, name: str) -> dict[str, Any] | None:
        status, found = self.call("GET", f"/containers/{self._shop.container(name)}/json")
        return found if status < 400 else None

    def _printed(self, name: str) -> Lines:
        """What the engine has of its output."""
        command = ["docker", "logs", self._shop.container(name)]
        env, both = self._shop.house.env, subprocess.STDOUT
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=both, text=True, timeout=60, env=env)
        if done.returncode:
            raise ConnectionError(done.stdout)
        return lines_of(done.stdout)

    def _hit_rest(self) -> None:
        for after, kind, outlives in self._drawn.rest:
            while self.figures.done.total() < after and not self._over.is_set():
                self._tick.wait(TICK_S)
            if kind is Kind.DAEMON_KILL:
                self._shop.kill_daemon()
                self._shop.house.start()
            else:
                (self._engine.stop if kind is Kind.ENGINE_STOP else self._engine.kill)()
                self._engine.options = (f"--live-restore={str(outlives).lower()}",)
                self._engine.start()
            self._count(kind)

    def _count(self, kind: Kind) -> None:
        with self._lock:
            self.figures.done[kind] += 1
            total = self.figures.done.total()
        if total % 100 == 0:
            self._note_daemon()

    def _note_daemon(self) -> None:
        pid = self._shop.house.daemon
        with suppress(FileNotFoundError, ProcessLookupError, AttributeError):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            resident = int(status.partition("VmRSS:")[2].split()[0])
            count = len(os.listdir(f"/proc/{pid}/fd"))
            self.figures.daemon.append((self.figures.done.total(), pid or 0, resident, count))

    def _watch(self) -> None:
        """See how the services are, as whoever asks does, and how long the answer takes."""
        while not self._over.wait(TICK_S):
            began = time.monotonic()
            with suppress(*AWAY):
                found = ask(self._shop.house, f"/v1/projects/{self._shop.name}")
                if "services" in found:
                    self.figures.answers_s.append(time.monotonic() - began)
                    self._states = {each["name"]: each for each in found["services"]}
                    self._asked_at = began
