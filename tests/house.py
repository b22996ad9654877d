"""A dx of its own: installed programs, real daemon, real engine, in a directory that goes away again.

    with House(person=STRANGER) as house:
        done = house.run([IMAGE, "echo", "hello"])

The programs are those in `$DX_TEST_BIN`, else those beside the interpreter that runs the tests (tests/installation.py).
What a house starts it ends: its daemon at `close`, and every container of it.
"""

import asyncio
import fcntl
import hashlib
import io
import itertools
import json
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.fakes.proxy import ENGINE, Proxy
from tests.installation import bin_for, python_for
from tests.waiting import until

BUSYBOX = "/bin/busybox"
IMAGE = "dx-test-busybox:latest"
"""Busybox with a link for each applet in /bin, and nothing else: no ENTRYPOINT, no CMD, no /etc, no /tmp."""
DEADLINE_S = 60.0
"""For whatever has to happen: far more than it takes, so that only a hang comes this far."""
PASSED_ON = ("DX_AGENT_DIR", "DOCKER_HOST", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
"""Variables of the test run that a house hands to its programs."""

Command = Sequence[str | bytes | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Person:
    """Who a house belongs to."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def options(self) -> dict[str, Any]:
        """For `subprocess`, to become that person."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}


def _nobody_there(uid: int) -> int:
    """The first uid from there on that no user of this machine has."""
    while True:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
        uid += 1


ME = Person("root" if os.geteuid() == 0 else "me", os.geteuid(), os.getegid(), tuple(os.getgroups()))
_uid = _nobody_there(1234)
STRANGER = Person("user", _uid, _uid, (_uid, 4321, 4322))
"""Without privilege and without a passwd entry; reaches the engine through a socket of its own."""
PEOPLE = (ME, STRANGER) if ME.uid == 0 else (ME,)
"""Whom tests can be: root can become anyone, everyone else is only themselves."""


LOST = b"unable to find image"
"""What the classic builder of Docker Engine 20.10 says, now and then, of the image of a step that it has just done,
where other images are removed at the same time.
"""


def docker(*arguments: str, stdin: bytes | None = None) -> str:
    """What the engine's command line prints; it has to succeed."""
    for _ in range(3):
        done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, timeout=DEADLINE_S)
        if LOST not in done.stderr:
            break
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def applets() -> list[str]:
    """The commands of this machine's busybox, and so of the image."""
    return subprocess.check_output([BUSYBOX, "--list"], text=True, timeout=DEADLINE_S).split()


@contextmanager
def image() -> Iterator[str]:
    """See that IMAGE is there, and remove it at the end unless another test run still uses it."""
    content = _image_tar()
    digest = hashlib.sha256(content).hexdigest()
    here = Path(tempfile.gettempdir())
    with (here / f"dx-test-{ME.uid}.lock").open("w") as using, (here / f"dx-test-{ME.uid}.make").open("w") as making:
        # Whoever uses it shares the one lock, test runs that this run starts too; only making it waits, for the other.
        fcntl.flock(using, fcntl.LOCK_SH)
        fcntl.flock(making, fcntl.LOCK_EX)
        if not docker("image", "ls", "--quiet", "--filter", f"label=dx.test.image={digest}", IMAGE):
            docker("import", "-c", "ENV PATH=/bin", "-c", f"LABEL dx.test.image={digest}", "-", IMAGE, stdin=content)
        fcntl.flock(making, fcntl.LOCK_UN)
        yield IMAGE
        with suppress(BlockingIOError):
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            docker("image", "rm", "--force", IMAGE)


def _image_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        directory = tarfile.TarInfo("bin")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, Path(BUSYBOX).stat().st_size
        with Path(BUSYBOX).open("rb") as file:
            tar.addfile(program, file)
        for name in applets():
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


class House:
    """One user's dx, apart from every other on this machine."""

    instances: ClassVar[set[str]] = set()
    """Of all houses that there were: what containers of theirs are labelled with."""

    def __init__(self, person: Person = ME, **environ: str) -> None:
        self.person = person
        # Short, because the paths of sockets are short; not below pytest's own, which only its user can enter.
        # In hexadecimal: it becomes part of images' names, which may not end as mkdtemp's may.
        self.root = Path(f"/tmp/dx{secrets.token_hex(5)}")
        self.root.mkdir(mode=0o700)
        self.own(self.root)
        self.config, self.state, self.data, self.runtime, self.home, self.shims, self.work = (
            self.own(self._made(name)) for name in ("c", "s", "d", "r", "home", "shims", "w")
        )
        self._places = itertools.count(1)
        self.instance = hashlib.sha256(f"{person.uid}:{self.runtime}".encode()).hexdigest()[:16]
        House.instances.add(self.instance)
        self.bin = bin_for(person.uid)
        """Where its programs are."""
        self.python = [*python_for(person.uid), "-m", "dx"]
        """The command line where its programs are not to be had, `run` included."""
        self._forwarder = None if person is ME else Forwarder(self.root / "e.sock", person)
        self.env: dict[str, str] = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **({"DOCKER_HOST": self._forwarder.address} if self._forwarder else {}),
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "DX_BUILDX": "0",  # a machine may have it; tests that want it bring their own
            "DX_CONFIG_DIR": str(self.config),
            "DX_STATE_DIR": str(self.state),
            "DX_DATA_DIR": str(self.data),
            "DX_RUNTIME_DIR": str(self.runtime),
            **environ,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def file(self) -> Path:
        """Its dx.toml."""
        return self.config / "dx.toml"

    @property
    def socket(self) -> Path:
        """Where its daemon listens."""
        return self.runtime / "dxd.sock"

    @property
    def log(self) -> str:
        """What its daemon wrote."""
        path = self.state / "dxd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def own(self, path: Path) -> Path:
        """Give a path to this house's person."""
        os.chown(path, self.person.uid, self.person.gid, follow_symlinks=False)
        return path

    def place(self, name: str | bytes = "") -> bytes:
        """A directory that is this person's, to run something in; empty, with that last name, its path as bytes."""
        parent = self.work / str(next(self._places))
        parent.mkdir(mode=0o755)
        self.own(parent)
        if not name:
            return os.fsencode(parent)
        path = os.fsencode(parent) + b"/" + os.fsencode(name)
        os.mkdir(path, 0o755)
        os.chown(path, self.person.uid, self.person.gid)
        return path

    def define(self, toml: str) -> None:
        """Make this its dx.toml."""
        self.file.write_text(toml)
        self.own(self.file)

    def shim(self, command: str) -> Path:
        """A link by that name to the launcher, as `dx reshim` makes them; no tool need offer it."""
        path = self.shims / command
        if not path.is_symlink():
            path.symlink_to(self.bin / "dx")
        return path

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Options for `subprocess`: this house's environment, person and directory, unless they are given."""
        return {"env": self.env, "cwd": self.work, **self.person.options, **given}

    def popen(self, arguments: Command, **options: Any) -> "subprocess.Popen[bytes]":
        """Begin `dx ARGUMENTS`."""
        return subprocess.Popen([self.bin / "dx", *arguments], **self.options(options))

    def dx(self, arguments: Command, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """`dx ARGUMENTS` to its end; output is captured unless it is told where to go."""
        options = {"timeout": DEADLINE_S, "stdin": subprocess.DEVNULL} | options
        if "input" in options:
            del options["stdin"]
        for stream in ("stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        return subprocess.run([self.bin / "dx", *arguments], **self.options(options))

    def run(self, arguments: Command, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """`dx run ARGUMENTS` to its end."""
        return self.dx(["run", *arguments], **options)

    def start(self) -> int:
        """Have the daemon running; its pid."""
        done = self.dx(["daemon", "start"])
        assert done.returncode == 0, done.stderr.decode()
        pid = self.daemon
        assert pid is not None
        return pid

    @property
    def daemon(self) -> int | None:
        """The pid of the daemon that listens, if one does."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            pid: int = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            return pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the daemon, and wait until it has ended."""
        pid = self.daemon
        if pid is None:
            return
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(descriptor, number)
                ended = bool(select.select([descriptor], [], [], DEADLINE_S)[0])
                if not ended:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    select.select([descriptor], [], [], DEADLINE_S)
            finally:
                os.close(descriptor)
            assert ended, f"the daemon did not stop at signal {number}:\n{self.log}"

    def containers(self) -> list[str]:
        """The ids of the containers that this house has made."""
        return containers_of(self.instance)

    def close(self) -> None:
        """End the daemon, remove the containers and the directory."""
        try:
            self.stop()
        finally:
            if left := self.containers():
                # Its own daemon may have asked for it just before its end: then that goes on.
                subprocess.run(["docker", "rm", "--force", "--volumes", *left], capture_output=True, timeout=DEADLINE_S)
                until(lambda: not self.containers(), f"the containers of {self.root} are removed")
            if volumes := volumes_of(self.instance):
                docker("volume", "rm", "--force", *volumes)
            if self._forwarder:
                self._forwarder.close()
            shutil.rmtree(self.root)

    def _made(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(mode=0o755 if name == "w" else 0o700)
        return path


def containers_of(instance: str) -> list[str]:
    """The ids of the containers with that label, stopped ones too."""
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=dev.dx.instance={instance}").split()


def volumes_of(instance: str) -> list[str]:
    """The names of the volumes with that label."""
    return docker("volume", "ls", "--quiet", "--filter", f"label=dev.dx.instance={instance}").split()


class Forwarder:
    """The engine's socket under another name and for another user, by a thread of its own, until `close`."""

    def __init__(self, path: Path, person: Person) -> None:
        self.address = f"unix://{path}"
        self._proxy = Proxy(path, os.environ.get("DOCKER_HOST", f"unix://{ENGINE}").removeprefix("unix://"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine forwarder", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._proxy.start(), self._loop).result(DEADLINE_S)
        os.chown(path, person.uid, person.gid)
        path.chmod(0o600)

    @cached_property
    def requests(self) -> list[str]:
        """The request lines that came by."""
        return self._proxy.requests

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refuse(self, request: bytes, message: str, status: str = "400 Bad Request") -> None:
        """Answer the next request with these bytes in its head as an engine does that cannot."""
        body = json.dumps({"message": message}).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self._loop.call_soon_threadsafe(self._proxy.answer, request, head + body)

    def trap(self, request: str, *, answered: bool) -> threading.Event:
        """Set when the next request with that text in its line has come, or its answer; it goes no further."""
        caught = threading.Event()
        self._loop.call_soon_threadsafe(self._proxy.catch, request, caught.set, answered)
        return caught

    def hold(self, request: str) -> tuple[threading.Event, Callable[[], object]]:
        """Set when the next request with that text in its line has come, and what lets it go on."""
        caught = threading.Event()
        go = self._proxy.hold(request, caught.set)
        return caught, partial(self._loop.call_soon_threadsafe, go)

    def close(self) -> None:
        """Take the socket away."""
        asyncio.run_coroutine_threadsafe(self._proxy.stop(), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
