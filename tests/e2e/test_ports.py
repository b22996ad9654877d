"""Ports of services: the wanted one where nobody has it, else one of their own that stays."""

import json
import socket
from pathlib import Path

import pytest

from dxd.ports.policy import RANGE
from tests.e2e.ports import free_port, holder, port_of, remembered, says, told, web
from tests.e2e.shop import Shop
from tests.e2e.site import ANSWERS, NET, Site
from tests.house import House
from tests.waiting import until


def test_a_port_that_a_program_has_is_another_one_that_stays(house: House) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"{wanted}:80"), db={}) as shop:
        with holder(wanted) as pid:
            line = told(shop.dx("up", "--wait").stderr)
            own = port_of(shop)
            assert line.endswith(f"web: port {wanted} is of {_comm(pid)}, process {pid}, so it is {own}")
            assert own in RANGE
            assert says(own) == "hello"
            assert f"{own}->80" in shop.dx("services").stdout
            assert json.loads(shop.dx("env", "--json").stdout)["WEB_PORT"] == str(own)
            before = shop.inspect("web")["Id"], shop.inspect("db")["Id"]
            shop.dx("up", "--wait")
            shop.dx("restart", "--wait")
            shop.kill_daemon()
            shop.dx("up", "--wait")
            shop.dx("restart", "--wait", "web")
            assert (shop.inspect("web")["Id"], shop.inspect("db")["Id"]) == before
            shop.dx("up", "--wait", "--recreate")
            assert port_of(shop) == own
        line = told(shop.dx("up", "--wait").stderr)
        assert line.endswith(f"port {own} as before, though {wanted} is free by now; to have that: dx up --recreate")
        assert says(own) == "hello"
        assert told(shop.dx("up", "--wait", "--recreate").stderr).endswith(
            f"port {wanted} is free, so it is not {own} any more"
        )
        assert port_of(shop) == wanted
        assert says(wanted) == "hello"
        quiet = shop.dx("up", "--wait")
        assert "port" not in quiet.stderr


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_new_build_has_the_port_that_the_one_before_had(house: House) -> None:
    wanted = free_port()
    with Site(house) as site, holder(wanted):
        built = {"build": "web", "image": None, "command": None, "ports": [f"{wanted}:80"], **NET, **ANSWERS}
        site.write(web=built)
        site.dx("up", "--wait")
        own = port_of(site)
        assert says(own) == "one"
        before = site.inspect("web")["Id"]
        site.page("two")
        site.shows("two")
        assert site.inspect("web")["Id"] != before
        assert (port_of(site), says(own)) == (own, "two")
        assert site.services()["web"]["reason"] == ""
    site.remove_images()


def test_where_no_port_is_taken_compose_is_told_nothing(house: House) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"{wanted}:80")) as shop:
        shop.dx("up", "--wait")
        assert port_of(shop) == wanted
        files = shop.inspect("web")["Config"]["Labels"]["com.docker.compose.project.config_files"]
        assert files == str(shop.file)
        before = shop.inspect("web")["Id"]
        shop.compose("up", "--detach")
        assert shop.inspect("web")["Id"] == before


def test_a_file_that_is_given_another_port_gets_that(house: House) -> None:
    first, second = free_port(), free_port()
    with Shop(house, web=web(f"{first}:80")) as shop, holder(first):
        shop.dx("up", "--wait")
        shop.write(web=web(f"{second}:80"))
        shop.dx("up", "--wait")
        assert port_of(shop) == second


def test_compose_beside_takes_the_port_of_the_file_and_dx_leaves_it(house: House) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"{wanted}:80")) as shop:
        with holder(wanted):
            shop.dx("up", "--wait")
            own = port_of(shop)
        shop.compose("up", "--detach")
        shop.dx("wait")
        assert port_of(shop) == wanted != own
        made = shop.inspect("web")["Id"]
        until(lambda: remembered(house) == [wanted], "it is remembered as it is")
        until(lambda: not shop.services()["web"]["reason"], "nothing is told of it")
        shop.dx("up", "--wait")
        assert (shop.inspect("web")["Id"], port_of(shop)) == (made, wanted)


def test_a_service_whose_port_is_taken_while_it_is_stopped_gets_another_with_up(house: House) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"{wanted}:80")) as shop:
        shop.dx("up", "--wait")
        shop.dx("stop")
        with holder(wanted):
            failed = shop.dx("start", "--wait", ok=False).stderr
            assert f":{wanted} of this machine is taken" in failed
            assert "to have another one: dx up web" in failed
            assert told(shop.dx("up", "--wait").stderr).endswith(f"so it is {port_of(shop)}")
            assert says(port_of(shop)) == "hello"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_at_one_address_the_port_is_taken_only_by_who_is_in_the_way(house: House, address: str) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"{address}:{wanted}:80")) as shop, socket.create_server(("127.0.0.2", wanted)):
        said = shop.dx("up", "--wait").stderr
        assert (port_of(shop) == wanted) == (address == "127.0.0.1")
        assert ("so it is" in said) == (address != "127.0.0.1")


def test_several_ports_of_a_service_are_each_found_a_place(house: House) -> None:
    """UDP, both families, a range and one that the engine chooses among them."""
    tcp, udp, low = free_port(), free_port(), free_port()
    ports = [f"{tcp}:80", f"{udp}:53/udp", f"{low}-{low + 3}:81", "82"]
    with (
        Shop(house, web=web(*ports)) as shop,
        holder(tcp),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken,
        holder(low),
    ):
        taken.bind(("0.0.0.0", udp))
        shop.dx("up", "--wait")
        assert port_of(shop, "web", "80") in RANGE
        assert port_of(shop, "web", "53/udp") in RANGE
        assert port_of(shop, "web", "81") == low + 1
        assert port_of(shop, "web", "82") not in (tcp, udp, low)
        before = shop.inspect("web")["Id"]
        shop.dx("up", "--wait")
        assert shop.inspect("web")["Id"] == before


def test_both_families_go_together(house: House) -> None:
    wanted = free_port()
    with Shop(house, web=web(f"127.0.0.1:{wanted}:80", f"127.0.0.2:{wanted}:80")) as shop:
        with socket.create_server(("127.0.0.2", wanted)):
            shop.dx("up", "--wait")
        bound = shop.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"]
        assert {each["HostIp"] for each in bound} == {"127.0.0.1", "127.0.0.2"}
        assert {int(each["HostPort"]) for each in bound} == {port_of(shop)} != {wanted}


def test_several_containers_of_a_service_cannot_have_one_port(house: House) -> None:
    wanted = free_port()
    many = web(f"{wanted}:80", deploy={"replicas": 2}, network_mode=None)
    with Shop(house, web=many) as shop:
        said = shop.dx("up").stderr
        wide = f"publish {wanted}-{wanted + 1}:80"
        assert f"web: only one of its 2 containers can have port {wanted}; {wide}" in said
        shop.write(web=web(f"{wanted}-{wanted + 1}:80", deploy={"replicas": 2}, network_mode=None))
        assert "only one" not in shop.dx("up", "--wait").stderr
        assert shop.states() == {"web": "ready"}
