"""A project that uses a service of another, and projects with services for others."""

import json
import subprocess
from types import TracebackType
from typing import Any

from tests.e2e.shop import Shop
from tests.house import DEADLINE_S, IMAGE, House
from tests.waiting import until

SERVER = {
    "image": IMAGE,
    "init": True,
    "stop_grace_period": "1s",
    "command": ["httpd", "-f", "-p", "80", "-h", "/bin"],
    "expose": ["80"],
    "healthcheck": {"test": ["CMD-SHELL", "test -e /proc/1"], "interval": "30s"},
}
ASKS = "until wget -q -O /dev/null http://$$WEB_HOST:$$WEB_PORT/true; do sleep 0.1; done; echo reached; exec sleep 1000"


class Consumer(Shop):
    """A project that uses the service of another, by Compose alone."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The shared service leaves its network, which could not be removed else."""
        self.tried("down", "--timeout", "0")
        super().__exit__(kind, error, trace)

    def uses(self, project: str, service: str | None = None) -> None:
        """Its `web` is that project's."""
        options = {"project": project} | ({"service": service} if service else {})
        app = {
            "image": IMAGE,
            "init": True,
            "stop_grace_period": "1s",
            "command": ["sh", "-c", ASKS],
            "depends_on": ["web"],
        }
        provider = {"provider": {"type": "dx", "options": options}}
        self.file.write_text(json.dumps({"services": {"app": app, "web": provider}}))

    def compose(self, *arguments: str, bare: bool = False) -> str:
        """With dx on PATH, as the house has it, in the project's own directory."""
        if bare:
            return super().compose(*arguments, bare=True)
        done = self.tried(*arguments)
        assert done.returncode == 0, (done.stderr, self.house.log)
        return done.stdout.strip()

    def tried(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The same, whether or not it ends well."""
        command = [str(self.house.bin / "docker-compose"), "--file", str(self.file), "--project-name", self.name]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env=self.house.env,
            cwd=self.root,
        )

    def reaches(self) -> None:
        """Its app gets an answer of the service, by the variables that it was given."""
        until(lambda: "reached" in self.compose("logs", "app"), "the app reaches the service")


def shared(house: House, **more: Any) -> Shop:
    """A project with a service for others."""
    shop = Shop(house)
    shop.file.write_text(json.dumps({"services": {"server": {**SERVER, **more}}}))
    return shop
