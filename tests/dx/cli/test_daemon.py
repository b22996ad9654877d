"""dx status and dx daemon."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.dx.installed import Dx
from tests.fakes.daemon import State


def test_status_of_a_ready_daemon_is_0(dx: Dx, daemon: State) -> None:
    """And says what there is to say."""
    done = dx("status")
    assert done.status == 0
    assert f"ready, dx 0.1.0, pid {os.getpid()}, up 1 minute" in done.out
    assert "up, version 20.10.24, at unix:///e.sock" in done.out
    found = json.loads(dx("status", "--json").out)
    assert found["running"] is True
    assert found["engine"] == daemon.engine


def test_status_of_one_that_is_not_ready_is_not(dx: Dx, daemon: State) -> None:
    """Nor of one whose file is broken, which it tells."""
    daemon.ready = False
    daemon.problem = "dx.toml:1: broken"
    daemon.engine = {"state": "down", "address": None, "version": None, "reason": "not running; start docker"}
    done = dx("status")
    assert done.status == 125
    assert "starting" in done.out
    assert "down: not running; start docker" in done.out
    assert "dx.toml:1: broken" in done.out


def test_status_starts_nothing(dx: Dx) -> None:
    """Neither do stop and version."""
    done = dx("status")
    assert (done.status, done.out) == (125, "")
    assert "the daemon is not running" in done.err
    assert json.loads(dx("status", "--json").out) == {"running": False, "ready": False}
    assert dx("daemon", "stop").status == 0
    assert dx("version").status == 0
    assert not dx.socket.exists()


def test_a_stale_socket_counts_as_no_daemon(dx: Dx) -> None:
    """What a killed daemon leaves behind."""
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(dx.socket))
    assert "not running" in dx("status").err


def test_other_verbs_start_it(dx: Dx) -> None:
    """By the launcher; then the request is made again."""
    try:
        done = dx("ls", "--names")
        assert (done.status, done.err) == (0, "")
        assert "is running, pid" in dx("daemon", "start").out
    finally:
        assert "is stopped" in dx("daemon", "stop").out
    assert not dx.socket.exists()


def test_restart_is_another_process(dx: Dx) -> None:
    """Also where none was running."""
    try:
        assert "is started, pid" in dx("daemon", "restart").out
        first = json.loads(dx("status", "--json").out)["pid"]
        done = dx("daemon", "restart")
        assert f"is stopped, it was pid {first}" in done.out
        assert json.loads(dx("status", "--json").out)["pid"] != first
    finally:
        dx("daemon", "stop")


def test_a_daemon_that_does_not_start_says_why(dx: Dx) -> None:
    """In the launcher's words, on one line."""
    done = dx("ls", FAKE_START_FAILS="its log is empty; look there")
    assert (done.status, done.err) == (125, "dx: its log is empty; look there\n")


def test_without_a_launcher_it_says_so(dx: Dx) -> None:
    """An installation that is broken: none beside the program, none beside Python itself."""
    (dx.bin / "dx").unlink()
    code = "import sys; sys.argv, sys.executable = sys.argv[1:], sys.argv[1]; import dx.cli; sys.exit(dx.cli.main())"
    command = [sys.executable, "-c", code, str(dx.bin / "dx-cli"), "ls"]
    done = subprocess.run(command, env=dx.environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 125
    assert "launcher" in done.stderr


def test_stop_waits_for_the_end_of_the_process(dx: Dx, daemon: State) -> None:
    """Not for the socket, which under systemd stays."""
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    daemon.pid = child.pid

    def end() -> None:
        assert daemon.stopped.wait(20)
        child.communicate()

    thread = threading.Thread(target=end)
    thread.start()
    done = dx("daemon", "stop")
    thread.join()
    assert done.out == f"The daemon is stopped, it was pid {child.pid}\n"
    assert daemon.asked == ["GET /v1/status", "POST /v1/daemon/stop"]


def test_a_daemon_of_another_version_is_refused_but_can_be_stopped(dx: Dx, daemon: State) -> None:
    """Both versions are named."""
    daemon.version = "9.9.0"
    daemon.headers = {"Dx-Version": "9.9.0"}
    done = dx("ls")
    assert done.status == 125
    assert done.err == "dx: the daemon is dx 9.9.0, this is dx 0.1.0; run: dx daemon restart\n"
    assert [each.partition("?")[0] for each in daemon.asked] == ["GET /v1/tools"]
    done = dx("status")
    assert "dx 9.9.0" in done.out
    assert "dx daemon restart" in done.err
    assert dx("version").out == "dx 0.1.0\ndaemon 9.9.0\n"


def test_logs_shows_the_end_of_the_file(dx: Dx) -> None:
    """Of a daemon that does not run, too."""
    log = dx.root / "state" / "dxd.log"
    log.write_text("".join(f"line {number}\n" for number in range(200)))
    assert dx("daemon", "logs", "-n", "2").out == "line 198\nline 199\n"
    assert dx("daemon", "logs").out.count("\n") == 100
    assert dx("daemon", "logs", "-n", "x").status == 125


def test_logs_follows(dx: Dx) -> None:
    """Over the file's replacement."""
    log = dx.root / "state" / "dxd.log"
    log.write_text("one\n")
    child = subprocess.Popen([dx.program, "daemon", "logs", "-f"], env=dx.environ, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"one\n"
        with log.open("a") as opened:
            opened.write("two\n")
        assert child.stdout.readline() == b"two\n"
    finally:
        child.kill()
        child.communicate()


def test_logs_before_there_are_any(dx: Dx) -> None:
    """One line; where systemd runs, its journal is asked."""
    done = dx("daemon", "logs")
    if not Path("/run/systemd/system").is_dir():
        assert done.status == 125
        assert "there is no log yet" in done.err


def test_an_action_that_does_not_exist(dx: Dx) -> None:
    """Is a usage error."""
    for arguments in (["daemon"], ["daemon", "strat"]):
        done = dx(*arguments)
        assert done.status == 125
        assert done.err.startswith("dx: daemon: ")


def test_status_can_wait_until_it_is_ready(dx: Dx, daemon: State) -> None:
    """Which takes a moment after a start."""
    daemon.ready = False
    child = subprocess.Popen([dx.program, "status", "--wait"], env=dx.environ, stdout=subprocess.PIPE)
    while daemon.asked.count("GET /v1/status") < 3:
        assert child.poll() is None
    daemon.ready = True
    out, _ = child.communicate(timeout=20)
    assert (child.returncode, b"ready" in out) == (0, True)
