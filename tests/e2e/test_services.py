"""dx up and its kin: real services, made by the real Compose in the real engine."""

import json
import subprocess
from typing import Any

import pytest

from tests.e2e.shop import Shop, after, healthy, now, when
from tests.house import House
from tests.waiting import until


def shell(script: str) -> dict[str, list[str]]:
    return {"command": ["sh", "-c", script]}


def test_up_starts_in_order_and_waits_until_all_are_ready(house: House) -> None:
    """Compose's own view of it is as if Compose had done it; down keeps the data."""
    shop = Shop(house)
    shop.write(
        {"volumes": {"data": {}}},
        db={
            **shell("sleep 0.5; touch /tmp/up; exec sleep 1000"),
            **healthy("test -e /tmp/up"),
            "tmpfs": "/tmp",
            "volumes": ["data:/data"],
        },
        migrate={**shell("sleep 0.3; echo migrated"), **after(db="healthy")},
        web=after(db="healthy", migrate="done"),
    )
    with shop:
        out = shop.dx("up", "--wait").stdout
        assert [line.split()[:2] for line in out.splitlines()[1:]] == [
            ["db", "ready"],
            ["migrate", "done"],
            ["web", "ready"],
        ]
        migrated = when(shop.inspect("migrate")["State"]["FinishedAt"])
        assert shop.started("db") + 0.5 <= shop.started("migrate") <= migrated <= shop.started("web")
        listed = [json.loads(line) for line in shop.compose("ps", "--all", "--format", "json").splitlines()]
        assert {(each["Service"], each["State"]) for each in listed} == {
            ("db", "running"),
            ("migrate", "exited"),
            ("web", "running"),
        }
        ids = {each["ID"] for each in listed}
        assert "Recreate" not in shop.compose("up", "--detach", "--no-start")
        assert {json.loads(line)["ID"] for line in shop.compose("ps", "-a", "--format", "json").splitlines()} == ids
        shop.dx("down")
        assert shop.compose("ps", "--all", "--quiet") == ""
        assert shop.docker("volume", "ls", "--quiet", "--filter", f"name={shop.name}_data")
        assert set(shop.states().values()) == {"absent"}


def test_a_volume_that_is_defined_otherwise_by_now_keeps_its_data(house: House) -> None:
    """Compose asks whether it may make it anew, and is never told yes."""
    shop = Shop(house)
    db = {"volumes": ["data:/data"]}
    shop.write({"volumes": {"data": {}}}, db=db)
    with shop:
        shop.dx("up", "--wait")
        shop.docker("exec", shop.container("db"), "sh", "-c", "echo precious > /data/kept")
        shop.write({"volumes": {"data": {"labels": {"a": "b"}}}}, db=db)
        for options in ((), ("--recreate",)):
            shop.dx("up", "--wait", *options)
            assert shop.docker("exec", shop.container("db"), "cat", "/data/kept") == "precious"


def test_wait_returns_soon_after_the_service_is_ready(house: House) -> None:
    """0.3 s is what it is to be; a machine that others use too is given a second. The engine takes half a minute."""
    shared = house.root / "shared"
    shared.mkdir()
    script = "sleep 1; touch /shared/up; exec sleep 1000"
    with Shop(house, db={**shell(script), **healthy("test -e /shared/up"), "volumes": [f"{shared}:/shared"]}) as shop:
        shop.dx("up", "--wait")
        assert now() - (shared / "up").stat().st_mtime < 1.0


def test_wait_fails_soon_after_a_death_with_the_reason_and_the_last_lines(house: House) -> None:
    with Shop(house, db={**shell("echo I am lost; sleep 0.5; exit 3"), **healthy("false")}) as shop:
        shop.dx("down", ok=False)
        done = shop.dx("up", "--wait", ok=False)
        ended = now()
        assert done.returncode == 125
        assert "db | I am lost\n" in done.stderr
        assert "dx: db: ended with status 3; see: dx logs db" in done.stderr
        assert ended - when(shop.inspect("db")["State"]["FinishedAt"]) < 1.5
        shop.reach(db="backoff")


@pytest.mark.parametrize("more", [{"restart": "no"}, {"x-dx": {"restart-unhealthy": False}}, {}])
def test_wait_fails_soon_after_the_engine_finds_a_service_unhealthy(house: House, more: dict[str, Any]) -> None:
    """Whether or not anything is done about it, and for who waits for a dependant, too."""
    check = {"healthcheck": {"test": ["CMD-SHELL", "echo no answer; exit 1"], "interval": "1s", "retries": 2}}
    db = {**shell("echo I am ill; exec sleep 1000"), **check, **more}
    with Shop(house, db=db, web=after(db="healthy")) as shop:
        done = shop.dx("up", "--wait", ok=False)
        ended = now()
        assert done.returncode == 125
        assert "db | I am ill\n" in done.stderr
        assert "dx: db: its health check fails: no answer" in done.stderr
        if more:
            log = shop.inspect("db")["State"]["Health"]["Log"]
            assert ended - when(log[1]["End"]) < 1.5
            assert "it is left alone, as its file says; see: dx logs db" in done.stderr
            done = shop.dx("wait", "web", ok=False)
            assert "dx: web: waits for db, which is unhealthy; see: dx logs db" in done.stderr


def test_wait_fails_where_somebody_has_paused_the_service(house: House) -> None:
    with Shop(house, db=healthy("true")) as shop:
        shop.dx("up", "--wait")
        shop.docker("pause", shop.container("db"))
        shop.reach(db="paused")
        done = shop.dx("wait", ok=False)
        assert "dx: db: it was paused by somebody; to go on: docker unpause" in done.stderr
        shop.docker("unpause", shop.container("db"))
        shop.dx("wait")


def test_a_service_that_is_up_is_left_alone(house: House) -> None:
    with Shop(house, db={}, web=after(db="started")) as shop:
        shop.dx("up", "--wait")
        before = shop.started("db"), shop.started("web")
        shop.dx("up", "--wait")
        assert (shop.started("db"), shop.started("web")) == before


def test_only_the_named_service_and_what_it_depends_on(house: House) -> None:
    with Shop(house, db={}, web=after(db="started"), other={}) as shop:
        shop.dx("up", "web", "--wait")
        assert shop.states() == {"db": "ready", "web": "ready", "other": "absent"}


def test_a_profile_stays_in_force_while_one_of_its_services_is_wanted(house: House) -> None:
    """Whatever else is asked for; what is done of it is not done again, and what was stopped is not begun."""
    job = {**shell("echo x >> /log/runs"), "volumes": [".:/log"], "restart": "no", "profiles": ["debug"]}
    debug: dict[str, Any] = {"profiles": ["debug"]}
    with Shop(house, web={}, debug=debug, other=debug, job=job) as shop:
        shop.dx("up", "--wait", "--profile", "debug")
        shop.dx("stop", "other")
        for again in (["up"], ["up", "web"], ["up", "--recreate"]):
            shop.dx(*again, "--wait")
            shop.reach(web="ready", debug="ready")
        assert (shop.root / "runs").read_text() == "x\n"
        assert shop.states()["other"] == "stopped"
        before = shop.started("debug")
        shop.kill("debug")
        until(lambda: shop.started("debug") > before, "it is looked after")
        shop.dx("stop", "debug")
        shop.dx("up", "--wait")
        assert shop.states() == {"web": "ready"}
        assert "of the profile debug" in shop.dx("start", "debug", ok=False).stderr
        shop.dx("restart", "--wait", "--profile", "debug")
        assert shop.states() == {"web": "ready", "debug": "ready", "other": "ready", "job": "done"}
        shop.dx("down")
        shop.dx("up", "--wait")
        assert shop.states() == {"web": "ready"}


def test_a_crash_is_made_good_after_a_pause_and_too_many_are_a_failure(house: House) -> None:
    with Shop(house, bad=shell("sleep 0.05; exit 7"), good={}) as shop:
        shop.dx("up")
        shop.reach(bad="failed", good="ready")
        assert shop.services()["bad"]["reason"] == "ended with status 7, 5 times within 10 minutes"
        assert shop.services()["bad"]["restarts"] == 4
        shop.write(bad={}, good={})
        shop.dx("up", "--wait")
        assert shop.states() == {"bad": "ready", "good": "ready"}
        shop.kill("good")
        shop.reach(good="backoff")
        fallen = now()
        shop.reach(good="ready")
        assert now() - fallen > 0.7


def test_a_daemon_that_is_restarted_in_the_pause_of_a_crash_loop_goes_on_counting(house: House) -> None:
    with Shop(house, bad=shell("echo began; exit 7")) as shop:
        shop.dx("up")

        def pauses() -> bool:
            bad = shop.services()["bad"]
            return bad["restarts"] == 2 and "started again in" in bad["reason"]

        until(pauses, "it has fallen for the third time")
        house.stop()
        house.start()
        shop.reach(deadline_s=60, bad="failed")
        assert shop.services()["bad"]["reason"] == "ended with status 7, 5 times within 10 minutes"
        assert shop.docker("logs", shop.container("bad")).count("began") == 5


def test_an_unhealthy_service_is_restarted(house: House) -> None:
    """Its process lives on, and would for ever."""
    check = {"healthcheck": {"test": ["CMD-SHELL", "test -e /tmp/well"], "interval": "0.2s", "retries": 2}}
    with Shop(house, db={**shell("touch /tmp/well; exec sleep 1000"), **check, "tmpfs": "/tmp"}) as shop:
        shop.dx("up", "--wait")
        before = shop.started("db")
        shop.docker("exec", shop.container("db"), "rm", "/tmp/well")
        shop.reach(db="ready")
        until(lambda: shop.started("db") > before, "it is restarted")
        shop.reach(db="ready")
        assert shop.services()["db"]["restarts"] == 1


def test_what_somebody_stops_or_starts_behind_its_back_is_what_they_want(house: House) -> None:
    with Shop(house, db={"restart": "always"}, web=after(db="started")) as shop:
        shop.dx("up", "--wait")
        shop.docker("stop", shop.container("db"))
        shop.reach(db="stopped", web="ready")
        shop.kill("web")
        shop.reach(web="waiting")
        assert shop.services()["web"]["reason"] == "waits for db, which is stopped"
        shop.docker("start", shop.container("db"))
        shop.reach(db="ready", web="ready")
        shop.compose("stop")
        shop.reach(db="stopped", web="stopped")
        shop.compose("up", "--detach")
        shop.reach(db="ready", web="ready")
        shop.compose("down")
        shop.reach(db="absent", web="absent")
        assert [each["wanted"] for each in shop.services().values()] == ["down", "down"]


def test_start_stop_and_restart(house: House) -> None:
    with Shop(house, db={}, web=after(db="started")) as shop:
        shop.dx("up", "--wait")
        shop.dx("stop")
        assert shop.states() == {"db": "stopped", "web": "stopped"}
        assert when(shop.inspect("web")["State"]["FinishedAt"]) <= when(shop.inspect("db")["State"]["FinishedAt"])
        shop.dx("start", "web", "--wait")
        assert shop.states() == {"db": "ready", "web": "ready"}
        shop.dx("stop", "web")
        assert shop.states() == {"db": "ready", "web": "stopped"}
        before = shop.started("db")
        shop.dx("restart", "--wait")
        assert shop.states() == {"db": "ready", "web": "ready"}
        assert shop.started("db") > before


def test_what_is_done_is_done_once_more_for_whoever_names_it(house: House) -> None:
    """As Docker Compose starts it again; where all are meant, or what depends on it, it stays done."""
    runs = house.root / "runs"
    job = {**shell("echo done >> /log/runs"), "volumes": [f"{house.root}:/log"]}
    with Shop(house, job=job, web=after(job="started")) as shop:
        shop.dx("up", "--wait")
        shop.dx("up", "--wait")
        shop.dx("up", "--wait", "web")
        shop.dx("start", "--wait")
        assert runs.read_text().count("done") == 1
        shop.dx("up", "--wait", "job")
        assert runs.read_text().count("done") == 2
        shop.dx("start", "--wait", "job")
        assert runs.read_text().count("done") == 3


def test_restart_reads_the_files_and_the_environment_again(house: House) -> None:
    with Shop(house, db={"environment": {"WORD": "${WORD:-none}"}}, web={}) as shop:
        shop.dx("up", "--wait", WORD="first")
        web = shop.inspect("web")["Id"]
        shop.dx("restart", "db", "--wait", WORD="second")
        assert shop.dx("exec", "db", "sh", "-c", "echo $WORD").stdout == "second\n"
        shop.write(db={"environment": {"WORD": "third"}}, web={})
        shop.dx("restart", "db", "--wait")
        assert shop.dx("exec", "db", "sh", "-c", "echo $WORD").stdout == "third\n"
        assert shop.inspect("web")["Id"] == web


def test_the_daemon_is_killed_and_comes_back_to_what_was_wanted(house: House) -> None:
    services: dict[str, dict[str, Any]] = {
        "db": {"environment": {"KEY": "${KEY}"}},
        "job": shell("echo once"),
        "web": after(db="started", job="done"),
        "off": {},
    }
    with Shop(house, **services) as shop:
        shop.dx("up", "--wait", KEY="canary-5Hf2")
        shop.dx("stop", "off")
        ids = {name: shop.inspect(name)["Id"] for name in services}
        job, db = shop.started("job"), shop.started("db")
        shop.kill_daemon()
        shop.kill("web")
        house.start()
        shop.reach(db="ready", job="done", web="ready", off="stopped")
        assert {name: shop.inspect(name)["Id"] for name in services} == ids
        assert (shop.started("job"), shop.started("db")) == (job, db)
        shop.dx("restart", "db", "--wait", KEY="canary-5Hf2")
        assert "canary-5Hf2" not in house.log + shop.dx("services", "--json").stdout


def test_forget_gives_the_containers_back_to_the_engine(house: House) -> None:
    with Shop(house, db={"restart": "unless-stopped"}) as shop:
        shop.dx("up", "--wait")
        assert shop.inspect("db")["HostConfig"]["RestartPolicy"]["Name"] == "no"
        shop.dx("forget")
        assert shop.inspect("db")["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert shop.inspect("db")["State"]["Running"]
        done = shop.dx("services", "--project", shop.name, ok=False)
        assert "there is no project" in done.stderr
        shop.kill_daemon()
        house.start()
        assert "No project is known yet" in shop.dx("services").stderr


def test_a_project_that_compose_has_started_is_adopted(house: House) -> None:
    with Shop(house, db={"restart": "always"}, web=after(db="started")) as shop:
        shop.compose("up", "--detach")
        ids = {name: shop.inspect(name)["Id"] for name in ("db", "web")}
        shop.dx("up", "--wait")
        assert {name: shop.inspect(name)["Id"] for name in ("db", "web")} == ids
        shop.kill("db")
        shop.reach(db="backoff")
        shop.reach(db="ready")


def test_files_that_go_or_break_are_no_end_of_what_runs(house: House) -> None:
    with Shop(house, db={}) as shop:
        shop.dx("up", "--wait")
        text = shop.file.read_text()
        shop.file.unlink()
        shop.kill("db")
        shop.reach(db="backoff")
        shop.reach(db="ready")
        shop.kill_daemon()
        house.start()
        done = shop.dx("services", "--project", shop.name)
        assert "no compose file" in done.stderr
        shop.file.write_text(text.replace('"command"', '"comand"'))
        done = shop.dx("restart", "--project", shop.name, ok=False)
        assert f"{shop.file}:4: services.db.comand: unknown key" in done.stderr
        shop.file.write_text(text)
        shop.dx("restart", "--wait", "--project", shop.name)
        assert shop.states() == {"db": "ready"}
        shop.file.unlink()
        shop.dx("down", "--project", shop.name)
        assert shop.compose("ps", "--all", "--quiet", bare=True) == ""


def test_hooks_and_secrets_from_the_environment_are_composes_and_work(house: House) -> None:
    hooked = {
        "post_start": [{"command": ["touch", "/tmp/hooked"]}],
        "secrets": ["word"],
        "tmpfs": "/tmp",
    }
    shop = Shop(house)
    shop.write({"secrets": {"word": {"environment": "WORD"}}}, db=hooked)
    with shop:
        shop.dx("up", "--wait", WORD="canary-9kQ1")
        assert shop.dx("exec", "db", "ls", "/tmp").stdout == "hooked\n"
        assert shop.dx("exec", "db", "cat", "/run/secrets/word").stdout == "canary-9kQ1"
        assert "canary-9kQ1" not in house.log


def test_what_is_wrong_is_said_in_one_line(house: House) -> None:
    with Shop(house, db={}) as shop:
        done = shop.dx("up", "dbb", ok=False)
        assert f"dx: the project {shop.name} has no service 'dbb'; did you mean db?\n" in done.stderr
        shop.write(db={"image": f"{shop.name}-is-nowhere:1", "pull_policy": "never"})
        done = shop.dx("up", ok=False)
        assert f"{shop.name}-is-nowhere:1" in done.stderr
        shop.write(db={"command": ["/no/such/program"], "restart": "no", "init": False})
        done = shop.dx("up", "--wait", ok=False)
        assert "dx: db: it could not be started" in done.stderr
        assert "/no/such/program" in done.stderr
        assert "there is no project 'x'" in shop.dx("port", "db", "--project", "x", ok=False).stderr


def test_two_directories_cannot_be_one_project(house: House) -> None:
    with Shop(house, db={}) as shop:
        shop.dx("up", "--wait")
        other = Shop(house, db={})
        done = other.dx("up", "--project", shop.name, ok=False)
        assert f"dx: the project {shop.name} is that of {shop.root}; give this one a name of its own" in done.stderr
        assert shop.states() == {"db": "ready"}


def test_port_and_env(house: House) -> None:
    web = {"command": ["httpd", "-f", "-p", "80"], "ports": ["127.0.0.1::80"], "network_mode": "bridge"}
    with Shop(house, web=web, db={}) as shop:
        shop.dx("up", "--wait")
        place = shop.dx("port", "web").stdout.strip()
        assert place == shop.compose("port", "web", "80")
        assert shop.dx("port", "web", "80").stdout.strip() == place
        port = place.rpartition(":")[2]
        assert json.loads(shop.dx("env", "--json").stdout) == {
            "WEB_HOST": "127.0.0.1",
            "WEB_PORT": port,
            "WEB_PORT_80": port,
        }
        assert f"export WEB_PORT={port}\n" in shop.dx("env").stdout
        assert "db does not publish a port now" in shop.dx("port", "db", ok=False).stderr


def test_whoever_waits_for_a_project_that_is_forgotten_is_told(house: House) -> None:
    with Shop(house, db=healthy("false")) as shop:
        shop.dx("up")
        waiting = house.popen(["wait", "--project", shop.name], cwd=shop.root, stderr=subprocess.PIPE)
        try:
            shop.reach(db="starting")
            shop.dx("forget")
            _, err = waiting.communicate(timeout=30)
        finally:
            waiting.kill()
            waiting.wait()
        assert waiting.returncode == 125
        assert b"not looked after any more" in err or b"there is no project" in err


def test_whoever_wants_a_service_that_is_gone_once_it_is_their_turn_is_told_so(house: House) -> None:
    """Whether it is to be started or stopped: the files were read again while they waited for another verb."""
    stubborn = {**shell("trap '' TERM; while true; do sleep 0.1; done"), "init": False, "stop_grace_period": "10s"}
    with Shop(house, slow=stubborn, web={}) as shop:

        def begin(*arguments: str) -> "subprocess.Popen[bytes]":
            return house.popen((*arguments, "--json"), cwd=shop.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        def waits(process: "subprocess.Popen[bytes]") -> bool:
            assert process.stdout is not None
            return any(b"waits for dx stop" in line for line in process.stdout)

        shop.dx("up", "--wait")
        with begin("stop", "slow") as stopping:
            shop.reach(slow="stopping")
            shop.write(slow=stubborn, site={})
            with begin("up", "site") as up:
                assert waits(up)
                with begin("start", "web") as start, begin("stop", "web") as stop:
                    assert waits(start)
                    assert waits(stop)
                    for each in (start, stop):
                        said = each.communicate()[0].decode()
                        assert f"web is gone from the files of the project {shop.name}" in said
                    up.communicate()
                    stopping.communicate()
        assert (stopping.returncode, up.returncode) == (0, 0)
        assert (start.returncode, stop.returncode) == (125, 125)
        shop.reach(site="ready", slow="stopped")
        assert '"event": "task failed"' not in house.log
