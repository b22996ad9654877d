"""A real image registry on 127.0.0.1: Debian's docker-registry, behind a door that can be held half-open.

    with RealRegistry(tmp_path, login=True) as registry:
        ref = registry.push("FROM scratch\nCOPY ...", "tool:1")

Docker takes registries on 127.0.0.0/8 without TLS. The door keeps its port while the registry itself dies and comes
back, so that names of images stay as they are.
"""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.house import LOST
from tests.waiting import until

PROGRAM = "docker-registry"
USER, PASSWORD = "someone", "word"
_HASH = "$2y$05$./EXGxsw3wDNn1Of0kNPT.WKWMxFhvz/zg8vSsv2EKSAxNpm5t/RS"
"""Of the password, by `htpasswd -nbB`: the registry takes bcrypt only."""
DEADLINE_S = 60.0
_BLOCK_BYTES = 1 << 14


class RealRegistry:
    """One registry with storage of its own; runs from `with` to its end, but for what `kill` does."""

    def __init__(self, directory: Path, *, login: bool = False) -> None:
        """With `login` it serves nobody but USER."""
        self.directory = directory / "registry"
        self.directory.mkdir()
        self.login = login
        self._door = _Door(self.directory / "door")
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        config = self.directory / "config.json"  # JSON is YAML
        config.write_text(json.dumps(self._config()))
        config.with_name("users").write_text(f"{USER}:{_HASH}\n")
        self._config_file = config

    @property
    def host(self) -> str:
        """With its port, as it stands in names of images."""
        return f"127.0.0.1:{self._door.port}"

    @property
    def log(self) -> str:
        """What the registry wrote, requests too."""
        return (self.directory / "log").read_text(errors="replace")

    @property
    def passage(self) -> str:
        """The command that leads to it out of a network of another process's own."""
        root = Path(__file__).parents[2]
        return f"PYTHONPATH={root} {sys.executable} -m tests.fakes.passage {self._door.port} {self._door.path} &"

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._door.connections

    def ref(self, name: str) -> str:
        """The name of an image here."""
        return f"{self.host}/{name}"

    def push(self, dockerfile: str, name: str, context: Path | None = None) -> str:
        """Build an image and push it; returns its digest. It stays in the engine too, under its name."""
        ref = self.ref(name)
        where = [str(context), "--file", "-"] if context else ["-"]
        self._docker("build", "--quiet", "--tag", ref, *where, stdin=dockerfile.encode())
        self._docker("push", "--quiet", ref)
        told = self._docker("inspect", "--format", "{{json .RepoDigests}}", ref)
        repository = ref.rpartition(":")[0]
        digests: list[str] = json.loads(told)
        return next(each for each in digests if each.startswith(f"{repository}@")).rpartition("@")[2]

    def delete(self, name: str, digest: str) -> None:
        """Have the registry hold that image no more, nor any tag of it."""
        repository = name.partition(":")[0]
        request = Request(f"http://127.0.0.1:{self._port}/v2/{repository}/manifests/{digest}", method="DELETE")
        with urlopen(request, timeout=5) as answer:
            assert answer.status == 202

    def forget(self, *refs: str) -> None:
        """Have the engine hold these no more."""
        for ref in refs:
            subprocess.run(["docker", "image", "rm", "--force", ref], capture_output=True, timeout=DEADLINE_S)

    def docker_config(self, directory: Path, *, password: str = PASSWORD) -> Path:
        """A directory with a login to this registry, as `docker login` leaves one."""
        directory.mkdir(parents=True, exist_ok=True)
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        (directory / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return directory

    def start(self) -> None:
        """Have it answer."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", str(self._config_file)], stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "the registry answers", deadline_s=DEADLINE_S)
        self._door.lead_to(self._port)

    def kill(self) -> None:
        """SIGKILL: connections are cut, and new ones refused."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._door.lead_to(None)

    def hold(self, after_bytes: int) -> None:
        """Have the next answers stop after so many bytes, until `release` or `kill`."""
        self._door.hold(after_bytes)

    def release(self) -> None:
        """Let everything pass."""
        self._door.hold(None)

    def is_held(self) -> bool:
        """Whether an answer has come so far."""
        return self._door.held.is_set()

    def __enter__(self) -> Self:
        self._door.open()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._door.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def _docker(self, *arguments: str, stdin: bytes = b"") -> str:
        config = self.docker_config(self.directory / "docker")
        for _ in range(3):
            done = subprocess.run(
                ["docker", "--config", str(config), *arguments],
                input=stdin, capture_output=True, timeout=DEADLINE_S, env={**os.environ, "DOCKER_BUILDKIT": "0"},
            )  # fmt: skip
            if LOST not in done.stderr:
                break
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self._port}", "secret": "none"},
        }
        if self.login:
            config["auth"] = {"htpasswd": {"realm": "here", "path": str(self.directory / "users")}}
        return config


class _Door:
    """Forwards a port of 127.0.0.1 to another, in a thread with a loop of its own."""

    def __init__(self, path: Path) -> None:
        """`path` is for a Unix socket that leads the same way."""
        self.path = path
        self.held = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._target: int | None = None
        self._limit_bytes: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._inner: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(DEADLINE_S)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def lead_to(self, port: int | None) -> None:
        """To no port means that whoever comes is sent away, and those inside too."""
        self._target = port
        if port is None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cut)

    def hold(self, after_bytes: int | None) -> None:
        self.held.clear()
        self._limit_bytes = after_bytes
        self._loop.call_soon_threadsafe(self._released.set if after_bytes is None else self._released.clear)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._enter, sock=self._socket)
        self._inner = await asyncio.start_unix_server(self._enter, self.path)

    async def _end(self) -> None:
        assert self._server is not None
        assert self._inner is not None
        self._server.close()
        self._inner.close()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._target is None:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._answer(there, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_BLOCK_BYTES):
                writer.write(data)
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        with suppress(OSError):
            while data := await reader.read(_BLOCK_BYTES):
                passed += len(data)
                if self._limit_bytes is not None and passed > self._limit_bytes:
                    self.held.set()
                    await self._released.wait()
                writer.write(data)
                await writer.drain()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
