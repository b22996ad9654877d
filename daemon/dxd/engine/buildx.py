"""Building an image with `docker buildx`, where the user has that plugin: the engine's own BuildKit, with a session.

A session has what `POST /build` cannot give: the user's logins for whatever the builder itself fetches, secrets, and
the SSH agent. The context is the same archive as ever, on the program's standard input. Used by `Engine` alone.

The program is called itself, not by way of `docker`, so that what is ended is what builds. It ends with its caller's
task, and with the daemon, where there is a setpriv(1) to see to that.
"""

import asyncio
import csv
import io
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dxd.engine.address import config_dir, read_config
from dxd.engine.build import SILENCE_S, BuildRequest, Context
from dxd.engine.buildlog import BuildLog
from dxd.engine.connection import Connection
from dxd.engine.model import ImageId
from dxd.errors import BuildFailed, EngineDown
from dxd.kit.progress import Progress

SWITCH = "DX_BUILDX"
OLDEST = (0, 13)
"""The first that tells its progress as JSON."""
ASK_S = 10.0
GRACE_S = 3.0
"""For the program to end once it is told to; the engine has cancelled the build by then."""
MAX_RECORD_BYTES = 16 << 20
MAX_WORDS_BYTES = 16 << 10
BUILDER = "default"
"""The one that is the engine itself. Images of another, of the user's choosing, would have to be fetched from there."""

PLACES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
"""Where Docker's command line looks for plugins, after the user's own directories."""

_ASIDE = ("DOCKER_CONTEXT", "BUILDX_BUILDER", "SOURCE_DATE_EPOCH")
"""Variables that would have it build elsewhere, or something else than what its files say."""
_ITS_OWN = re.compile(r".*_proxy|(docker|buildx|buildkit|otel|xdg|ssh|ssl|ld|go)_.*|path|home|tmpdir", re.IGNORECASE)
"""Names of variables that the program itself goes by: a build argument of that name cannot be one of its variables."""
_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.\d+")
_BROKEN_OFF = re.compile(r"\bcode = Unavailable\b|\b(?:unexpected )?EOF$|connection reset by peer|broken pipe")


@dataclass(frozen=True, slots=True)
class Buildx:
    """The plugin, as it builds with one engine."""

    program: str
    version: str
    environ: Mapping[str, str]
    directory: Path | None = None
    """Where it writes which image it has made; None is that for temporary files."""

    async def build(
        self, connection: Connection, chunks: AsyncIterator[bytes], request: BuildRequest, progress: Progress
    ) -> ImageId:
        """Carry the build out; raises `BuildFailed`, and what reading the context raised."""
        await asyncio.to_thread(self._check, request)
        context, log = Context(chunks), request.log(progress)
        if self.directory is not None:
            self.directory.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dx-build-", dir=self.directory) as directory:
            file = Path(directory) / "image"
            process = await self._begin(request, file)
            try:
                words, status = await connection.patiently(_follow(process, context, log), SILENCE_S)
            except Exception:
                if context.failure:
                    raise context.failure from None
                raise
            finally:
                await _end(process)
            if status == 0 and (image := file.read_text().strip()):
                log.take({"aux": {"ID": image}})
                return ImageId(image)
        await connection.ping()  # else it is the engine that has failed
        reason = words.rpartition("ERROR: ")[2].strip() or f"docker buildx ended with status {status}"
        if _BROKEN_OFF.search(reason) and not log.has_failed:
            raise EngineDown(f"the engine broke off building {request.shown}", "try again")
        raise log.failure(reason)

    def _check(self, request: BuildRequest) -> None:
        """Say in dx's words what the program would say in its own; raises `BuildFailed`."""
        for name, path in request.secrets.items():
            try:
                path.open("rb").close()
            except OSError as error:
                reason = f"the secret {name} of {request.shown} cannot be read: {path}: {error.strerror}"
                raise BuildFailed(reason, "make it readable for you, or name another file in the definition") from None
        if request.ssh is True and not self.environ.get("SSH_AUTH_SOCK"):
            raise BuildFailed(
                f"{request.shown} is built with ssh, and the daemon knows no SSH agent",
                "dx daemon restart, where SSH_AUTH_SOCK is set; or name its socket, or a key: ssh = PATH",
            )
        if isinstance(request.ssh, Path) and not request.ssh.exists():
            raise BuildFailed(
                f"{request.shown} is built with ssh, and {request.ssh} is not there",
                "name an agent's socket, or a key; ssh = true is the agent of SSH_AUTH_SOCK",
            )

    async def _begin(self, request: BuildRequest, file: Path) -> asyncio.subprocess.Process:
        options = ["--builder", BUILDER, "--progress", "rawjson", "--provenance", "false", "--iidfile", str(file)]
        options += ["--file", request.dockerfile]
        options += ["--tag", request.tag] if request.tag else []
        options += ["--target", request.target] if request.target else []
        aside = {key: value for key, value in request.args.items() if not _ITS_OWN.fullmatch(key)}
        for key, value in request.args.items():  # as variables where possible: arguments can be read by everybody
            options += ["--build-arg", key if key in aside else f"{key}={value}"]
        options += [word for key, value in request.labels.items() for word in ("--label", f"{key}={value}")]
        options += [word for name, path in request.secrets.items() for word in ("--secret", _fields(id=name, src=path))]
        options += ["--ssh", "default" if request.ssh is True else f"default={request.ssh}"] if request.ssh else []
        return await asyncio.create_subprocess_exec(
            *_with_us(self.program, "build", *options, "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**self.environ, **aside},
            start_new_session=True,
        )


async def find(
    address: str, environ: Mapping[str, str], home: Path, directory: Path | None = None, *, patience_s: float = ASK_S
) -> Buildx | None:
    """The plugin, where there is one that is new enough and reaches a BuildKit at that engine."""
    environ = {key: value for key, value in environ.items() if key not in _ASIDE}
    environ["DOCKER_HOST"] = address
    for program in candidates(environ, home):
        found = _VERSION.search(await _ask((program, "version"), environ, patience_s))
        if found is None or (int(found[1]), int(found[2])) < OLDEST:
            continue
        told = await _ask((program, "inspect", BUILDER), environ, patience_s)
        if re.search(r"^Status:\s+running$", told, re.MULTILINE):
            return Buildx(program, found[0], environ, directory)
    return None


def candidates(environ: Mapping[str, str], home: Path) -> list[str]:
    """Where the plugin is, in the order of Docker's command line; nowhere where the user wants none of it."""
    if environ.get(SWITCH) == "0":
        return []
    config = config_dir(environ, home)
    extra = read_config(config).get("cliPluginsExtraDirs")
    more = [str(each) for each in extra] if isinstance(extra, list) else []
    found = (f"{directory}/docker-buildx" for directory in (str(config / "cli-plugins"), *more, *PLACES))
    return [each for each in found if os.access(each, os.X_OK)]


async def _ask(argv: Sequence[str], environ: Mapping[str, str], patience_s: float) -> str:
    """What it prints; nothing where it does not run, or not in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_with_us(*argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(patience_s):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        await _end(process)
    return out.decode(errors="replace")


def _with_us(*argv: str) -> Sequence[str]:
    """The command, told to end when the daemon does: the engine would go on for a program that goes on."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--", *argv) if setpriv else argv


def _fields(**fields: object) -> str:
    """As the program reads them: a line of CSV, in which a path may have a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{key}={value}" for key, value in fields.items()])
    return line.getvalue()


async def _follow(process: asyncio.subprocess.Process, context: Context, log: BuildLog) -> tuple[str, int]:
    """Feed the program and take what it tells; the words that are no progress, and its status."""
    assert process.stdin is not None
    assert process.stderr is not None
    feeding = asyncio.create_task(_feed(process, process.stdin, context), name="feed buildx")
    try:
        parts = Parts()
        while data := await process.stderr.read(65536):
            for record in parts.take(data):
                log.progressed(record)
        status = await process.wait()
    finally:
        feeding.cancel()  # it needs nothing more
        await asyncio.wait({feeding})
        error = None if feeding.cancelled() else feeding.exception()
    if error is not None:
        raise error
    return parts.words, status


async def _feed(process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter, context: Context) -> None:
    """Send the context; where that cannot be read, the end of the program is the end of it all."""
    try:
        # What ends early says why itself.
        with suppress(BrokenPipeError, ConnectionResetError):
            async for chunk in context:
                stdin.write(chunk)
                await stdin.drain()
    except Exception:
        with suppress(ProcessLookupError):
            process.terminate()
        raise
    finally:
        stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that it has ended, with what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await process.wait()


class Parts:
    """Takes apart what the program prints: JSON objects, on one line each or over several, and words between them."""

    def __init__(self) -> None:
        self.words = ""
        """The last of them."""
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._rest = b""

    def take(self, data: bytes) -> Iterator[Mapping[str, Any]]:
        """The objects that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-MAX_RECORD_BYTES:]
        for line in lines:
            if not self._open and not line.startswith(b"{"):
                self._say(line)
                continue
            self._open.append(line)
            self._open_bytes += len(line)
            if line.endswith(b"}") and (len(self._open) == 1 or line == b"}"):
                whole, self._open, self._open_bytes = b"\n".join(self._open), [], 0
                try:
                    yield json.loads(whole)
                except ValueError:
                    self._say(whole)
            elif self._open_bytes > MAX_RECORD_BYTES:
                self._open, self._open_bytes = [], 0

    def _say(self, line: bytes) -> None:
        self.words = f"{self.words}{line.decode(errors='replace')}\n"[-MAX_WORDS_BYTES:]
