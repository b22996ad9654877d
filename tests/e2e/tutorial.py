"""The example shop as the page about it has it: its commands are run by bash, one section after the other."""

import re
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.e2e.shop import Shop
from tests.house import House

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial-services.md"
EXAMPLE = ROOT / "examples" / "shop"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION_S = 240.0
"""For the commands of one: images are built, and the machine may have others to serve."""


def free_ports(count: int) -> list[int]:
    """Some that nobody listens at, and that the kernel gives to nobody else while all are looked for."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Day(Shop):
    """The shop of the page: under a name and at ports of its own, in the home of a house."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.root.rmdir()
        self.root = house.home / "shop"
        self.file = self.root / "compose.yaml"
        web, db = free_ports(2)
        # As somebody would in the shell; the page has the names and ports that it has by itself.
        self.house.env |= {"COMPOSE_PROJECT_NAME": self.name, "SHOP_PORT": str(web), "DB_PORT": str(db)}
        self.left = self.blocks()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.house.dx(["stop", "--all"])  # tools leave the network before it is removed
        super().__exit__(kind, error, trace)
        self.remove_images()

    @staticmethod
    def blocks() -> list[tuple[str, str]]:
        """The blocks of commands, with the heading that each is under."""
        found = []
        for section in PAGE.read_text().split("\n## ")[1:]:
            found += [(section.partition("\n")[0], block) for block in BLOCK.findall(section)]
        return found

    def does(self, heading: str) -> str:
        """Run the page's next block, which is under that heading; what it prints."""
        assert self.left, "the page has no more commands"
        where, commands = self.left.pop(0)
        assert where == heading, f"next on the page is {where!r}: {commands}"
        return self.shell(commands.replace("shop-db-1", self.container("db")))

    def shell(self, commands: str) -> str:
        """Have bash do that, where the page stands at the time."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            **self.house.options({"cwd": self.root if self.root.exists() else ROOT}),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SECTION_S,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}\n{self.house.log[-4000:]}"
        return done.stdout

    def copy(self) -> None:
        """Have the shop's directory without the page."""
        subprocess.run([EXAMPLE / "prepare.py"], check=True, timeout=SECTION_S)
        shutil.copytree(EXAMPLE, self.root)
