"""Services follow their files: built, tried and exchanged, real builds by the real Compose in the real engine."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.shop import now
from tests.e2e.site import ANSWERS, FOLLOWED_S, NET, Site, check
from tests.house import IMAGE, House
from tests.waiting import until


@pytest.fixture
def site(house: House) -> Iterator[Site]:
    with Site(house) as site:
        yield site
    site.remove_images()


def test_a_change_is_built_and_takes_the_place_without_a_request_that_fails(site: Site) -> None:
    """A client asks all the time, and tries every address that a name has, as curl, Go and Python do."""
    asks = (
        "n=0; bad=0; while :; do ok=; for a in $(nslookup web 127.0.0.11 2>/dev/null"
        " | awk '/^Address/ && !/127.0.0.11/ {print $NF}'); do"
        " timeout 2 wget -qO /tmp/got http://$a/ 2>/dev/null && ok=1 && break; done;"
        " n=$((n+1)); [ $ok ] || bad=$((bad+1)); echo $n $bad $(cat /tmp/got) > /tmp/counts.new;"
        " mv /tmp/counts.new /tmp/counts; done"
    )
    site.write(
        web={"build": "web", "image": None, "command": None, **NET, **ANSWERS},
        client={
            "command": ["sh", "-c", asks.replace("$", "$$")],
            "tmpfs": "/tmp",
            **NET,
            "depends_on": {"web": {"condition": "service_healthy"}},
        },
    )

    def counts() -> list[str]:
        return site.compose("exec", "--no-tty", "client", "cat", "/tmp/counts").split()

    site.dx("up", "--wait")
    until(lambda: counts()[2:] == ["one"], "the client is answered")
    before = site.inspect("web")["Id"]
    site.page("two")
    site.shows("two")
    until(lambda: counts()[2:] == ["two"], "the client is answered by the new one")
    asked = int(counts()[0])
    until(lambda: int(counts()[0]) > asked + 20, "it asks on")
    assert counts()[1] == "0", counts()
    assert site.inspect("web")["Id"] != before
    until(lambda: len(site.containers()) == 1, "the old one has gone")
    # Compose finds nothing to do.
    now = site.inspect("web")["Id"]
    site.compose("up", "--no-start", "--yes")
    assert site.inspect("web")["Id"] == now


def test_what_has_done_its_work_does_not_do_it_again_for_a_change(site: Site) -> None:
    """Nobody waits for it, and `restart` says nothing: that it has ended well is all that shows what it is."""
    runs = site.root / "runs"
    job = {"build": "web", "image": None, "command": ["sh", "-c", "echo done >> /log/runs"], "volumes": [".:/log"]}
    site.write(web={"build": "web", "image": None, "command": None, **ANSWERS}, job=job)
    site.dx("up", "--wait")
    for text in ("two", "three"):  # when the second is there, all has been seen to that the first leads to
        site.page(text)
        site.shows(text)
    assert site.states() == {"web": "ready", "job": "done"}
    assert runs.read_text() == "done\n"


def test_a_build_that_fails_leaves_what_runs(site: Site) -> None:
    site.write(web={"build": "web", "image": None, "command": None, **ANSWERS})
    site.dx("up", "--wait")
    before = site.inspect("web")["Id"]
    site.dockerfile(prepare="echo no such luck && false")
    line = site.why("its new build failed")
    assert "the one before goes on" in line
    assert site.inspect("web")["Id"] == before
    assert site.says() == "one"
    assert "its new build failed" in site.dx("up").stderr
    assert "its new build failed" not in site.dx("up").stderr
    assert site.inspect("web")["Id"] == before
    site.dockerfile()
    site.page("two")
    site.shows("two")
    until(lambda: site.services()["web"]["reason"] == "", "all is well")


def test_one_that_does_not_get_healthy_never_takes_the_place(site: Site) -> None:
    """Neither one that ends at once; and what is right again afterwards does."""
    site.write(web={"build": "web", "image": None, "command": None, **ANSWERS})
    site.dx("up", "--wait")
    before, image = site.inspect("web")["Id"], site.inspect("web")["Image"]
    site.dockerfile(command="sleep 1000")
    site.why("not healthy within 3 s|is unhealthy")
    site.dockerfile(command="exit 3")
    site.why("is exited, status 3")
    assert (site.inspect("web")["Id"], site.says()) == (before, "one")
    assert len(site.containers()) == 1
    # Nor does Compose make one of it.
    assert site.docker("image", "inspect", "--format", "{{.Id}}", f"{site.name}-web") == image
    site.dockerfile()
    site.page("three")
    site.shows("three")


def test_where_two_cannot_run_the_old_one_is_put_back_and_its_data_is_kept(site: Site) -> None:
    site.write(
        {"volumes": {"data": {}}},
        web={"build": "web", "image": None, "command": None, "volumes": ["data:/data"], **ANSWERS},
    )
    site.dx("up", "--wait")
    site.compose("exec", "--no-tty", "web", "sh", "-c", "echo precious > /data/kept; echo here > /own")
    before = site.inspect("web")["Id"]
    site.dockerfile(command="exit 4")
    site.why("is exited, status 4")
    site.reach(web="ready")
    assert site.inspect("web")["Id"] == before
    assert site.compose("exec", "--no-tty", "web", "cat", "/data/kept", "/own").split() == ["precious", "here"]
    site.dockerfile()
    site.page("two")
    site.shows("two")
    assert site.inspect("web")["Id"] != before
    assert site.compose("exec", "--no-tty", "web", "cat", "/data/kept") == "precious"


def test_one_that_has_its_own_name_is_made_anew_and_back_from_the_old_image(site: Site) -> None:
    name = f"{site.name}-own"
    checked = {"healthcheck": {**ANSWERS["healthcheck"], "start_period": "30s"}}
    site.write(web={"build": "web", "image": None, "command": None, "container_name": name, **checked})
    site.dx("up", "--wait")

    def page() -> str:
        return site.inside("cat", "/www/index.html")

    site.page("two")
    until(lambda: site.states() == {"web": "ready"} and page() == "two", "it is made anew", deadline_s=FOLLOWED_S)
    image = json.loads(site.docker("inspect", name))[0]["Image"]
    site.dockerfile(command="exit 5")  # the one change: two could be built one by one
    site.why("status 5|restarting")
    until(lambda: site.states() == {"web": "ready"} and page() == "two", "it is back", deadline_s=FOLLOWED_S)
    assert json.loads(site.docker("inspect", name))[0]["Image"] == image


def test_a_new_daemon_builds_nothing_whose_files_are_the_same(site: Site) -> None:
    """And what was changed meanwhile, or is another image by now, it does."""
    source = site.root / "conf"
    source.mkdir()
    (source / "c").write_text("c1")
    rules = [{"path": "conf", "action": "sync", "target": "/conf"}]
    built = {"build": "web", "image": None, "command": None, **ANSWERS}
    site.write(
        web=built,
        copied={**built, "build": {"context": ".", "dockerfile": "web/Dockerfile.copied"}, "develop": {"watch": rules}},
    )
    (site.web / "Dockerfile.copied").write_text(
        (site.web / "Dockerfile").read_text().replace("COPY ", "COPY web/").replace("RUN true", "COPY conf /conf")
    )

    def builds(service: str) -> int:
        lines = [json.loads(each) for each in site.house.log.splitlines() if each.startswith("{")]
        return len([each for each in lines if (each.get("event"), each.get("service")) == ("build", service)])

    def reach(web: int, copied: int) -> None:
        until(
            lambda: (builds("web"), builds("copied")) == (web, copied),
            f"{web} and {copied} builds, not {builds('web')} and {builds('copied')}",
            deadline_s=FOLLOWED_S,
        )

    def followed(text: str, web: int, copied: int) -> None:
        """A change, which is seen after whatever is done with `copied` at the first look."""
        site.page(text)
        site.shows(text)
        reach(web, copied)

    def copied() -> str:
        return site.inside("cat", "/conf/c", service="copied")

    site.dx("up", "--wait")
    reach(1, 1)
    followed("two", 2, 1)
    site.kill_daemon()
    site.house.start()
    followed("three", 3, 1)
    site.kill_daemon()
    (source / "c").write_text("c2")
    site.docker("tag", IMAGE, f"{site.name}-web")
    site.house.start()
    until(lambda: copied() == "c2", "what was to be copied is there", deadline_s=FOLLOWED_S)
    reach(4, 2)


def test_a_changed_env_file_is_applied_and_a_touched_one_is_not(site: Site) -> None:
    env = site.root / "web.env"
    env.write_text("COLOUR=red\n")
    site.write(web={"build": "web", "image": None, "command": None, "env_file": ["web.env"], **ANSWERS})
    site.dx("up", "--wait")
    first = site.inspect("web")["Id"]

    def colour() -> str:
        return site.inside("sh", "-c", "echo $COLOUR")

    env.touch()
    (site.web / "page").touch()
    env.write_text("COLOUR=green\n")
    until(lambda: site.states() == {"web": "ready"} and colour() == "green", "it is green", deadline_s=FOLLOWED_S)
    second = site.inspect("web")["Id"]
    assert second != first
    # Another definition has to be asked for, also where an env file has changed as well.
    web = {"build": "web", "image": None, "command": None, "env_file": ["web.env"], **ANSWERS}
    site.write(web={**web, "labels": {"a": "b"}, "x-dx": {"on-change": "apply"}})
    env.write_text("COLOUR=blue\n")
    site.why("its definition has changed; to apply that: dx up")
    assert colour() == "green"
    site.dx("up", "--wait")
    assert colour() == "blue"
    until(lambda: site.services()["web"]["reason"] == "", "nothing is left to be told")
    # And by then it has been asked for that it is applied.
    site.write(web={**web, "labels": {"a": "c"}, "x-dx": {"on-change": "apply"}})

    def label() -> str:
        name = next(iter(site.services()["web"]["containers"]), "none")
        return site.docker("ps", "--filter", f"name=^{name}$", "--format", '{{.Label "a"}}')

    until(lambda: site.states() == {"web": "ready"} and label() == "c", "it is applied", deadline_s=FOLLOWED_S)


def test_who_lives_in_anothers_container_is_left_alone_and_made_anew_with_it(site: Site) -> None:
    env = site.root / "web.env"
    env.write_text("COLOUR=red\n")
    site.write(
        web={"image": IMAGE, "env_file": ["web.env"]},
        beside={"network_mode": "service:web"},
        reader={"volumes_from": ["web"]},
    )
    site.dx("up", "--wait")
    env.write_text("COLOUR=green\n")
    site.why("its definition has changed; to apply that: dx up")
    assert site.inside("sh", "-c", "echo $COLOUR") == "red"
    assert '"event": "exchange"' not in site.house.log
    site.dx("up", "--wait")
    assert site.inside("sh", "-c", "echo $COLOUR") == "green"
    assert site.inspect("beside")["HostConfig"]["NetworkMode"] == f"container:{site.inspect('web')['Id']}"
    until(lambda: not any(each["reason"] for each in site.services().values()), "nothing is left to be told")


def test_a_compose_file_that_is_broken_or_gone_changes_nothing(site: Site) -> None:
    services = {"web": {"build": "web", "image": None, "command": None, **ANSWERS}}
    site.write(**services)
    site.dx("up", "--wait")
    before = site.inspect("web")["Id"]
    good = site.file.read_text()

    def shown() -> str:
        return site.dx("services").stderr

    site.file.write_text("services:\n  web:\n    build: [web\n")
    until(lambda: "compose.yaml:" in shown(), "the file and the line are told", deadline_s=FOLLOWED_S)
    site.file.unlink()
    until(lambda: shown() != "" and "compose.yaml:" not in shown(), "that it is gone is told", deadline_s=FOLLOWED_S)
    assert site.states() == {"web": "ready"}
    assert site.inspect("web")["Id"] == before
    site.kill("web")
    until(lambda: site.states() == {"web": "ready"} and site.services()["web"]["restarts"] == 1, "it is looked after")
    site.file.write_text(good)
    until(lambda: shown() == "", "all is well", deadline_s=FOLLOWED_S)
    assert site.inspect("web")["Id"] == before


def test_files_are_copied_and_removed_and_commands_run_by_the_rules(site: Site) -> None:
    source = site.root / "web" / "src"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("a1")
    (site.root / "conf").mkdir()
    (site.root / "conf" / "c").write_text("c1")
    rules = [
        {"path": "web/src", "action": "sync", "target": "/app", "ignore": ["*.log"], "initial_sync": True},
        {"path": "conf", "action": "sync+restart", "target": "/conf"},
        {"path": "web/page", "action": "rebuild"},
        {
            "path": "web/hook",
            "action": "sync+exec",
            "target": "/hook",
            "exec": {"command": ["sh", "-c", "cat /hook > /ran"]},
        },
    ]
    site.write(web={"build": "web", "image": None, "command": None, "develop": {"watch": rules}, **ANSWERS})
    site.dx("up", "--wait")

    def inside(path: str) -> str:
        return site.inside("cat", path, otherwise="none")

    def has(path: str, text: str) -> None:
        until(lambda: inside(path) == text, f"{path} is {text}", deadline_s=FOLLOWED_S)

    has("/app/a", "a1")
    first = site.inspect("web")["Id"]
    (source / "sub" / "b").write_text("b1")
    (source / "x.log").write_text("no")
    has("/app/sub/b", "b1")
    (source / "a").unlink()
    has("/app/a", "none")
    assert inside("/app/x.log") == "none"
    (site.web / "hook").write_text("h1")
    has("/ran", "h1")
    assert site.inspect("web")["Id"] == first
    started = site.started("web")
    (site.root / "conf" / "c").write_text("c2")
    has("/conf/c", "c2")
    until(lambda: site.started("web") > started, "it is restarted")
    site.reach(web="ready")
    assert site.inspect("web")["Id"] == first
    site.page("two")
    site.shows("two")
    assert site.inspect("web")["Id"] != first
    has("/app/sub/b", "b1")


def test_a_rule_of_files_that_are_mounted_restarts_the_service(site: Site) -> None:
    """`restart` copies nothing, and the container stays."""
    conf, seen = site.root / "conf", site.root / "seen"
    conf.mkdir()
    (conf / "c").write_text("c1")
    seen.write_text("seen")
    shown = "cat /conf/c > /shown; exec sleep 1000"
    rules = [
        {"path": "conf", "action": "restart", "ignore": ["*.tmp"]},
        {"path": "seen", "action": "sync", "target": "/seen", "initial_sync": True},
    ]
    web = {"command": ["sh", "-c", shown], "volumes": ["./conf:/conf:ro"], **check("test -e /shown")}
    site.write(web={**web, "develop": {"watch": rules}})
    site.dx("up", "--wait")
    until(lambda: site.inside("cat", "/seen") == "seen", "its rules are followed", deadline_s=FOLLOWED_S)
    first, started = site.inspect("web")["Id"], site.started("web")
    (conf / "no.tmp").write_text("left out")
    (conf / "c").write_text("c2")
    until(lambda: site.inside("cat", "/shown") == "c2", "it is restarted", deadline_s=FOLLOWED_S)
    site.reach(web="ready")
    assert site.inspect("web")["Id"] == first
    assert site.started("web") > started
    assert site.services()["web"]["restarts"] == 0, "what a rule asks for is no fall"


def test_what_changes_between_dx_up_and_the_first_look_is_found_at_that(site: Site) -> None:
    """Of a service that is not built, whose image says nothing of the files: others are copied, or it is restarted."""
    conf, app = site.root / "conf", site.root / "app"
    for file, text in ((conf / "c", "c1"), (app / "a", "a1"), (app / "b", "b1"), (app / "same", "same")):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    begins = "test -e /app || { mkdir /app; echo a1 > /app/a; echo b1 > /app/b; }; cat /conf/c > /shown"
    rules = [
        {"path": "conf", "action": "restart"},
        {"path": "app", "action": "sync", "target": "/app"},
    ]
    web = {"command": ["sh", "-c", f"{begins}; exec sleep 1000"], "volumes": ["./conf:/conf:ro"]}
    site.write(web={**web, "develop": {"watch": rules}})
    site.dx("up")  # without a wait, in which it may be looked at
    (conf / "c").write_text("c2")
    (app / "a").write_text("a2")
    (app / "b").unlink()

    def shown() -> str:
        return site.inside("sh", "-c", "cat /shown /app/a; ls /app")

    until(lambda: shown().split() == ["c2a2a"], f"it is as the files are, not {shown()}", deadline_s=FOLLOWED_S)


def test_what_a_killed_daemon_left_of_an_exchange_is_put_right(site: Site) -> None:
    site.write(
        {"volumes": {"data": {}}},
        web={
            "build": "web",
            "image": None,
            "command": None,
            "volumes": ["data:/data"],
            **check("test -e /never || wget -qO- http://127.0.0.1/", start_period="60s"),
        },
    )
    site.dx("up", "--wait")
    before = site.inspect("web")["Id"]
    site.dockerfile(command="sleep 1000")
    until(
        lambda: f"{site.container('web')}-next" in site.docker("ps", "--format", "{{.Names}}"),
        "one is on trial",
        deadline_s=FOLLOWED_S,
    )
    site.kill_daemon()
    assert not site.inspect("web")["State"]["Running"]
    site.dockerfile()
    site.dx("services")
    site.reach(web="ready", deadline_s=FOLLOWED_S)
    until(lambda: len(site.containers()) == 1, "the one on trial is gone", deadline_s=FOLLOWED_S)
    assert site.inspect("web")["Id"] == before


def test_whoever_asks_for_something_does_not_wait_for_a_trial(site: Site) -> None:
    """The new one would be given a minute and more; the old one is put back at once, and does what is asked of it."""
    web = {
        "build": "web",
        "image": None,
        "command": None,
        "volumes": ["data:/data"],
        **check("wget -qO- http://127.0.0.1/", start_period="100s"),
    }
    site.write({"volumes": {"data": {}}}, web=web)
    site.dx("up", "--wait")
    before = site.inspect("web")["Id"]
    site.dockerfile(command="sleep 1000")
    until(
        lambda: f"{site.container('web')}-next" in site.docker("ps", "--format", "{{.Names}}"),
        "one is on trial",
        deadline_s=FOLLOWED_S,
    )
    began = now()
    site.dx("stop", "web")
    assert now() - began < 30
    assert site.states() == {"web": "stopped"}
    assert site.containers() == [before]


def test_others_are_looked_after_while_an_image_is_built(site: Site) -> None:
    """One that falls is started again before the build ends; whoever wants something else is told what it waits for."""
    site.dockerfile(prepare=f"sleep 8; : {site.name}")  # no cache has that
    web = {"build": "web", "image": None, "command": None, "x-dx": {"on-change": "tell"}, **ANSWERS}
    site.write(web=web, db={})
    site.dx("up", "--wait", "db")
    before = site.started("db")

    def begin(*arguments: str) -> "subprocess.Popen[bytes]":
        return site.house.popen(arguments, cwd=site.root, stdout=subprocess.PIPE)

    with begin("up", "--json", "--wait", "web") as building:
        assert building.stdout is not None
        assert any(b"building" in line for line in building.stdout)
        site.kill("db")
        until(lambda: site.started("db") > before, "it is started again")
        with begin("stop", "--json", "db") as stopping:
            assert stopping.stdout is not None
            assert b"waits for dx up" in stopping.stdout.readline()
            assert building.poll() is None
            building.communicate()
            stopping.communicate()
    assert (building.returncode, stopping.returncode) == (0, 0)
    assert site.states() == {"web": "ready", "db": "stopped"}


def test_what_is_put_in_place_at_the_first_look_is_what_the_files_say(site: Site) -> None:
    """An image that was built of other files, before dx knew of the project, does not stay."""
    site.write(web={"build": "web", "image": None, "command": None, **ANSWERS})
    site.compose("build", "web")
    site.page("two")
    site.dx("up", "--wait")
    site.shows("two")


def test_what_a_changed_file_reaches_for_on_this_machine_waits_for_dx_up(site: Site) -> None:
    """As after a `git pull` that nobody has read: neither a mount, nor a build or a copy of files from elsewhere."""
    elsewhere = site.house.root / "secret"
    elsewhere.mkdir()
    (elsewhere / "key").write_text("precious")
    web = {"build": "web", "image": None, "command": None, **ANSWERS}
    site.write(web=web)
    site.dx("up", "--wait")
    site.shows("one")
    before = site.inspect("web")["Id"]
    more = {"context": "web", "additional_contexts": {"more": str(elsewhere)}}
    rules = [{"path": str(elsewhere), "action": "sync", "target": "/got", "initial_sync": True}]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"volumes": [f"{elsewhere}:/got"], "x-dx": {"on-change": "apply"}}, "its definition has changed"),
        ({"build": more, "x-dx": {"on-change": "apply"}}, "its build takes more than files of the project"),
        ({"develop": {"watch": rules}}, r"develop\.watch takes more than files of the project"),
    ]
    for change, told in bad:
        site.write(web={**web, **change})
        site.why(told)
        assert site.inspect("web")["Id"] == before
        assert site.inside("cat", "/got/key", otherwise="none") == "none"
    site.dx("up", "--wait")
    until(lambda: site.inside("cat", "/got/key") == "precious", "it is asked for now", deadline_s=FOLLOWED_S)


def test_a_volume_that_is_defined_otherwise_by_now_keeps_its_data(site: Site) -> None:
    """Compose asks whether it may empty it, and is never told yes: neither by an exchange nor by `dx up`."""
    web = {"build": "web", "image": None, "command": None, "volumes": ["data:/data"], **ANSWERS}
    site.write({"volumes": {"data": {}}}, web=web)
    site.dx("up", "--wait")
    site.inside("sh", "-c", "echo precious > /data/kept")
    site.write({"volumes": {"data": {"labels": {"a": "b"}}}}, web=web)
    site.page("two")
    site.shows("two")
    assert site.inside("cat", "/data/kept") == "precious"
    site.dx("up", "--wait", "--recreate")
    assert site.inside("cat", "/data/kept") == "precious"


def test_a_secret_that_is_another_file_by_now_waits_for_dx_up(site: Site) -> None:
    """The service says the same as before, and so does its label."""
    elsewhere = site.house.root / "key"
    elsewhere.write_text("precious")
    (site.root / "key").write_text("harmless")
    web = {"build": "web", "image": None, "command": None, "secrets": ["key"], **ANSWERS}
    site.write({"secrets": {"key": {"file": "key"}}}, web=web)
    site.dx("up", "--wait")
    site.shows("one")
    site.write({"secrets": {"key": {"file": str(elsewhere)}}}, web=web)
    site.page("two")
    site.why("other mounts; to apply that: dx up|its definition has changed")
    assert site.inside("cat", "/run/secrets/key") == "harmless"
    assert site.says() == "one"


def test_files_that_only_an_env_file_names_are_followed(site: Site) -> None:
    """Compose is told by it which files are its own, and the path of an include has a variable."""
    included = site.root / "web" / "more.yaml"
    site.write(web={**check("true")})
    included.write_text(site.file.read_text())
    site.file.unlink()
    (site.root / "main.yaml").write_text('include: ["${PART}/more.yaml"]\n')
    (site.root / ".env").write_text(f"COMPOSE_FILE=main.yaml\nCOMPOSE_PROJECT_NAME={site.name}\nPART=web\n")
    site.dx("up", "--wait")
    good = included.read_text()
    included.write_text("services: [\n")
    until(lambda: "more.yaml" in site.dx("services").stderr, "it is told which is broken", deadline_s=FOLLOWED_S)
    included.write_text(good)
    until(lambda: site.dx("services").stderr == "", "all is well", deadline_s=FOLLOWED_S)


def test_what_an_env_file_leads_to_otherwise_waits_for_dx_up(site: Site) -> None:
    """It is made anew in place, where there would be nothing left to compare with; the compose file is as it was."""
    elsewhere = site.house.root / "key"
    elsewhere.write_text("precious")
    (site.root / "key").write_text("harmless")
    web = {"build": "web", "image": None, "command": None, "container_name": f"{site.name}-own", "secrets": ["key"]}
    (site.root / ".env").write_text("KEY=./key\n")
    site.write({"secrets": {"key": {"file": "${KEY}"}}}, web={**web, **ANSWERS})
    site.dx("up", "--wait")
    (site.root / ".env").write_text(f"KEY={elsewhere}\n")
    site.page("two")
    site.why("to apply that: dx up")
    assert site.inside("cat", "/run/secrets/key") == "harmless"
    site.dx("up", "--wait")
    until(lambda: site.inside("cat", "/run/secrets/key") == "precious", "it is asked for now")
