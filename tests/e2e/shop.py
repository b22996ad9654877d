"""A project of services in a house: its compose file, what becomes of it, and nothing left of it at the end."""

import json
import os
import secrets
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.rig import ask
from tests.house import DEADLINE_S, IMAGE, House
from tests.waiting import until

BASE = {"image": IMAGE, "network_mode": "none", "init": True, "stop_grace_period": "1s"}
"""Of every service, unless it says otherwise."""
FOREVER = ["sleep", "1000"]


class Shop:
    """One project. `services` are written as JSON, which is YAML too."""

    def __init__(self, house: House, **services: dict[str, Any]) -> None:
        self.house = house
        self.name = f"dxt{secrets.token_hex(4)}"
        self.root = Path(os.fsdecode(house.place(self.name)))
        self.file = self.root / "compose.yaml"
        self.engine = house.env.get("DOCKER_HOST", "")
        if services:
            self.write(**services)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.house.stop()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "0", bare=True)

    def write(self, top: dict[str, Any] | None = None, **services: dict[str, Any]) -> None:
        """Make these its services; None takes away what every service has."""
        every = {
            name: {key: value for key, value in {"command": FOREVER, **BASE, **each}.items() if value is not None}
            for name, each in services.items()
        }
        self.file.write_text(json.dumps({"services": every, **(top or {})}, indent=1))

    def dx(self, *arguments: str, ok: bool = True, **environ: str) -> "subprocess.CompletedProcess[str]":
        """`dx ARGUMENTS` in its directory."""
        done = self.house.dx(arguments, cwd=self.root, env=self.house.env | environ)
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert not ok or done.returncode == 0, (text.stderr, self.house.log)
        return text

    def services(self) -> dict[str, dict[str, Any]]:
        """What the daemon says of each."""
        return {each["name"]: each for each in ask(self.house, f"/v1/projects/{self.name}")["services"]}

    def states(self) -> dict[str, str]:
        """Only what they are."""
        return {name: each["state"] for name, each in self.services().items()}

    def reach(self, deadline_s: float = DEADLINE_S, **states: str) -> None:
        """Wait until these services are so."""
        until(lambda: self.states().items() >= states.items(), f"{states}, not {self.states()}", deadline_s=deadline_s)

    def compose(self, *arguments: str, bare: bool = False) -> str:
        """Docker Compose itself, beside dx; `bare` without its file."""
        where = [] if bare else ["--file", str(self.file)]
        command = [str(self.house.bin / "docker-compose"), *where, "--project-name", self.name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=self.house.env, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def docker(self, *arguments: str) -> str:
        """Docker's command line, for the engine that the house has."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, env=self.house.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """The name of its first container."""
        return f"{self.name}-{service}-1"

    def inspect(self, service: str) -> dict[str, Any]:
        """Its first container, as the engine has it; one that is exchanged has another name for a moment."""
        name = self.container(service)
        until(lambda: self.docker("ps", "--all", "--quiet", "--filter", f"name=^{name}$"), f"there is {name}")
        found: dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def started(self, service: str) -> float:
        """When it was started last, in seconds since 1970."""
        return when(self.inspect(service)["State"]["StartedAt"])

    def kill(self, service: str) -> None:
        """End its processes, as a crash does."""
        self.docker("kill", self.container(service))

    def kill_daemon(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.house.stop(signal.SIGKILL)

    def remove_images(self) -> None:
        """Those that were built for it."""
        listing = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={self.name}-*"]
        for each in self.docker(*listing).split():
            self.docker("image", "rm", "--force", each)


def when(text: str) -> float:
    """A time of the engine's, which has nanoseconds, in seconds since 1970."""
    return datetime.fromisoformat(text[:26].rstrip("Z")).replace(tzinfo=UTC).timestamp()


def healthy(test: str, **more: Any) -> dict[str, Any]:
    """A health check that the engine itself makes for the first time after half a minute."""
    return {"healthcheck": {"test": ["CMD-SHELL", test], "interval": "30s", **more}}


def after(**conditions: str) -> dict[str, Any]:
    """`depends_on`, by `started`, `healthy` or `done`."""
    long = {"started": "service_started", "healthy": "service_healthy", "done": "service_completed_successfully"}
    return {"depends_on": {name: {"condition": long[each]} for name, each in conditions.items()}}


def now() -> float:
    """Seconds since 1970."""
    return time.time()
