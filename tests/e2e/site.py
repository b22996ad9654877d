"""A shop with a service that is built: what its files are, and what becomes of changes to them."""

import re
import shutil
import subprocess
from typing import Any

from tests.e2e.shop import Shop
from tests.house import BUSYBOX, House
from tests.waiting import until

FOLLOWED_S = 60.0
"""For a build and an exchange, on a machine that others use too."""
NET = {"network_mode": None}
"""The project's own network."""


def check(test: str, **more: Any) -> dict[str, Any]:
    return {"healthcheck": {"test": ["CMD-SHELL", test], "interval": "30s", **more}}


ANSWERS = check("wget -qO- http://127.0.0.1/ >/dev/null", start_period="3s", retries=1)


class Site(Shop):
    """A shop whose service `web` is built: an HTTP server that answers with the content of `page`."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.web = self.root / "web"
        self.web.mkdir()
        shutil.copy(BUSYBOX, self.web / "busybox")
        self.page("one")
        self.dockerfile()

    def page(self, text: str) -> None:
        (self.web / "page").write_text(text)

    def dockerfile(self, *, prepare: str = "true", command: str = "exec httpd -f -h /www") -> None:
        (self.web / "Dockerfile").write_text(
            "FROM scratch\nENV PATH=/bin\nCOPY busybox /bin/busybox\n"
            'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
            f"COPY page /www/index.html\nRUN {prepare}\n"
            f'CMD ["sh", "-c", "{command}"]\n'
        )

    def says(self) -> str:
        """What the running service answers; nothing while it is exchanged."""
        return self.inside("wget", "-qO-", "http://127.0.0.1/")

    def inside(self, *argv: str, otherwise: str = "", service: str = "web") -> str:
        """What a command in its container prints; `otherwise` where that fails, as it does while it is exchanged."""
        name = next(iter(self.services()[service]["containers"]), "none")
        command = ["docker", "exec", name, *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.house.env)
        return done.stdout.strip() if done.returncode == 0 else otherwise

    def shows(self, text: str) -> None:
        """Wait until it answers that, its first container being ready."""

        def does() -> bool:
            services = self.services()["web"]
            return (
                services["state"] == "ready"
                and services["containers"] == [self.container("web")]
                and (self.says() == text)
            )

        until(does, f"web says {text}", deadline_s=FOLLOWED_S)

    def why(self, pattern: str) -> str:
        """Wait until the service's line says that."""
        until(
            lambda: re.search(pattern, self.services()["web"]["reason"]) is not None,
            f"{pattern} in {self.services()['web']}",
            deadline_s=FOLLOWED_S,
        )
        return str(self.services()["web"]["reason"])

    def containers(self) -> list[str]:
        """Of `web`, by id, running or not."""
        return self.compose("ps", "--all", "--quiet", "web").split()
