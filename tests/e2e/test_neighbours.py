"""Tools beside services: on the project's network, and started with what they need."""

import json
import subprocess
from types import TracebackType

from tests.e2e.rig import ask, one_line, warm
from tests.e2e.shop import Shop, healthy
from tests.house import IMAGE, House
from tests.waiting import until

SERVE = {"command": ["httpd", "-f", "-p", "80", "-h", "/bin"], "network_mode": "bridge"}
FETCH = ["wget", "-q", "-O", "-", "http://web/true"]


class Near(Shop):
    """A project whose network tools are on: they leave it before it is removed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.house.dx(["stop", "--all"])
        super().__exit__(kind, error, trace)


def web(shop: Shop, *networks: str, **more: object) -> None:
    """A service that is reached by its name on the project's network."""
    service = {"image": IMAGE, "init": True, "stop_grace_period": "1s", "command": SERVE["command"], **more}
    if networks:
        service["networks"] = [*networks]
    top = {"services": {"web": service}, "networks": {name: {} for name in networks}}
    shop.file.write_text(json.dumps(top))


def networks_of(house: House) -> set[str]:
    return {each["network"] for each in warm(house)}


def test_a_tool_on_the_projects_network_reaches_services_by_name(house: House) -> None:
    """From any directory of the project, and in a warm container of its own kind."""
    shop = Near(house)
    web(shop)
    house.define(f"[tools.fetch]\nimage = '{IMAGE}'\nnetwork = 'project'\nentrypoint = ['wget']\n")
    with shop:
        shop.dx("up", "--wait")
        inner = shop.root / "inner"
        inner.mkdir()
        house.own(inner)
        for where in (shop.root, inner):
            done = house.run(["fetch", *FETCH[1:]], cwd=where)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(b"\x7fELF")
        assert networks_of(house) == {f"{shop.name}_default"}
        # The bridge does not know the name.
        assert house.run([IMAGE, *FETCH], cwd=shop.root).returncode == 1


def test_another_network_of_the_project_by_its_name(house: House) -> None:
    shop = Near(house)
    web(shop, "backend")
    with shop:
        shop.dx("up", "--wait")
        done = house.run(["--network", "project:backend", IMAGE, *FETCH], cwd=shop.root)
        assert done.returncode == 0, done.stderr
        line = one_line(house.run(["--network", "project", IMAGE, "true"], cwd=shop.root))
        assert line == f"dx: the project {shop.name} has no network 'default' now; run: dx up\n"


def test_a_project_that_only_compose_has_up(house: House) -> None:
    shop = Near(house)
    web(shop)
    with shop:
        line = one_line(house.run(["--network", "project", IMAGE, "true"], cwd=shop.root))
        assert line == f"dx: no network of a project: {shop.root} is not up; run: dx up\n"
        shop.compose("up", "--detach")
        done = house.run(["--network", "project", IMAGE, *FETCH], cwd=shop.root)
        assert done.returncode == 0, done.stderr


def test_where_there_is_no_project(house: House) -> None:
    place = house.place("nothing")
    line = one_line(house.run(["--network", "project", IMAGE, "true"], cwd=place))
    assert "there is no compose file in" in line


def test_down_takes_warm_containers_off_the_network_first(house: House) -> None:
    shop = Near(house)
    web(shop)
    with shop:
        shop.dx("up", "--wait")
        assert house.run(["--network", "project", IMAGE, "true"], cwd=shop.root).returncode == 0
        assert networks_of(house) == {f"{shop.name}_default"}
        shop.dx("down")
        assert shop.docker("network", "ls", "--quiet", "--filter", f"name={shop.name}_default") == ""
        assert networks_of(house) == set()
        # And up again: the network is another one of the same name.
        shop.dx("up", "--wait")
        assert house.run(["--network", "project", IMAGE, *FETCH], cwd=shop.root).returncode == 0


def test_down_says_which_run_holds_the_network(house: House) -> None:
    shop = Near(house)
    web(shop)
    with shop:
        shop.dx("up", "--wait")
        command = [str(house.bin / "dx"), "run", "--network", "project", IMAGE, "sleep", "1000"]
        with subprocess.Popen(command, cwd=shop.root, env=house.env, stdin=subprocess.DEVNULL) as run:
            until(lambda: ask(house, "/v1/runs?state=live")["runs"], "the run is there")
            done = shop.dx("down", ok=False)
            assert done.returncode == 125
            assert f"is on the network {shop.name}_default; wait for it, or: dx stop" in done.stderr
            assert shop.states() == {"web": "ready"}
            run.kill()
        until(lambda: not ask(house, "/v1/runs?state=live")["runs"], "the run is gone")
        shop.dx("down")
        assert shop.docker("network", "ls", "--quiet", "--filter", f"name={shop.name}_default") == ""


def test_warm_containers_leave_when_compose_itself_has_stopped_all(house: House) -> None:
    """A network that they hold stays where Compose removes it at the same moment; the next down removes it."""
    shop = Near(house)
    web(shop)
    with shop:
        shop.dx("up", "--wait")
        assert house.run(["--network", "project", IMAGE, "true"], cwd=shop.root).returncode == 0
        shop.compose("down", "--timeout", "1")
        held = ("network", "inspect", "--format", "{{len .Containers}}", f"{shop.name}_default")
        until(lambda: shop.docker(*held) == "0", "the warm container is off the network")
        assert networks_of(house) == set()
        shop.compose("down")
        assert shop.docker("network", "ls", "--quiet", "--filter", f"name={shop.name}_default") == ""


def test_up_of_a_run_starts_a_project_nobody_knew_and_waits_for_health(house: House) -> None:
    shop = Near(house)
    web(shop, **healthy("test -e /proc/1"))
    with shop:
        done = house.run(["--up", "web", IMAGE, *FETCH], cwd=shop.root)
        assert done.returncode == 0, done.stderr
        assert shop.states() == {"web": "ready"}
        began = shop.started("web")
        assert house.run(["--up", "web", IMAGE, *FETCH], cwd=shop.root).returncode == 0
        assert shop.started("web") == began
        shop.dx("stop", "web")
        assert shop.states() == {"web": "stopped"}
        assert house.run(["--up", "web", IMAGE, *FETCH], cwd=shop.root).returncode == 0


def test_up_of_a_run_fails_with_the_reason_and_the_last_lines(house: House) -> None:
    dies = {"command": ["sh", "-c", "echo I am lost; exit 3"]}
    with Near(house, db=dies) as shop:
        done = house.run(["--up", "db", IMAGE, "true"], cwd=shop.root)
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 125
        assert "dx: db | I am lost" in lines
        assert lines[-1].startswith("dx: db: ended with status 3; see:")
        done = house.run(["--up", "dbb", IMAGE, "true"], cwd=shop.root)
        assert done.returncode == 125
        assert "has no service 'dbb'; did you mean db" in done.stderr.decode()


def test_what_a_tool_needs_is_woken_and_never_made(house: House) -> None:
    """A compose file that nobody has begun starts nothing, whatever a tool of the user's own needs."""
    shop = Near(house)
    web(shop)
    house.define(f"[tools.fetch]\nimage = '{IMAGE}'\nnetwork = 'project'\nneeds = ['web']\nentrypoint = ['wget']\n")
    with shop:
        line = one_line(house.run(["fetch", *FETCH[1:]], cwd=shop.root))
        assert line == f"dx: no project is known for {shop.root}; begin one there: dx up\n"
        assert shop.compose("ps", "--all", "--quiet") == ""
        shop.dx("up", "--wait")
        shop.dx("stop", "web")
        done = house.run(["fetch", *FETCH[1:]], cwd=shop.root)
        assert done.returncode == 0, done.stderr
        shop.dx("down")
        line = one_line(house.run(["fetch", *FETCH[1:]], cwd=shop.root))
        assert line == "dx: web has no container; make one: dx up web\n"
