"""Ports of this machine: real sockets, real containers, a real file."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import Publication
from dxd.ports import table
from dxd.ports.model import Bound, Owner, Protocol
from dxd.ports.policy import RANGE
from dxd.ports.ports import Ports
from dxd.proxy.model import Place
from dxd.store.database import Database
from dxd.store.ports import PortRows
from dxd.store.schema import MIGRATIONS
from tests.dxd.proxy.conftest import Service, running
from tests.fakes.passage import serve as passage_serve
from tests.fakes.proxy import ENGINE
from tests.fakes.real_engine import EngineMaker, Workshop
from tests.waiting import until_turned

LINES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 30 10 -1
"""
LINES_6 = """\
  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 99 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 98 1 0 100 0 0 10 0
"""


def test_the_kernels_table_is_read() -> None:
    assert list(table.parse(LINES, "tcp")) == [Bound("127.0.0.1", 5432, 4711, 1000)]
    assert [(each.address, each.port) for each in table.parse(LINES_6, "tcp")] == [("::", 22), ("127.0.0.1", 80)]
    assert list(table.parse("", "udp")) == []


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "history.db", MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
def ports(engine: Engine, database: Database) -> Ports:
    return Ports(engine=engine, rows=PortRows(database))


def owner(root: Path, wanted: int | None, protocol: Protocol = "tcp") -> Owner:
    root.mkdir(exist_ok=True)
    return Owner("shop", str(root), "db", 5432, protocol, wanted)


def held(address: str = "127.0.0.1") -> socket.socket:
    """A port that this process has."""
    return socket.create_server((address, 0))


async def test_a_port_that_a_process_has_is_told_with_its_name(ports: Ports, tmp_path: Path) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
        given = await ports.take(owner(tmp_path / "a", wanted))
    assert given.port in RANGE
    comm = Path("/proc/self/comm").read_text().strip()
    assert given.why == f"port {wanted} is of {comm}, process {os.getpid()}, so it is {given.port}"
    assert (await ports.take(owner(tmp_path / "a", wanted))).port == wanted


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
async def test_a_port_is_taken_at_whatever_address_is_in_the_way(ports: Ports, tmp_path: Path, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as other:
        wanted = other.getsockname()[1]
        assert not table.free("", wanted, "tcp")
        assert (await ports.take(owner(tmp_path / "a", wanted))).port != wanted
    assert table.free("", wanted, "tcp")


async def test_two_worktrees_have_different_ports_and_keep_them(
    ports: Ports, database: Database, engine: Engine, tmp_path: Path
) -> None:
    """Through a restart of the daemon, too, and though nobody listens."""
    with held() as other:
        wanted = other.getsockname()[1]
    first = await ports.take(owner(tmp_path / "a", wanted))
    second = await ports.take(owner(tmp_path / "b", wanted))
    assert (first.port, first.why) == (wanted, "")
    why = f"port {wanted} is of the service db of shop in {tmp_path}/a, so it is {second.port}"
    assert second.why == f"{why}; dx forget --project shop gives it back"
    again = Ports(engine=engine, rows=PortRows(database))
    assert (await again.take(owner(tmp_path / "b", wanted))).port == second.port
    assert (await again.take(owner(tmp_path / "a", wanted))).port == first.port
    assert await again.all(str(tmp_path / "b")) == [(owner(tmp_path / "b", wanted), second.port)]


async def test_a_worktree_may_have_a_name_that_is_no_utf_8(ports: Ports, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xff")
    given = await ports.take(owner(root, None))
    assert await ports.all(str(root)) == [(owner(root, None), given.port)]


async def test_what_a_worktree_had_is_free_when_it_is_gone_or_forgotten(ports: Ports, tmp_path: Path) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
    await ports.take(owner(tmp_path / "a", wanted))
    (tmp_path / "a").rmdir()
    assert (await ports.take(owner(tmp_path / "b", wanted))).port == wanted
    await ports.forget(str(tmp_path / "b"))
    assert (await ports.take(owner(tmp_path / "c", wanted))).port == wanted


async def test_a_port_that_it_has_already_it_keeps(ports: Ports, tmp_path: Path) -> None:
    """Its own listener is not in its way."""
    with held() as other:
        wanted = other.getsockname()[1]
    await ports.take(owner(tmp_path / "a", wanted))
    with socket.create_server(("127.0.0.1", wanted)):
        assert (await ports.take(owner(tmp_path / "a", wanted), has=[wanted])).port == wanted


async def test_what_it_had_stays_though_the_wanted_one_is_free(ports: Ports, tmp_path: Path) -> None:
    """And is given up for it by whoever begins anew."""
    with held() as other:
        wanted = other.getsockname()[1]
        own = (await ports.take(owner(tmp_path / "a", wanted))).port
    stayed = await ports.take(owner(tmp_path / "a", wanted), stays=True)
    why = f"port {own} as before, though {wanted} is free by now; to have that: dx up --recreate"
    assert (stayed.port, stayed.why) == (own, why)
    back = await ports.take(owner(tmp_path / "a", wanted))
    assert (back.port, back.why) == (wanted, f"port {wanted} is free, so it is not {own} any more")
    assert (await ports.take(owner(tmp_path / "a", wanted))).why == ""


async def test_it_stays_where_it_listens_whatever_is_remembered(ports: Ports, tmp_path: Path) -> None:
    """As after a plain `docker compose up` beside, which knows of no other port than the wanted one."""
    with held() as other:
        wanted = other.getsockname()[1]
        own = (await ports.take(owner(tmp_path / "a", wanted))).port
        assert (await ports.take(owner(tmp_path / "a", wanted), has=[wanted], stays=True)).port == wanted
    with socket.create_server(("127.0.0.1", own)):
        await ports.take(owner(tmp_path / "a", wanted), has=[own], stays=True)
        assert (await ports.take(owner(tmp_path / "a", wanted), has=[own])).port == wanted


async def test_what_it_had_does_not_stay_where_somebody_took_it(ports: Ports, tmp_path: Path) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
        own = (await ports.take(owner(tmp_path / "a", wanted))).port
        with socket.create_server(("127.0.0.1", own)):
            assert (await ports.take(owner(tmp_path / "a", wanted), stays=True)).port not in (own, wanted)


async def test_the_same_port_at_two_addresses_is_two_services(ports: Ports, tmp_path: Path) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
        there = await ports.take(owner(tmp_path / "a", wanted), addresses=["127.0.0.2"])
    here = await ports.take(owner(tmp_path / "b", wanted), addresses=["127.0.0.1"])
    assert there.port == here.port == wanted
    for in_the_way in (["127.0.0.1"], ["127.0.0.3", "127.0.0.2"], ["0.0.0.0"], []):
        assert (await ports.take(owner(tmp_path / "c", wanted), addresses=in_the_way)).port != wanted


async def test_one_target_may_have_two_ports(ports: Ports, tmp_path: Path) -> None:
    one, two = owner(tmp_path / "a", 21001), owner(tmp_path / "a", 21002)
    given = [(each, (await ports.take(each)).port) for each in (one, two)]
    assert await ports.all(str(tmp_path / "a")) == given
    await ports.retain("shop", str(tmp_path / "a"), lambda each: each == two)
    assert await ports.all(str(tmp_path / "a")) == given[1:]


async def test_a_udp_port_is_another_than_the_tcp_port(ports: Ports, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        wanted = other.getsockname()[1]
        assert (await ports.take(owner(tmp_path / "a", wanted, "udp"))).port != wanted
        assert (await ports.take(owner(tmp_path / "a", wanted))).port == wanted


async def test_a_container_is_told_by_its_name_and_service(ports: Ports, workshop: Workshop, tmp_path: Path) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
    spec = workshop.spec(
        await workshop.image(),
        network="bridge",
        name=workshop.word,
        ports=(Publication("127.0.0.1", wanted, 80, "tcp"),),
        labels={
            "dx.test": workshop.word,
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "web",
        },
    )
    await workshop.engine.start(await workshop.engine.create(spec))
    given = await ports.take(owner(tmp_path / "a", wanted))
    assert given.why == f"port {wanted} is of the container {workshop.word}, web of shop, so it is {given.port}"


async def test_a_port_at_the_proxy_is_told_by_its_service(
    ports: Ports, tmp_path: Path, directory: Path, service: Service
) -> None:
    with held() as other:
        wanted = other.getsockname()[1]
    await ports.take(owner(tmp_path / "a", wanted))
    async with running(directory) as proxy:
        await proxy.listen("db", Place("127.0.0.1", wanted), service.wake)
        assert await ports.holder(wanted) == f"the service db of shop in {tmp_path}/a"


async def test_without_an_engine_the_kernel_knows_enough(
    make_engine: EngineMaker, database: Database, tmp_path: Path
) -> None:
    ports = Ports(engine=make_engine(f"unix://{tmp_path}/nowhere"), rows=PortRows(database))
    with held() as other:
        wanted = other.getsockname()[1]
        assert (await ports.take(owner(tmp_path / "a", wanted))).port != wanted


async def test_of_an_engine_elsewhere_only_containers_are_in_the_way(
    make_engine: EngineMaker, database: Database, tmp_path: Path
) -> None:
    """What listens on this machine is at other ports than what that engine publishes."""
    with held() as other, held() as door:
        wanted, port = other.getsockname()[1], door.getsockname()[1]
        door.close()
        passage = asyncio.create_task(passage_serve(port, ENGINE))
        engine = make_engine(f"tcp://127.0.0.1:{port}")
        await until_turned(lambda: table.holder(["127.0.0.1"], port, "tcp"))
        ports = Ports(engine=engine, rows=PortRows(database))
        try:
            assert (await ports.take(owner(tmp_path / "a", wanted))).port == wanted
            assert await ports.holder(wanted) is None
        finally:
            await engine.close()
            passage.cancel()
            await asyncio.wait({passage})
