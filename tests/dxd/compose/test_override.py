"""What Compose is told beside a project's files: the file alone, and through the door to Compose."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dxd.compose import program
from dxd.compose.compose import Compose
from dxd.compose.model import Port, ProjectName, ServiceName, Source
from dxd.compose.override import keep, override, remove
from dxd.errors import BadCompose, ComposeFailed

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


async def nowhere() -> str:
    return "unix:///nowhere"


DB, WEB = ServiceName("db"), ServiceName("web")
MOVED = {DB: (Port(5432, "20007"),)}


def source(directory: Path, **more: Any) -> Source:
    return Source(directory, name="shop", environ={"PATH": os.environ["PATH"]}, **more)


async def _hashes(directory: Path, **more: Any) -> dict[ServiceName, str]:
    compose = Compose(nowhere, overrides=directory / "overrides")
    return await compose.hashes(source(directory, **more))


@pytest.mark.parametrize(
    ("name", "over", "env"),
    [
        ("compose.yaml", "compose.override.yml", ""),
        ("docker-compose.yml", "compose.override.yaml", ""),
        ("docker-compose.yaml", "docker-compose.override.yml", ""),
        ("sub/shop.yaml", "more.yaml", "COMPOSE_FILE=sub/shop.yaml:more.yaml\n"),
        ("sub/shop.yaml", "more.yaml", "COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=sub/shop.yaml;more.yaml\n"),
    ],
)
async def test_the_files_that_compose_would_find_are_read_before_it(
    tmp_path: Path, name: str, over: str, env: str
) -> None:
    """Of no service but the moved one the hash is another than it would be without."""
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").write_text(env)
    (tmp_path / name).write_text(FILE)
    (tmp_path / over).write_text("services: {web: {environment: {MODE: test}}}")
    plain, moved = await _hashes(tmp_path), await _hashes(tmp_path, ports=MOVED)
    assert [each for each in plain if plain[each] != moved[each]] == ["db"]
    (tmp_path / over).write_text("services: {}")
    assert (await _hashes(tmp_path, ports=MOVED))[WEB] != moved[WEB]
    (tmp_path / name).write_text(FILE.replace("5432:5432", "20007:5432"))
    assert (await _hashes(tmp_path))[DB] == moved[DB]


async def test_files_that_are_given_are_read_before_it(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: y}}")
    (tmp_path / "shop.yaml").write_text(FILE)
    given = (str(tmp_path / "shop.yaml"),)
    plain, moved = await _hashes(tmp_path, files=given), await _hashes(tmp_path, files=given, ports=MOVED)
    assert [each for each in plain if plain[each] != moved[each]] == ["db"]


async def test_without_a_port_of_another_number_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    await _hashes(tmp_path)
    assert not (tmp_path / "overrides").exists()


async def test_files_that_are_gone_are_an_error_and_not_a_project_of_ports_alone(tmp_path: Path) -> None:
    with pytest.raises(BadCompose):
        await _hashes(tmp_path, ports=MOVED)


async def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "overrides").write_text("")
    with pytest.raises(ComposeFailed, match="overrides"):
        await _hashes(tmp_path, ports=MOVED)


def test_the_file_is_written_only_where_it_says_something_else(tmp_path: Path) -> None:
    name = ProjectName("shop")
    first = keep(tmp_path, name, MOVED)
    before = first.stat().st_ino
    assert keep(tmp_path, name, MOVED).stat().st_ino == before
    assert keep(tmp_path, name, {WEB: ()}).stat().st_ino != before
    remove(tmp_path, name)
    remove(tmp_path, name)
    assert not first.exists()
