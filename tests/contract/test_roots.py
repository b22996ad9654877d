"""The root of a run: fresh, its own, without privilege; and what of the host is in it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.contract.test_signals import begun, end
from tests.contract.twin import Twin
from tests.house import STRANGER, House


def test_what_a_run_writes_outside_of_grants_is_gone(twin: Twin) -> None:
    """The next run in the same container finds the image as it is."""
    writing = (
        "echo x > /tmp/x && mkdir /tmp/d && echo x > /dev/shm/x && echo x > ~/x && cat /tmp/x /dev/shm/x ~/x;"
        "echo x > /x; echo x > /etc/x; rm -f /bin/ls; echo x >> /etc/passwd; true"
    )
    first = twin.do(["sh", "-c", writing])
    assert first.out == b"x\nx\nx\n"
    reading = "ls -A /tmp /dev/shm ~; ls /; cat /etc/passwd; ls -d /bin/ls"
    before = twin.do(["sh", "-c", reading], place=(place := twin.house.place())).out
    twin.do(["sh", "-c", writing])
    assert twin.do(["sh", "-c", reading], place=place).out == before
    assert b"\nx\n" not in before
    assert before.endswith(b"/bin/ls\n")


def test_only_root_may_change_the_image(twin: Twin) -> None:
    """Permissions of the image's files hold, for the run's copy of them too."""
    outcome = twin.do(["sh", "-c", "echo x > /etc/x && rm /bin/ls && echo x > /bin/x"])
    assert (outcome.status == 0) is (twin.person.uid == 0)


def test_the_temporary_directory_is_fresh_and_for_all(twin: Twin) -> None:
    """As on any machine, even where the image has none; grants that lie in it are there."""
    outcome = twin.do(["sh", "-c", "ls -A /tmp /dev/shm; stat -c %a /tmp /dev/shm"])
    assert outcome.out.decode() == f"/dev/shm:\n\n/tmp:\n{twin.house.root.name}\n1777\n1777\n"


def test_runs_do_not_see_each_other(twin: Twin) -> None:
    """Neither processes nor files nor shared memory, though the container is one."""
    script = (
        "echo x > /tmp/mine; echo x > /dev/shm/mine; echo x > ~/mine; mkfifo /tmp/pipe; echo ready; exec sleep 1000"
    )
    with begun(twin.dx, script) as other:
        seen = twin.do(["sh", "-c", "ls -A /tmp /dev/shm ~; kill -9 -1; set -- /proc/[0-9]*; echo $#"])
        lines = seen.out.split()
        assert b"mine" not in seen.out + seen.err
        # Alone but for the monitor above it, so there was nobody to kill.
        assert lines[-1] == b"2"
        assert other.poll() is None
        other.terminate()
        assert end(other)[0] == -15


def test_a_run_holds_no_capability(twin: Twin) -> None:
    """Nor can it ever come by one."""
    out = twin.do(["grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status"]).out.decode()
    values = dict(each.split(":\t") for each in out.splitlines())
    assert values.pop("NoNewPrivs") == "1"
    assert set(values) == {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
    assert {int(value, 16) for value in values.values()} == {0}


@pytest.mark.parametrize(
    "attempt",
    [
        "echo x > /proc/sys/kernel/domainname",
        "echo 0 > /proc/sys/vm/drop_caches",
        "echo h > /proc/sysrq-trigger",
        "mount -t tmpfs x /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc",
        "umount /dev/shm",
        "mknod /tmp/disk b 8 0",
        "mknod /tmp/mem c 1 1",
        "chroot / true",
        "hostname other",
        "cat /proc/kcore",
        "cat /proc/1/environ",
        "ls /proc/1/root/",
        "readlink /proc/1/fd/1",
        "cat /proc/1/fd/1",
        "echo -1000 > /proc/1/oom_score_adj",
        "echo x > /sys/kernel/mm/ksm/run",
        "mkdir /sys/fs/cgroup/x",
        "rm /dev/null",
        "echo x > /dev/new",
        "ls /.dx/",
    ],
)
def test_what_no_run_may_do(twin: Twin, attempt: str) -> None:
    """Root or not: the kernel, the container and its agent are out of reach."""
    outcome = twin.do(["sh", "-c", f"({attempt}) > /dev/null 2>&1"])
    assert outcome.status not in (0, 125, 126), outcome


def test_a_run_cannot_end_its_monitor(twin: Twin) -> None:
    """The first process of its namespace takes no signal from within."""
    script = "for each in KILL STOP TERM USR1 USR2 CHLD; do kill -$each 1 2>/dev/null; done; echo lives; exit 3"
    outcome = twin.do(["sh", "-c", script])
    assert (outcome.status, outcome.out) == (3, b"lives\n")


def test_the_home_directory_is_there_empty_and_writable(twin: Twin) -> None:
    """At the same path, and not the user's own."""
    marker = Path(twin.house.home) / "secret"
    marker.write_text("x")
    outcome = twin.do(["sh", "-c", "ls -A ~; echo mine > ~/f; cat ~/f; stat -c '%a %u %g' ~; echo ~"])
    uid, gid = twin.person.uid, twin.person.gid
    assert outcome.out == f"mine\n700 {uid} {gid}\n{twin.house.home}\n".encode()
    assert os.listdir(twin.house.home) == ["secret"]


def test_a_user_has_a_name(twin: Twin) -> None:
    """A passwd and a group entry, even where the host has none."""
    name = "root" if twin.person.uid == 0 else f"user{twin.person.uid}" if twin.person is STRANGER else None
    outcome = twin.do(["sh", "-c", "id -un; id -gn; eval echo ~$(id -un)"])
    assert outcome.err == b""
    user, _, home = outcome.out.decode().splitlines()
    assert name in (None, user)
    assert home == str(twin.house.home)


@pytest.mark.parametrize("marker", [".git", "dx.toml", "compose.yaml", "compose.yml", "docker-compose.yml"])
def test_the_project_is_granted_at_its_own_path(twin: Twin, marker: str) -> None:
    """From the nearest directory above with a marker on, read and write."""
    top = Path(os.fsdecode(twin.house.place("pro ject")))
    deep = top / "a" / "b\nc"

    def prepare(_: bytes) -> None:
        (top / "file").write_text("content")
        (top / marker).touch()
        deep.mkdir(parents=True)

    native, dx = (
        twin.perform(
            side, ["sh", "-c", "pwd; cat ../../file; echo made > ../new; mv ../../file ../../moved; ls -A ../.."],
            place=os.fsencode(top), prepare=prepare, cwd=deep,
        )
        for side in (twin.native, twin.dx)
    )  # fmt: skip
    assert dx == native
    assert b"moved" in dx.files


def test_nothing_beside_the_current_directory_is_seen(twin: Twin) -> None:
    """Without a marker above it, it is granted alone."""
    place = Path(os.fsdecode(twin.house.place("inner")))
    twin.house.own(place.parent)
    (place.parent / "beside").write_text("x")
    assert twin.do(["sh", "-c", "ls -A ..; cat ../beside"], place=os.fsencode(place)).out == b"inner\n"


def test_grants_carry_no_setuid_and_no_devices(twin: Twin) -> None:
    """A program of the project is executed, its setuid bit is not honoured."""
    options = (
        twin.do(["sh", "-c", 'grep " $PWD " /proc/self/mountinfo | cut -d" " -f6']).out.decode().strip().split(",")
    )
    assert {"nosuid", "nodev", "rw"} <= set(options)
    assert "noexec" not in options


@pytest.mark.parametrize("directory", ["/", "/usr", "/etc", "/dev", "/proc", "/sys"])
def test_a_system_directory_is_the_images(twin: Twin, directory: str) -> None:
    """Where the image has none of that name, dx says so."""
    with twin.dx.popen(["pwd"], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        status, out, err = end(process)
    if directory == "/usr":
        assert (status, out) == (125, b"")
        assert err.startswith(b"dx: cannot enter /usr ")
    else:
        assert (status, out, err) == (0, directory.encode() + b"\n", b"")


def test_a_mount_of_one_file(home: House, image: str) -> None:
    """`--mount`, read-only and read-write, under its own name and another."""
    place = Path(os.fsdecode(home.place("elsewhere")))
    for name in ("read", "write"):
        home.own(place / name) if (place / name).write_text(name) else None
    done = home.run(
        [
            "--mount", f"{place}/read:ro", "--mount", f"{place}/write:/opt/other", image,
            "sh", "-c", 'cat "$1"; echo more >> "$1"; cat /opt/other; echo more >> /opt/other', "sh", f"{place}/read",
        ]
    )  # fmt: skip
    assert done.stdout == b"readwrite"
    assert b"Read-only file system" in done.stderr
    assert (place / "read").read_text() == "read"
    assert (place / "write").read_text() == "writemore\n"
    assert stat.S_ISREG((place / "write").stat().st_mode)
