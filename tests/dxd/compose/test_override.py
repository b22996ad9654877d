import asyncio
import json
from pathlib import Path

from dxd.compose import program
from dxd.compose.model import Port, ServiceName
from dxd.compose.override import override

FILE = """
services:
  db: {image: x, ports: ["5432:5432"]}
  web: {image: x, ports: ["127.0.0.1:80:8080", "90:9090/udp"]}
  "on": {image: x, ports: ["70:70"]}
"""


async def _ports(directory: Path, text: str) -> dict[str, list[tuple[object, ...]]]:
    (directory / "compose.yaml").write_text(FILE)
    (directory / "override.yaml").write_text(text)
    found = await program.find()
    files = ("-f", "compose.yaml", "-f", "override.yaml")
    process = await asyncio.create_subprocess_exec(
        *found.argv, *files, "config", "--format", "json", cwd=directory, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    keys = ("host_ip", "published", "target", "protocol")
    return {
        name: [tuple(each.get(key) for key in keys) for each in service.get("ports", [])]
        for name, service in json.loads(out)["services"].items()
    }


async def test_compose_takes_the_ports_instead_of_the_services_own(tmp_path: Path) -> None:
    moved = [Port(8080, "8081", "127.0.0.1"), Port(9090, "90", "", "udp")]
    ports = {ServiceName("db"): [], ServiceName("web"): moved}
    assert await _ports(tmp_path, override(ports)) == {
        "db": [],
        "web": [("127.0.0.1", "8081", 8080, "tcp"), (None, "90", 9090, "udp")],
        "on": [(None, "70", 70, "tcp")],
    }


async def test_a_name_that_yaml_would_take_for_a_word_is_a_name(tmp_path: Path) -> None:
    assert (await _ports(tmp_path, override({ServiceName("on"): []})))["on"] == []


async def test_nothing_moved_changes_nothing(tmp_path: Path) -> None:
    assert (await _ports(tmp_path, override({})))["db"] == [(None, "5432", 5432, "tcp")]
