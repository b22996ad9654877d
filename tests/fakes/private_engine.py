"""A Docker Engine of a test's own, to be stopped, hung and started again; the machine's own is never touched.

It has no networks but `none` and `host`. Containers outlive it (`--live-restore`) until `close`, which removes them.
"""

import os
import select
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import until

START_S = 40.0
SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]


class PrivateEngine:
    """One dockerd with its own directory, socket and containerd."""

    def __init__(self, prepare: str = "", *options: str) -> None:
        """`prepare` is a script that runs before it, in its mounts and its directory; `options` are dockerd's."""
        self._prepare = prepare or ":"
        self.options = options
        self.root = Path(tempfile.mkdtemp(prefix="dxe", dir="/tmp"))
        self.socket = self.root / "d.sock"
        self.address = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self._place: subprocess.Popen[bytes] | None = None
        """Has the mounts and the network that all its dockerds live in, one after the other, as on a machine."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of dockerd itself."""
        return int((self.root / "pid").read_text())

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What the command line prints for this engine; it has to succeed."""
        command = ["docker", "--host", self.address, *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, timeout=60).stdout.decode().strip()

    def load(self, image: str) -> None:
        """Take over an image of the machine's engine."""
        saved = subprocess.run(["docker", "save", image], check=True, capture_output=True, timeout=60).stdout
        self.docker("load", stdin=saved)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        place = self.root
        options = ["--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"]
        more = ["--group", str(os.getegid()), "--bridge", "none", "--iptables=false", "--live-restore", *self.options]
        environ = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        if self._place is None:
            self._place = self._apart(environ)
        into = ["nsenter", f"--target={int((place / 'place').read_text())}", "--net", "--mount", f"--wd={place}"]
        with (place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*SUDO, *into, "dockerd", "--host", self.address, *options, *more],
                cwd=place,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, f"an engine in {place} answers", deadline_s=START_S)

    def stop(self) -> None:
        """End it as its service would be; its containers stay."""
        assert self._process is not None
        descriptor = os.pidfd_open(self.pid)
        try:
            self.signal(signal.SIGTERM)
            assert select.select([descriptor], [], [], 30)[0], "dockerd does not stop"
        finally:
            os.close(descriptor)
        self._process.wait(30)
        self._process = None

    def kill(self) -> None:
        """SIGKILL, and its containerd goes with it; its containers go on at least until `start`."""
        assert self._process is not None
        containerd = self.root / "exec" / "containerd" / "containerd.pid"
        descriptor = os.pidfd_open(int(containerd.read_text()))
        try:
            self.signal(signal.SIGKILL)
            self._process.wait(30)
            assert select.select([descriptor], [], [], 30)[0], "containerd outlives its dockerd"
        finally:
            os.close(descriptor)
        self._process = None
        # Where nobody reaps it, dockerd would take the dead one for alive, and wait for it in vain.
        subprocess.run([*SUDO, "rm", "-f", containerd], check=True, timeout=10)

    def hang(self) -> None:
        """Stop it from doing anything, connections stay open and new ones are taken by the kernel."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send dockerd a signal."""
        subprocess.run([*SUDO, "kill", f"-{number:d}", str(self.pid)], check=True, timeout=10)

    def close(self) -> None:
        """Remove its containers, end it, remove its directory."""
        if self._process is None and (self.root / "data").exists():
            self.start()
        if self._process is not None and self._process.poll() is None:
            self.resume()
            until(self._answers, "the engine answers again", deadline_s=START_S)
            if left := self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", *left)
            self.stop()
        self._end_shims()
        if self._place is not None:
            self._place.communicate(timeout=30)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        if left := [each for each in mounts if each.startswith(f"{self.root}/")]:  # its data directory, for one
            subprocess.run([*SUDO, "umount", *reversed(left)], check=True, timeout=60)
        subprocess.run([*SUDO, "rm", "-rf", "--one-file-system", self.root], check=True, timeout=60)

    def _end_shims(self) -> None:
        """Those of containers that ended with a dockerd that was killed: nobody knows of them any more."""
        address = f"{self.root}/exec/containerd/containerd.sock".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (place / "cmdline").read_bytes().split(b"\0")
                if address in words and words[0].endswith(b"containerd-shim-runc-v2"):
                    subprocess.run([*SUDO, "kill", "-9", place.name], timeout=10)

    def _apart(self, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
        """A process that waits for the end of its input, in mounts and a network of their own, which are prepared.

        Of its own because with `--bridge none` dockerd removes docker0, which is another engine's here.
        """
        script = f"{self._prepare}; echo $$ > place; exec cat"
        with (self.root / "log").open("ab") as log:
            made = subprocess.Popen(
                [*SUDO, "unshare", "--net", "--mount", "sh", "-ec", script],
                cwd=self.root,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def prepared() -> bool:
            assert made.poll() is None, (self.root / "log").read_text(errors="replace")[-2000:]
            return (self.root / "place").exists() and bool((self.root / "place").read_text())

        until(prepared, f"the mounts of an engine in {self.root} are prepared", deadline_s=START_S)
        return made

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.root / "log").read_text(errors="replace")[-2000:]
        done = subprocess.run(["docker", "--host", self.address, "version"], capture_output=True, timeout=60)
        return done.returncode == 0
