"""Services that sleep until somebody connects, with a real engine: woken, kept awake, stopped when idle."""

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lazy import PATIENCE_S, SLOW_S, Lazy, free_port, talk, until_refused
from tests.e2e.shop import after
from tests.house import IMAGE, House
from tests.waiting import until


def test_the_first_connection_starts_it_and_is_answered(house: House) -> None:
    """It takes two seconds to be ready; nothing is lost of what was sent meanwhile."""
    with Lazy(house, slow_s=SLOW_S) as lazy:
        done = lazy.dx("up", "--wait")
        assert done.stdout.splitlines()[1].split()[:4] == ["db", "sleeps", "-", f"{lazy.port}->7000"]
        assert not lazy.runs()
        begun = time.monotonic()
        assert lazy.says(b"are you there?") == b"are you there?"
        assert time.monotonic() - begun >= SLOW_S
        assert lazy.says(host="::1") == b"hello"
        lazy.reach(db="ready")
        assert lazy.dx("port", "db", "7000").stdout.strip().endswith(f":{lazy.port}")


def test_many_at_once_wake_it_once(house: House) -> None:
    """By way of both families of addresses."""
    serve = ["sh", "-c", "sleep 1; touch /run/up; exec httpd -f -p 7000 -h /bin"]
    with Lazy(house, command=serve) as lazy, ThreadPoolExecutor(20) as pool:
        lazy.dx("up", "--wait")
        requests = [f"GET /true?{at} HTTP/1.0\r\n\r\n".encode() for at in range(20)]
        answers = list(pool.map(lazy.says, requests, ["127.0.0.1", "::1"] * 10))
        assert {each.partition(b"\r")[0] for each in answers} == {b"HTTP/1.1 200 OK"}
        assert lazy.starts() == 1


def test_what_it_depends_on_is_started_before_it(house: House) -> None:
    with Lazy(house) as lazy:
        lazy.services_of(db={**lazy.db, **after(cache="healthy")}, cache={"x-dx": {"lazy": True}})
        lazy.dx("up", "--wait")
        assert lazy.states() == {"db": "sleeps", "cache": "sleeps"}
        assert lazy.says() == b"hello"
        assert lazy.states() == {"db": "ready", "cache": "ready"}
        assert lazy.started("cache") < lazy.started("db")


def test_without_use_it_is_stopped_and_the_next_connection_wakes_it(house: House) -> None:
    """Its memory is free: there is no process of it any more. `idle` alone has a door, too."""
    with Lazy(house, extras={"idle": "2s"}) as lazy:
        lazy.dx("up", "--wait")
        assert lazy.states() == {"db": "ready"}
        assert lazy.says() == b"hello"
        pid = lazy.inspect("db")["State"]["Pid"]
        used = time.monotonic()
        lazy.sleeps()
        assert 1.8 < time.monotonic() - used < 10
        assert not Path(f"/proc/{pid}").exists()
        assert lazy.services()["db"]["reason"] == "until it is needed"
        assert lazy.says(b"again") == b"again"
        assert lazy.states() == {"db": "ready"}


def test_an_open_connection_keeps_it_awake_though_nothing_is_said(house: House) -> None:
    with Lazy(house, extras={"lazy": True, "idle": "1s"}) as lazy:
        lazy.dx("up")
        with lazy.connected() as sock:
            assert talk(sock, b"one") == b"one"
            opened = time.monotonic()
            until(lambda: time.monotonic() - opened > 4, "four times as long as it may be idle", deadline_s=10)
            assert lazy.states() == {"db": "ready"}
            assert talk(sock, b"two") == b"two"
        lazy.sleeps()


def test_a_dependant_keeps_it_awake_and_wakes_it(house: House) -> None:
    with Lazy(house, extras={"lazy": True, "idle": "1s"}) as lazy:
        lazy.services_of(db=lazy.db, app=after(db="healthy"))
        lazy.dx("up", "--wait")
        assert lazy.states() == {"db": "ready", "app": "ready"}
        begun = time.monotonic()
        until(lambda: time.monotonic() - begun > 3, "three times as long as it may be idle", deadline_s=10)
        assert lazy.states() == {"db": "ready", "app": "ready"}
        lazy.dx("stop", "app")
        lazy.sleeps()
        lazy.dx("start", "app", "--wait")
        assert lazy.states() == {"db": "ready", "app": "ready"}


def test_a_connection_that_comes_while_it_stops_wakes_it_again(house: House) -> None:
    """It takes three seconds to end."""
    stubborn = ["sh", "-c", "trap '' TERM; touch /run/up; while true; do nc -ll -p 7000 -e cat; done"]
    with Lazy(house, extras={"idle": "1s"}, command=stubborn, stop_grace_period="3s", init=False) as lazy:
        lazy.dx("up", "--wait")
        lazy.reach(db="stopping")
        assert lazy.says(b"wait for me") == b"wait for me"
        assert lazy.starts() == 2


def test_connections_outlive_a_daemon_that_is_killed(house: House) -> None:
    with Lazy(house, extras={"lazy": True, "idle": "1s"}) as lazy:
        lazy.dx("up")
        with lazy.connected() as sock:
            assert talk(sock, b"before") == b"before"
            lazy.kill_daemon()
            assert talk(sock, b"meanwhile" * 100_000) == b"meanwhile" * 100_000
            assert lazy.says(b"a new one") == b"a new one"
            house.start()
            lazy.reach(db="ready")
            assert talk(sock, b"after") == b"after"
        lazy.sleeps()


def test_a_connection_is_held_until_the_daemon_is_back(house: House) -> None:
    with Lazy(house) as lazy:
        lazy.dx("up")
        lazy.kill_daemon()
        with lazy.connected() as sock:
            sock.sendall(b"anybody?")
            sock.settimeout(1.0)
            try:
                assert sock.recv(10) != b"", "the connection was closed"
            except TimeoutError:
                house.start()
            sock.settimeout(PATIENCE_S)
            assert sock.recv(100) == b"anybody?"


def test_a_service_that_fails_closes_the_connection_and_says_why(house: House) -> None:
    with Lazy(house, command=["sh", "-c", "echo no space left; exit 3"]) as lazy:
        lazy.dx("up", "--wait")
        assert lazy.says() == b""
        assert "ended with status 3" in lazy.services()["db"]["reason"]
        lazy.services_of(db=lazy.db | {"command": ["sh", "-c", "touch /run/up; exec nc -ll -p 7000 -e cat"]})
        lazy.dx("up")
        assert lazy.says() == b"hello"


def test_who_connects_again_and_again_does_not_hurry_one_that_falls(house: House) -> None:
    """It is started after its pauses, of a second and two, and each connection is held until it has fallen again."""
    with Lazy(house, command=["sh", "-c", "exit 3"]) as lazy:
        lazy.dx("up")
        begun, asked = time.monotonic(), 0
        while time.monotonic() - begun < 4:
            assert lazy.says() == b""
            asked += 1
        assert 1 < lazy.starts() <= asked
        assert lazy.starts() <= 4


def test_a_dependency_that_somebody_has_stopped_is_not_woken(house: House) -> None:
    with Lazy(house) as lazy:
        lazy.services_of(db={**lazy.db, **after(cache="started")}, cache={})
        lazy.dx("up", "--wait")
        lazy.dx("stop", "cache")
        assert lazy.says() == b""
        assert lazy.states()["cache"] == "stopped"
        lazy.dx("start", "cache")
        assert lazy.says() == b"hello"


def test_down_and_stop_and_forget_free_the_port(house: House) -> None:
    with Lazy(house) as lazy:
        lazy.dx("up")
        lazy.dx("stop", "db")
        until_refused(lazy)
        lazy.dx("up")
        assert lazy.states() == {"db": "sleeps"}
        assert lazy.says() == b"hello"
        lazy.dx("down")
        assert lazy.is_refused()
        socket.create_server(("", lazy.port)).close()
        lazy.dx("up")
        assert not lazy.is_refused()
        lazy.dx("forget")
        assert lazy.is_refused()
        until(lambda: lazy.proxy() is None, "the process without doors has ended")


def test_start_wait_and_exec_wake_it(house: House) -> None:
    with Lazy(house, extras={"lazy": True, "idle": "1s"}, slow_s=0.5) as lazy:
        lazy.dx("up")
        for verb in (("start", "db", "--wait"), ("wait", "db"), ("exec", "db", "true")):
            lazy.sleeps()
            lazy.dx(*verb)
            assert lazy.states() == {"db": "ready"}, verb


def test_a_tool_that_needs_it_wakes_it_and_keeps_it_awake(house: House) -> None:
    """Beside it on the project's network, where no door sees what is said."""
    with Lazy(house, extras={"lazy": True, "idle": "1s"}) as lazy:
        house.define(
            f"[tools.psql]\nimage = '{IMAGE}'\nnetwork = 'project'\nneeds = ['db']\nentrypoint = ['sh', '-c']\n"
        )
        lazy.dx("up")
        done = house.run(["psql", "echo hi | nc db 7000; sleep 3; echo still | nc db 7000"], cwd=lazy.root)
        assert (done.returncode, done.stdout) == (0, b"hi\nstill\n"), done.stderr
        assert lazy.starts() == 1
        lazy.sleeps()


def test_idle_without_a_port_counts_dependants_and_runs_alone(house: House) -> None:
    with Lazy(house, extras={"idle": "1s"}, ports=[]) as lazy:
        lazy.dx("up", "--wait")
        assert lazy.states() == {"db": "ready"}
        lazy.sleeps()
        assert lazy.proxy() is None
        lazy.dx("start", "db", "--wait")
        assert lazy.states() == {"db": "ready"}


def test_a_service_with_a_name_is_found_by_it_and_woken(house: House) -> None:
    """On one port for all services, and by nothing else: it publishes none."""
    port = free_port()
    house.define(f"[daemon]\nnames_port = {port}\n")
    serve = ["sh", "-c", "touch /run/up; exec httpd -f -p 80 -h /bin"]
    with Lazy(house, extras={"http": 80, "lazy": True, "idle": "1s"}, command=serve, ports=[]) as lazy:
        lazy.dx("up", "--wait")
        assert lazy.states() == {"db": "sleeps"}
        lazy.port = port
        request = f"GET /true HTTP/1.1\r\nHost: db.{lazy.name}.localhost:{port}\r\nConnection: close\r\n\r\n"
        assert lazy.says(request.encode()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert b" 404 " in lazy.says(request.replace("db.", "bd.").encode()).partition(b"\r")[0]
        lazy.sleeps()
        lazy.dx("down")
        assert lazy.is_refused()


def test_a_port_for_names_that_is_taken_is_said_and_all_else_goes_on(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        house.define(f"[daemon]\nnames_port = {port}\n")
        with Lazy(house, extras={"http": 80}) as lazy:
            done = lazy.dx("up", ok=False)
            assert f"names of services are not served: port 127.0.0.1:{port} of this machine is taken" in done.stderr
            assert "take another: names_port in [daemon] of dx.toml" in done.stderr
            lazy.reach(db="ready")
            assert "names of services are not served" in lazy.services()["db"]["reason"]
            other.close()
            until(lambda: not lazy.services()["db"]["reason"], "it is tried again")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"network_mode": "host", "ports": []}, "services.db.x-dx.lazy: with network_mode host it listens by itself"),
        ({"deploy": {"replicas": 2}}, "services.db.x-dx.lazy: it has 2 containers, and a door leads to one"),
        ({"ports": ["9000:80/udp"]}, "services.db.x-dx.lazy: it has UDP ports only"),
    ],
)
def test_what_cannot_sleep_is_refused_in_one_line_with_file_and_service(
    house: House, changed: dict[str, Any], says: str
) -> None:
    with Lazy(house, **changed) as lazy:
        done = lazy.dx("up", ok=False)
        assert done.returncode == 125
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"dx: {lazy.file}:")
        assert says in done.stderr


def test_udp_stays_published_beside_a_door(house: House) -> None:
    udp = free_port()
    with Lazy(house) as lazy:
        lazy.services_of(db=lazy.db | {"ports": [*lazy.db["ports"], f"127.0.0.1:{udp}:53/udp"]})
        lazy.dx("up")
        assert lazy.says() == b"hello"
        assert lazy.inspect("db")["NetworkSettings"]["Ports"] == {
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": str(udp)}]
        }
        ports = {(each["port"], each["protocol"]) for each in lazy.services()["db"]["ports"]}
        assert ports == {(lazy.port, "tcp"), (udp, "udp")}


def test_what_sleeps_stays_as_it_is_made_and_is_made_anew_when_its_file_says_so(house: House) -> None:
    """The port that dx listens at is no difference to what the file says."""
    with Lazy(house) as lazy:
        lazy.dx("up")
        before = lazy.inspect("db")["Id"]
        assert lazy.says() == b"hello"
        lazy.dx("up", "--wait")
        assert (lazy.inspect("db")["Id"], lazy.states()) == (before, {"db": "ready"})
        lazy.services_of(db=lazy.db | {"environment": {"A": "1"}})
        lazy.dx("up", "--wait")
        assert lazy.inspect("db")["Id"] != before
        assert lazy.says() == b"hello"


def test_a_proxy_that_is_killed_is_started_again_with_its_doors(house: House) -> None:
    with Lazy(house) as lazy:
        lazy.dx("up")
        pid = lazy.proxy()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: lazy.proxy() not in (None, pid) and not lazy.is_refused(), "another one listens")
        assert lazy.says() == b"hello"


def test_a_port_that_is_taken_or_has_no_number_is_one_of_its_own_that_stays(house: House) -> None:
    """A range is a choice, too. Over a restart of the daemon, and of the service."""

    def ports(lazy: Lazy) -> dict[int, int]:
        return {each["target"]: each["port"] for each in lazy.services()["db"]["ports"]}

    with Lazy(house) as lazy, socket.create_server(("127.0.0.1", lazy.port)):
        first = free_port()
        published = [f"{lazy.port}:7000", "7001", f"{first}-{first + 5}:7002"]
        lazy.services_of(db=lazy.db | {"ports": published})
        assert f"port {lazy.port} is of" in lazy.dx("up").stderr
        chosen = ports(lazy)
        assert chosen[7000] != lazy.port
        assert first <= chosen[7002] <= first + 5
        assert str(chosen[7001]) in lazy.dx("port", "db", "7001").stdout
        lazy.port = chosen[7000]
        assert lazy.says() == b"hello"
        lazy.kill_daemon()
        assert f"so it is {chosen[7000]}\n" in lazy.dx("up").stderr
        assert ports(lazy) == chosen
        lazy.dx("restart", "db", "--wait")
        assert ports(lazy) == chosen
        assert lazy.says() == b"hello"


def test_what_its_file_says_of_sleeping_may_change(house: House) -> None:
    """Until `dx up` the port is where it was: first the container has it, then dx, and then the container again."""
    with Lazy(house, extras={}) as lazy:
        lazy.dx("up", "--wait")
        assert lazy.proxy() is None
        lazy.services_of(db=lazy.db | {"x-dx": {"lazy": True}})
        lazy.dx("up", "--wait")
        assert lazy.proxy() is not None
        assert lazy.says() == b"hello"
        lazy.services_of(db=lazy.db | {"x-dx": {}})
        until(lambda: "definition has changed" in lazy.services()["db"]["reason"], "the new file was read")
        assert lazy.says() == b"hello"
        lazy.dx("up", "--wait")
        assert lazy.says() == b"hello"
        assert lazy.inspect("db")["NetworkSettings"]["Ports"]["7000/tcp"]
        until(lambda: lazy.proxy() is None, "the process without doors has ended")
