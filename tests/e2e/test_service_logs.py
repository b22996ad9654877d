"""dx logs: what services print, over all that becomes of their containers and of the daemon."""

import json
import os
import signal
import subprocess

import pytest

from tests.e2e.shop import Shop
from tests.house import House
from tests.waiting import until

COUNT = "i=0; while true; do i=$$((i+1)); echo line $$i; echo bad $$i >&2; sleep 0.05; done"
"""Two dollars are one to Compose."""


def numbers(text: str) -> list[int]:
    return [int(line.rpartition(" ")[2]) for line in text.splitlines() if "line " in line]


def test_what_services_print_outlives_their_containers(house: House) -> None:
    """In the project's directory, by name elsewhere; crashed, made anew and removed ones too, until it is forgotten."""
    with Shop(house, web={"command": ["sh", "-c", "echo begun; echo gone >&2; exec sleep 1000"]}) as shop:
        shop.dx("up", "--wait")
        until(lambda: shop.dx("logs", "--no-prefix").stdout.count("\n") == 2, "both lines are kept")
        assert shop.dx("logs", "--no-prefix", "--stream", "stderr", "web").stdout == "gone\n"
        shop.kill("web")
        shop.reach(web="ready")
        shop.dx("up", "--recreate", "--wait")
        until(lambda: shop.dx("logs", "--no-prefix").stdout.count("begun") == 3, "each run is kept")
        shop.dx("down")
        named = shop.house.dx(["logs", "-p", shop.name, "--json", "web"]).stdout.decode()
        entries = [json.loads(line) for line in named.splitlines()]
        assert sum("begun" in line for line in named.splitlines()) == 3
        assert {each["service"] for each in entries} == {"web"}
        shop.dx("forget")
        assert shop.house.dx(["logs", "-p", shop.name]).returncode == 125


def test_no_line_is_lost_or_doubled_over_a_killed_daemon(house: House) -> None:
    """Neither in what is kept, nor for one who follows all the while."""
    with Shop(house, web={"command": ["sh", "-c", COUNT]}) as shop:
        shop.dx("up", "--wait")
        out = house.root / "followed"
        with out.open("wb") as file:
            follower = subprocess.Popen(
                [house.bin / "dx", "logs", "-f", "--no-prefix", "web"], stdout=file, **house.options({"cwd": shop.root})
            )
            try:
                for _ in range(3):
                    before = len(numbers(out.read_text()))
                    until(lambda before=before: len(numbers(out.read_text())) > before + 10, "it goes on")  # type: ignore[misc]
                    shop.kill_daemon()
                    shop.dx("services")
                before = len(numbers(out.read_text()))
                until(lambda: len(numbers(out.read_text())) > before + 10, "it goes on")
            finally:
                os.kill(follower.pid, signal.SIGINT)
                follower.wait()
        followed = numbers(out.read_text())
        assert followed == list(range(1, len(followed) + 1))
        kept = numbers(shop.dx("logs", "--no-prefix", "web").stdout)
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) >= len(followed)


def test_who_follows_a_project_sees_services_that_come_later(house: House) -> None:
    """Whoever follows one by name does not."""
    web = {"command": ["sh", "-c", "echo from web; exec sleep 1000"]}
    with Shop(house, web=web) as shop:
        shop.dx("up", "--wait")
        out = [house.root / "all", house.root / "web"]
        followers = []
        for file, names in zip(out, ([], ["web"]), strict=True):
            with file.open("wb") as stdout:
                command = [str(house.bin / "dx"), "logs", "-f", "--tail", "0", *names]
                followers.append(subprocess.Popen(command, stdout=stdout, **house.options({"cwd": shop.root})))
        try:
            shop.write(web=web, db={"command": ["sh", "-c", "echo from db; exec sleep 1000"]})
            shop.dx("up", "--wait")
            shop.dx("restart", "web")
            until(lambda: "from db" in out[0].read_text() and "from web" in out[0].read_text(), "both are followed")
            until(lambda: "from web" in out[1].read_text(), "the one is followed")
        finally:
            for each in followers:
                each.send_signal(signal.SIGINT)
                each.wait()
        assert out[0].read_text().count("from db") == 1
        assert "from db" not in out[1].read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_told_wherever_one_looks_until_there_is_room(house: House) -> None:
    """With the cure. What was printed meanwhile is there afterwards, and nothing else is held up."""
    place = house.state / "logs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        (place / "other").write_bytes(bytes(900_000))
        loud = {"command": ["sh", "-c", "head -c 2000000 /dev/urandom | base64; echo end; exec sleep 1000"]}
        with Shop(house, loud=loud, still={}) as shop:
            shop.dx("up", "--wait")
            reason = "its output is not kept: No space left on device"
            until(lambda: reason in shop.services()["loud"]["reason"], "it is told")
            assert shop.services()["still"]["reason"] == ""
            assert f"{reason}; make room in {place}\n" in shop.dx("services").stdout
            assert f"{shop.name}/loud: {reason}; make room in {place}\n" in shop.dx("status").stdout
            checks = json.loads(shop.dx("doctor", "--json").stdout)["checks"]
            assert {
                "name": "output",
                "state": "warn",
                "detail": f"{shop.name}/loud: {reason}",
                "cure": f"make room in {place}",
            } in checks
            (place / "other").unlink()
            subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
            until(lambda: shop.dx("logs", "--no-prefix", "--tail", "1", "loud").stdout == "end\n", "all is kept")
            assert shop.services()["loud"]["reason"] == ""
            assert "not kept" not in shop.dx("status").stdout + shop.dx("doctor").stdout
    finally:
        subprocess.run(["umount", place], check=True)
