"""What the tests of faults share: runs that wait for a word, and questions to the daemon and the engine."""

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.house import DEADLINE_S, House, docker


class Unix(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("dx", timeout=DEADLINE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(house: House, path: str, method: str = "GET", body: object = None) -> Any:
    """The JSON that the house's daemon answers."""
    connection = Unix(house.socket)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        return json.loads(connection.getresponse().read() or "null")
    finally:
        connection.close()


def warm(house: House) -> list[dict[str, Any]]:
    """The warm containers that the daemon knows."""
    containers: list[dict[str, Any]] = ask(house, "/v1/containers")["containers"]
    return containers


def live(house: House) -> list[dict[str, Any]]:
    """The runs that are going on."""
    runs: list[dict[str, Any]] = ask(house, "/v1/runs?state=live")["runs"]
    return runs


def init_of(container: str) -> int:
    """The agent's pid on the host."""
    return int(docker("inspect", "--format", "{{.State.Pid}}", container))


def processes(container: str) -> list[str]:
    """What runs in a container besides PID 1 and the daemon's link to it: runs, monitors, what nobody has reaped.

    Nothing where the container ends just now.
    """
    try:
        init = init_of(container)
        lines = docker("top", container, "-o", "pid,stat,args").splitlines()[1:]
    except AssertionError as error:
        if re.search(r"No such (object|container)|is not running", str(error), re.IGNORECASE):
            return []
        raise
    return [line for line in lines if int(line.split()[0]) != init and not line.endswith("/agent link")]


def one_line(done: "subprocess.CompletedProcess[bytes]", *words: str) -> str:
    """Check that dx itself failed as it should: 125 and one line with these words; the line."""
    text = done.stderr.decode()
    assert done.returncode == 125, (done.returncode, done.stdout, text)
    assert text.startswith("dx: "), text
    assert text.find("\n") == len(text) - 1, text
    assert not done.stdout, done.stdout
    for word in words:
        assert word in text, text
    return text


class Held:
    """A run of a shell that tells that it has begun, then ends with a status when it is let go."""

    def __init__(self, house: House, image: str, status: int = 0) -> None:
        script = f"echo begun; read word; exit {status}"
        pipe = subprocess.PIPE
        self.process = house.popen(["run", image, "sh", "-c", script], stdin=pipe, stdout=pipe, stderr=pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def begun(self) -> Self:
        """Wait until the command runs."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == b"begun\n", (line, self.process.stderr and self.process.stderr.read())
        return self

    def go(self) -> "subprocess.CompletedProcess[bytes]":
        """Let it end."""
        with suppress(BrokenPipeError):
            out, err = self.process.communicate(b"go\n", timeout=DEADLINE_S)
        return subprocess.CompletedProcess([], self.process.returncode, out, err)


def kill_daemon(house: House) -> None:
    """SIGKILL, and wait until it is gone."""
    house.stop(signal.SIGKILL)


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has taken effect."""
    return " (stopped)" in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")


def stop_process(pid: int) -> None:
    """SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)
