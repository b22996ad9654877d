"""The door to Docker Compose: reads projects, makes and removes what they consist of.

    compose = Compose(engine.address)
    project, warnings = await compose.read(Source(Path("/home/me/shop"), environ=os.environ))

Made by `app`, used by `services`. Each call is one process of Compose, in the directory and with the environment of
whoever asked, told which engine dx uses. It ends when its caller is cancelled, and after its deadline. Fails with
`BadCompose` (the files), `ComposeMissing`, `ComposeFailed`, `PortTaken`, `ImageMissing`, and what finding the engine
raises. Environments are never told to a log, nor are they arguments.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dxd.compose import complaint, files, override, program, read, sources, unread
from dxd.compose.model import Project, ProjectName, ServiceName, Source
from dxd.errors import BadCompose, BuildFailed, ComposeFailed
from dxd.kit.progress import Progress, Silent

READ_S = 30.0
MAKE_S = 1800.0
"""Images are pulled and built meanwhile."""
STOP_S = 600.0
"""Services may take their `stop_grace_period` to end."""
GRACE_S = 10.0
"""For Compose itself to end once it is asked to."""
MAX_OUTPUT_BYTES = 32 << 20

_ALONE = ("--no-start", "--no-deps", "--no-build")
# Never `--yes`: where the file says something else of a volume, Compose asks whether it may empty it.

KEPT = frozenset(
    "PATH HOME USER LOGNAME LANG TMPDIR XDG_CONFIG_HOME XDG_RUNTIME_DIR SSH_AUTH_SOCK SSL_CERT_FILE SSL_CERT_DIR"
    " HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy ftp_proxy no_proxy all_proxy".split()
)
"""Variables that Compose itself goes by; besides, those that begin with one of `KEPT_PREFIXES`."""
KEPT_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "BUILDX_", "LC_")


class Compose:
    """Docker Compose on this machine. May be used by any number of tasks at the same time."""

    def __init__(
        self,
        address: Callable[[], Awaitable[str]],
        *,
        overrides: Path,
        find: Callable[[], Awaitable[program.Program]] = program.find,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`address` says where the engine is, as DOCKER_HOST has it; `overrides` is a directory for what is said beside
        projects' own files; `variables` say where this dx is, to a provider of Compose's that is dx as well.
        """
        self._address = address
        self._overrides = overrides
        self._variables = variables or {}
        self._find = find
        self._program: program.Program | None = None
        self._finding = asyncio.Lock()

    async def read(self, source: Source) -> tuple[Project, list[str]]:
        """The project as the files say now, and what Compose warns of. Needs no engine."""
        everything = ("--profile", "*", "config", "--format", "json")
        found = await asyncio.to_thread(sources.find, source)
        tasks = [
            asyncio.create_task(each, name="compose config")
            for each in (
                self._config(source, "config", "--format", "json"),
                self._config(source, *everything, "--no-interpolate", "--no-env-resolution", quiet=True),
                self._config(source, *everything, "--variables", quiet=True),
            )
        ]
        try:
            (document, warnings), (written, _), (listed, _) = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                if not task.cancelling():  # a second one would cut short how it ends its process
                    task.cancel()
            await asyncio.wait(tasks)
        if not written:
            written = await self._interpolated(source)
        texts = [*found.values, *([] if listed else found.written)]
        try:
            unread.refuse_misplaced(written)
            project = read.project(document, written, listed)
        except BadCompose as error:
            raise await asyncio.to_thread(complaint.placed, error, [*found.written]) from None
        more = await asyncio.to_thread(_referred, texts)
        project = replace(project, needs=project.needs | more, env_files=tuple(map(str, found.values)))
        return project, [*warnings, *unread.warnings(document)]

    async def create(
        self,
        source: Source,
        name: ProjectName,
        services: Iterable[ServiceName] = (),
        *,
        progress: Progress | None = None,
        recreate: bool = False,
        build: bool = False,
        supplied: bool = False,
    ) -> None:
        """Make networks, volumes and containers, started none; those that are as the files say stay as they are.

        With `supplied` all images are there that are to be, and none is asked for at a registry.
        """
        # Never `--yes`: where the file says something else of a volume, Compose asks whether it may empty it.
        images = ["--pull", "never"] if supplied else ["--build"] * build
        options = [*["--force-recreate"] * recreate, *images]
        await self._act(source, name, "create", *options, *sorted(services), deadline_s=MAKE_S, progress=progress)

    async def build(
        self, source: Source, name: ProjectName, services: Sequence[ServiceName], progress: Progress
    ) -> None:
        """Build services' images under the names that Compose has for them; raises `BuildFailed`."""
        try:
            await self._act(source, name, "build", *services, deadline_s=MAKE_S, progress=progress)
        except ComposeFailed as error:
            raise BuildFailed(error.message, f"see: docker compose build {' '.join(services)}") from None

    async def pull(
        self, source: Source, name: ProjectName, services: Sequence[ServiceName], progress: Progress, *, strict: bool
    ) -> None:
        """Pull services' images, there or not; only a `strict` one minds those that cannot be had."""
        options = ["--policy", "always", *["--ignore-pull-failures"] * (not strict)]
        await self._act(source, name, "pull", *options, *services, deadline_s=MAKE_S, progress=progress)

    async def another(self, source: Source, name: ProjectName, service: ServiceName, total: int) -> None:
        """Make containers of a service until there are so many, and leave those that are there as they are."""
        options = (*_ALONE, "--no-recreate", "--scale", f"{service}={total}")
        await self._act(source, name, "up", *options, service, deadline_s=MAKE_S)

    async def anew(self, source: Source, name: ProjectName, service: ServiceName) -> None:
        """Make a service's containers anew where they are not as the files say, and nothing else."""
        await self._act(source, name, "up", *_ALONE, service, deadline_s=MAKE_S)

    async def hashes(self, source: Source) -> dict[ServiceName, str]:
        """What Compose puts into the label of a container that is as the files say now."""
        arguments = [*await self._files(source), *_named(source), "config", "--hash", "*"]
        status, out, err = await self._run(source, arguments, deadline_s=READ_S, doing="config")
        if status:
            raise complaint.failure(err, directory=source.directory, files=source.files, doing="config")
        words = [line.split() for line in out.splitlines()]
        return {ServiceName(each[0]): each[1] for each in words if len(each) == 2}

    async def start(self, source: Source, name: ProjectName, service: ServiceName) -> None:
        """Start a service in Compose's own way, hooks and all; it waits for dependencies itself."""
        await self._act(source, name, "start", service, deadline_s=STOP_S)

    async def stop(self, source: Source, name: ProjectName, service: ServiceName) -> None:
        """Stop a service in Compose's own way, hooks and all."""
        await self._act(source, name, "stop", service, deadline_s=STOP_S)

    async def down(
        self, source: Source, name: ProjectName, *, volumes: bool = False, progress: Progress | None = None
    ) -> None:
        """Remove the containers and networks of a project, its named volumes only where that is asked for.

        Works from the containers' labels, so that files which are gone or broken are no hindrance.
        """
        bare = Source(Path("/"), (), name, (), source.environ)
        options = ["--remove-orphans", *["--volumes"] * volumes]
        await self._act(bare, name, "down", *options, deadline_s=STOP_S, progress=progress, away=True)

    async def forget(self, name: ProjectName) -> None:
        """Keep nothing of what was said beside a project's files."""
        await asyncio.to_thread(override.remove, self._overrides, name)

    async def on_terminal(self, name: ProjectName) -> tuple[tuple[str, ...], dict[str, str]]:
        """How to call Compose for this project on a terminal, and the variables to set for it."""
        found = await self._found()
        return (*found.argv, "--project-name", name), {"DOCKER_HOST": await self._address()}

    async def _config(
        self, source: Source, *arguments: str, quiet: bool = False
    ) -> tuple[dict[str, object], list[str]]:
        """The JSON that it prints, with its warnings; where it fails and is `quiet`, nothing."""
        arguments = (*_given(source), *_named(source), *arguments)
        status, out, err = await self._run(source, arguments, deadline_s=READ_S, doing="config")
        if status and quiet:
            return {}, []
        if status:
            raise complaint.failure(err, directory=source.directory, files=source.files, doing="config")
        try:
            document = json.loads(out)
        except ValueError:
            raise ComposeFailed("compose config printed what is no JSON", "update Docker Compose") from None
        if not isinstance(document, dict):
            raise BadCompose(f"the compose file in {source.directory} is empty")
        return document, complaint.warnings(err)

    async def _interpolated(self, source: Source) -> dict[str, object]:
        """What stands in for the document without interpolation where Compose cannot make that, because the path of an
        include has a variable. Its JSON has no `x-dx`, its YAML has.
        """
        status, out, err = 1, "", ""
        for profiles in (("*",), source.profiles):
            arguments = (*_given(source), *_named(replace(source, profiles=profiles)))
            arguments = (*arguments, "config", "--no-env-resolution")
            status, out, err = await self._run(source, arguments, deadline_s=READ_S, doing="config")
            if not status:
                return dict(await asyncio.to_thread(read.yaml_table, out))
        raise complaint.failure(err, directory=source.directory, files=source.files, doing="config")

    async def _act(
        self,
        source: Source,
        name: ProjectName,
        verb: str,
        *arguments: str,
        deadline_s: float,
        progress: Progress | None = None,
        away: bool = False,
    ) -> None:
        profiles = [each for profile in source.profiles for each in ("--profile", profile)]
        given = [] if away else await self._files(source)
        # With the option, and no files given, Compose would not read the file; the variable says only what its name is.
        named = ["--project-name", name] if away else []
        source = replace(source, environ={**source.environ, "COMPOSE_PROJECT_NAME": name})
        argv = [*given, *named, *profiles, verb, *arguments]
        status, _, err = await self._run(
            source, argv, deadline_s=deadline_s, doing=verb, progress=progress, engine=await self._address(), away=away
        )
        if status:
            raise complaint.failure(err, directory=source.directory, files=source.files, doing=verb)

    async def _files(self, source: Source) -> list[str]:
        """The options that name files: none where Compose looks for itself and is told nothing beside."""
        if not source.ports or source.name is None:
            return _given(source)
        given = [*source.files] or await self._found_files(source)
        try:
            more = await asyncio.to_thread(override.keep, self._overrides, ProjectName(source.name), source.ports)
        except OSError as error:
            raise ComposeFailed(f"{self._overrides}: {error.strerror}", "make room there, or it writable") from None
        return [each for file in (*given, str(more)) for each in ("--file", file)]

    async def _found_files(self, source: Source) -> list[str]:
        """Those that Compose reads of itself: as soon as one is named, it looks for none."""
        if await asyncio.to_thread(files.named_by_variables, source.directory, source.environ):
            status, out, err = await self._run(source, ["config", "--environment"], deadline_s=READ_S, doing="config")
            if status:
                raise complaint.failure(err, directory=source.directory, files=(), doing="config")
            environ = dict(line.partition("=")[::2] for line in out.splitlines())
            if listed := environ.get("COMPOSE_FILE"):
                return listed.split(environ.get("COMPOSE_PATH_SEPARATOR") or ":")
        if found := await asyncio.to_thread(files.found_by_compose, source.directory):
            return found
        raise BadCompose(f"there is no compose file in {source.directory}", "name one with --file")

    async def _run(
        self,
        source: Source,
        arguments: Sequence[str],
        *,
        deadline_s: float,
        doing: str,
        progress: Progress | None = None,
        engine: str | None = None,
        away: bool = False,
    ) -> tuple[int, str, str]:
        found = await self._found()
        environ = _environ(source.environ, engine, away=away)
        if engine is not None:
            environ |= self._variables
        try:
            process = await asyncio.create_subprocess_exec(
                *(*found.argv, "--ansi", "never", "--progress", "json", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=source.directory,
                env=environ,
                start_new_session=True,
            )
        except FileNotFoundError:
            if not source.directory.is_dir():
                raise BadCompose(
                    f"the directory {source.directory} is gone", "dx forget ends what is kept of it"
                ) from None
            self._program = None
            raise ComposeFailed(f"{found.argv[0]} is gone", "try again") from None
        except OSError as error:
            raise ComposeFailed(f"{found.argv[0]}: {error.strerror}", "") from None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(deadline_s):
                out, err = await asyncio.gather(
                    _drain(process.stdout, Silent()), _drain(process.stderr, progress or Silent())
                )
                status = await process.wait()
        except TimeoutError:
            raise ComposeFailed(f"compose {doing} took more than {deadline_s / 60:g} minutes", "try again") from None
        finally:
            await _end(process)
        return status, out, err

    async def _found(self) -> program.Program:
        async with self._finding:
            if self._program is None:
                self._program = await self._find()
            return self._program


def kept(environ: Mapping[str, str], needs: Iterable[str]) -> dict[str, str]:
    """Of an environment what reading the project again needs."""
    wanted = KEPT | set(needs)
    return {key: value for key, value in environ.items() if key in wanted or key.startswith(KEPT_PREFIXES)}


def _given(source: Source) -> list[str]:
    return [each for file in source.files for each in ("--file", file)]


def _named(source: Source) -> list[str]:
    name = [] if source.name is None else ["--project-name", source.name]
    return [*name, *(each for profile in source.profiles for each in ("--profile", profile))]


def _environ(given: Mapping[str, str], engine: str | None, *, away: bool) -> dict[str, str]:
    """The caller's, with the engine that dx uses in place of the one that it may name."""
    environ = {**given}
    environ.setdefault("PATH", os.environ.get("PATH", os.defpath))
    environ.setdefault("HOME", os.environ.get("HOME", "/"))
    environ.pop("DOCKER_CONTEXT", None)
    if away:
        for key in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES"):
            environ.pop(key, None)
    if engine is not None:
        environ["DOCKER_HOST"] = engine
    return environ


async def _drain(stream: asyncio.StreamReader, progress: Progress) -> str:
    """All that comes, up to a limit; of lines that tell progress, the text is passed on."""
    kept = bytearray()
    rest = b""
    while data := await stream.read(65536):
        if len(kept) < MAX_OUTPUT_BYTES:
            kept += data
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _tell(line, progress)
        rest = rest[-65536:]
    return kept.decode(errors="replace")


def _tell(line: bytes, progress: Progress) -> None:
    try:
        record = json.loads(line)
        if isinstance(record, dict) and record.get("id"):
            progress.progress(f"{record['id']} {str(record.get('text') or '').lower()}")
        elif isinstance(record, dict) and record.get("level") == "warning":
            progress.note(str(record.get("msg")))
    except ValueError:
        if text := line.decode(errors="replace").strip():
            progress.progress(text)


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that it has ended, with what it started."""
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await process.wait()
                return


def _referred(files: Sequence[Path]) -> frozenset[str]:
    found: set[str] = set()
    for file in files:
        with suppress(OSError):
            found |= read.references(file.read_text(errors="replace"))
    return frozenset(found)
