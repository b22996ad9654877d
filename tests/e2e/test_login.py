"""A machine with systemd that is booted again: login, and what comes back without a word of dx.

The machine is a container whose PID 1 is systemd, with this one's own programs below /usr, its network, and its engine,
in which it has a project. What a reboot does to the containers of that project is done to them by hand.
"""

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.lazy import ECHO, TARGET, free_port
from tests.fakes.proxy import ENGINE
from tests.house import DEADLINE_S, IMAGE, docker
from tests.installation import BIN
from tests.waiting import until

RUNTIME = "/run/user/0"
ENGINE_INSIDE = "/engine.sock"
FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nmessagebus:x:100:\nnogroup:x:65534:\n",
    "etc/machine-id": f"{secrets.token_hex(16)}\n",
    "etc/pam.d/systemd-user": "account required pam_permit.so\nsession required pam_permit.so\n"
    "session optional pam_systemd.so\n",
}
DIRECTORIES = "usr etc etc/pam.d var root run proc sys dev tmp".split()
LINKS = {**{each: f"usr/{each}" for each in ("bin", "sbin", "lib", "lib64")}, "var/run": "/run"}
BOOT = """
if [ -d /sys/fs/cgroup/systemd ]; then mount -o remount,bind,rw /sys/fs/cgroup/systemd
else mount -o remount,rw /sys/fs/cgroup; fi
exec /lib/systemd/systemd
"""


def root_of_a_machine() -> bytes:
    """What is not below /usr, as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, target in LINKS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Machine:
    """One that is up. Who runs things on it is root."""

    def __init__(self) -> None:
        self.name = f"dxt{secrets.token_hex(5)}"
        self.root = Path("/tmp", self.name)
        """The same directory inside and outside."""
        self.root.mkdir(mode=0o700)
        self.port = free_port()
        self.has_project = False
        engine = os.environ.get("DOCKER_HOST", f"unix://{ENGINE}").removeprefix("unix://")
        seen = {sys.prefix, sys.base_prefix, str(BIN.parent), "/usr"}
        mounts = [f"{each}:{each}:ro" for each in seen if each == "/usr" or not each.startswith("/usr/")]
        mounts += [f"{engine}:{ENGINE_INSIDE}", f"{self.root}:{self.root}"]
        docker("import", "-c", "ENV container=docker", "-", self.name, stdin=root_of_a_machine())
        docker(
            *("run", "--detach", "--name", self.name, "--network", "host", "--stop-signal", "SIGRTMIN+3"),
            *("--cap-add", "SYS_ADMIN", "--cgroupns", "private", "--security-opt", "apparmor=unconfined"),
            *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),
            *(word for each in mounts for word in ("--volume", each)),
            *(self.name, "sh", "-c", BOOT),
        )
        self._is_up()

    def close(self) -> None:
        """Leave nothing of it."""
        if self.has_project:
            self.dx("down", "--volumes")
        self.sh("systemctl --user stop dx.service dx.socket; dx daemon stop", check=False)
        docker("rm", "--force", "--volumes", self.name)
        docker("image", "rm", "--force", self.name)
        shutil.rmtree(self.root)

    def sh(self, script: str, *, check: bool = True) -> str:
        """What a script prints there, in a session whose daemon is the manager's of that user."""
        env = {
            "XDG_RUNTIME_DIR": RUNTIME,
            "HOME": "/root",
            "DOCKER_HOST": f"unix://{ENGINE_INSIDE}",
            "DX_BUILDX": "0",
            "PATH": f"{BIN}:/usr/sbin:/usr/bin",
        }
        words = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        command = ["docker", "exec", *words, "--workdir", str(self.root), self.name, "sh", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return (done.stdout + done.stderr).strip()

    def dx(self, *arguments: str, check: bool = True) -> str:
        """`dx ARGUMENTS` in its project."""
        return self.sh(" ".join(("dx", *arguments)), check=check)

    def unit(self, key: str) -> str:
        """What systemd says of the daemon's unit."""
        return self.sh(f"systemctl --user show --property {key} --value dx.service", check=False)

    def runs(self) -> bool:
        """Whether systemd has the daemon running, and it has said that it is ready."""
        return self.unit("ActiveState") == "active"

    def log_in(self) -> None:
        """As the first session of the user does it."""
        self.sh("systemctl start user@0.service")

    def log_out(self) -> None:
        """As the end of the last session does it."""
        self.sh("systemctl stop user@0.service")

    def reboot(self) -> None:
        """Power is cut, from the containers of the project too."""
        docker("kill", self.name)
        for each in self.containers():
            docker("kill", each)
        docker("start", self.name)
        self._is_up()

    def containers(self) -> list[str]:
        """The names of those of the project that run."""
        filters = ("--filter", f"label=com.docker.compose.project={self.name}")
        return sorted(docker("ps", "--format", "{{.Names}}", *filters).split())

    def up(self) -> None:
        """Have a project there: `web` needs `db`, and `door` sleeps until somebody connects."""
        sleep = {"image": IMAGE, "command": ["sleep", "1000"], "init": True, "stop_grace_period": "1s"}
        door = {"command": ["sh", "-c", ECHO], "ports": [f"{self.port}:{TARGET}"], "x-dx": {"lazy": True}}
        services = {
            "web": {**sleep, "depends_on": ["db"], "network_mode": "none"},
            "db": {**sleep, "network_mode": "none"},
            "door": {**sleep, **door},
        }
        (self.root / "compose.yaml").write_text(json.dumps({"services": services}))
        self.has_project = True
        self.dx("up", "--wait")

    def says(self) -> bytes:
        """What the service behind the door answers to `hello`."""
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(100), b""))
        return b""

    def _is_up(self) -> None:
        until(lambda: "running" in self.sh("systemctl is-system-running", check=False), "it is booted", deadline_s=60)


@pytest.fixture
def machine(image: str) -> Iterator[Machine]:
    """One that was booted for the first time, where nobody has logged in."""
    made = Machine()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def enabled(machine: Machine) -> Machine:
    """A machine whose systemd looks after the daemon, for a user who is logged in."""
    machine.log_in()
    machine.dx("daemon", "enable")
    return machine


def test_without_a_user_manager_what_else_can_start_it_is_said(machine: Machine) -> None:
    said = machine.dx("daemon", "enable", check=False)
    assert said == (
        "dx: no systemd looks after this user here; put into ~/.profile, or behind @reboot into the crontab: "
        "dx daemon start"
    )


def test_doctor_says_where_services_would_not_come_back(machine: Machine) -> None:
    """Only where there are any, and until something is done about it."""
    machine.log_in()
    assert "daemon enable" not in machine.dx("doctor", check=False)
    machine.up()
    assert "cure: dx daemon enable" in machine.dx("doctor", check=False)
    machine.sh("echo 'dx daemon start' > ~/.profile")
    assert "~/.profile starts the daemon" in machine.dx("doctor", check=False)
    machine.sh("rm ~/.profile")
    machine.dx("daemon", "enable")
    assert "systemd starts the daemon at login" in machine.dx("doctor", check=False)
    machine.sh("loginctl enable-linger root")
    assert "systemd starts the daemon at boot" in machine.dx("doctor", check=False)


@pytest.mark.parametrize("lingers", [False, True])
def test_after_a_reboot_services_run_and_doors_are_open_without_a_command(enabled: Machine, *, lingers: bool) -> None:
    """At login; where the user lingers, at boot."""
    enabled.up()
    if lingers:
        enabled.sh("loginctl enable-linger root")
    assert enabled.says() == b"hello"
    enabled.reboot()
    if not lingers:
        assert enabled.containers() == []
        enabled.log_in()
    kept = [f"{enabled.name}-{each}-1" for each in ("db", "web")]
    until(lambda: set(kept) <= set(enabled.containers()), "db and web run again", deadline_s=30)
    until(lambda: enabled.says() == b"hello", "the door is open", deadline_s=30)


def test_it_is_started_again_when_it_is_killed_or_hangs(enabled: Machine) -> None:
    """By its pid, once it is ready; a hang is seen by the watchdog, which is quicker here."""
    limits = f"{RUNTIME}/systemd/user/dx.service.d"
    enabled.sh(f"mkdir -p {limits}; printf '[Service]\\nWatchdogSec=2\\nTimeoutStopSec=1\\n' > {limits}/quick.conf")
    enabled.sh("systemctl --user daemon-reload; systemctl --user restart dx.service")
    for signal in ("KILL", "STOP"):
        before = enabled.unit("MainPID")
        enabled.sh(f"kill -{signal} {before}")
        until(lambda: enabled.unit("MainPID") not in ("0", before) and enabled.runs(), "another is ready")  # noqa: B023
        assert "ready" in enabled.dx("status")


def test_the_daemon_has_what_it_needs_of_the_environment_that_it_was_enabled_in(machine: Machine) -> None:
    """Whatever is in it, and in a manager that knows nothing of it."""
    machine.log_in()
    odd = '%h "a\\nb" $c'
    machine.sh(f"NO_PROXY='{odd}' DX_STATE_DIR=state dx daemon enable")
    environ = machine.sh(f"tr '\\0' '\\n' < /proc/{machine.unit('MainPID')}/environ").splitlines()
    assert {
        f"NO_PROXY={odd}",
        f"DX_STATE_DIR={machine.root}/state",
        f"DOCKER_HOST=unix://{ENGINE_INSIDE}",
        f"PATH={BIN}:{BIN}:/usr/sbin:/usr/bin",
    } <= set(environ)


def test_it_stops_in_order_and_the_next_command_starts_it(enabled: Machine) -> None:
    enabled.sh("systemctl --user stop dx.service")
    assert (enabled.unit("Result"), enabled.unit("ExecMainStatus")) == ("success", "0")
    assert not enabled.runs()
    enabled.dx("ls")
    assert enabled.runs()
    enabled.log_out()
    enabled.log_in()
    until(enabled.runs, "the next login starts it")


def test_disabled_it_is_the_commands_again(enabled: Machine) -> None:
    enabled.dx("daemon", "disable")
    assert "not running" in enabled.dx("daemon", "stop")
    assert "enabled" not in enabled.sh("systemctl --user is-enabled dx.service dx.socket", check=False)
    assert enabled.sh("find /root/.config/systemd -name 'dx.*' -not -type d") == ""
    enabled.dx("ls")
    assert not enabled.runs()
    assert "ready" in enabled.dx("status")
    enabled.dx("daemon", "stop")
