"""One engine that answers: the calls that aiodocker makes well, and the streams that it does not.

Every failure leaves as one of our errors: `EngineDown` (not reached, or cut off), `EngineTimeout`, `Answer` (it said
no) or `EngineError`. Owned by `docker.Engine`, which loads this module when it first connects: it imports aiodocker.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import aiohttp
from aiodocker import Docker, DockerError
from yarl import URL

from dxd.engine import address as addresses
from dxd.engine import exec as execs
from dxd.engine import output as outputs
from dxd.engine.answer import Answer, Records
from dxd.errors import EngineDown, EngineError, EngineTimeout

T = TypeVar("T")

_NO_DEADLINE = aiohttp.ClientTimeout()
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 0.5
"""Between two looks at a program of which nothing is to be read any more; the engine tells nobody of its end."""
HUNG_HINT = "see whether it is overloaded, or restart it (`sudo systemctl restart docker`)"


class Connection:
    """The way to the engine at one address; connections are made when needed and kept in a pool without a limit."""

    def __init__(self, address: str, *, environ: Mapping[str, str], deadline_s: float) -> None:
        self.address = address
        self._deadline_s = deadline_s
        self.version = ""
        self.api_version = ""
        self.architecture = ""
        self.log_drivers: tuple[str, ...] | None = None
        self.index_server = ""
        self._at = addresses.parse(address, environ)
        match self._at:
            case addresses.UnixAddress(path):
                self._connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path, limit=0)
                self._base = "http://engine"
            case addresses.TcpAddress(host, port):
                self._connector = aiohttp.TCPConnector(limit=0)
                self._base = str(URL.build(scheme="http", host=host, port=port))
        self._session = aiohttp.ClientSession(connector=self._connector, timeout=_NO_DEADLINE)
        self._docker: Docker | None = None

    async def probe(self) -> None:
        """Ask the engine for its version; raises `OSError` where nobody listens, for `addresses.explain`."""
        try:
            with self._translated():
                async with self._session.get(f"{self._base}/version") as response:
                    if response.status != 200:
                        raise Answer(response.status, await _message(response))
                    version = json.loads(await response.read())
                self.version, self.architecture = str(version["Version"]), str(version["Arch"])
                api_version = str(version["ApiVersion"])
        except EngineDown as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise
        if self._docker is None or api_version != self.api_version:
            # The version is pinned, else aiodocker would ask for it once more.
            self._docker = Docker(
                url=self._base, connector=self._connector, session=self._session, api_version=f"v{api_version}"
            )
            self.api_version, self.log_drivers = api_version, None

    async def close(self) -> None:
        """Close every connection, those in use as well."""
        await self._session.close()

    async def call(self, work: Callable[[Docker], Awaitable[T]]) -> T:
        """One call through aiodocker; the caller sets the deadline."""
        assert self._docker is not None
        with self._translated():
            return await work(self._docker)

    async def ping(self) -> None:
        """Raise `EngineTimeout` or `EngineDown` unless the engine answers now."""
        with self._translated():
            async with asyncio.timeout(self._deadline_s):
                async with self._session.get(f"{self._base}/_ping") as response:
                    await response.read()

    async def post(self, path: str, params: Mapping[str, str]) -> None:
        """A request whose answer does not matter; the caller sets the deadline."""
        with self._translated():
            async with self._session.post(f"{self._base}/v{self.api_version}/{path}", params=params) as response:
                await response.read()

    async def post_checked(self, path: str, params: Mapping[str, str]) -> None:
        """A request without a body whose answer says only whether it was done; the caller sets the deadline."""
        await self._send("POST", path, params, None)

    async def put(self, path: str, params: Mapping[str, str], data: bytes) -> None:
        """Send a tar archive; the caller sets the deadline."""
        await self._send("PUT", path, params, data)

    async def _send(self, method: str, path: str, params: Mapping[str, str], data: bytes | None) -> None:
        headers = {} if data is None else {"Content-Type": "application/x-tar"}
        with self._translated():
            async with self._session.request(
                method, f"{self._base}/v{self.api_version}/{path}", params=params, data=data, headers=headers
            ) as response:
                if response.status >= 400:
                    raise Answer(response.status, await _message(response))
                await response.read()

    async def get(self, path: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that a path answers with; the caller sets the deadline."""
        with self._translated():
            async with self._session.get(
                f"{self._base}/v{self.api_version}/{path}", params=params, headers=headers
            ) as response:
                if response.status != 200:
                    raise Answer(response.status, await _message(response))
                return json.loads(await response.read())

    async def tell(self, path: str, body: object) -> Any:
        """Post JSON, and get the JSON that comes back, None for nothing; the caller sets the deadline."""
        with self._translated():
            async with self._session.post(f"{self._base}/v{self.api_version}/{path}", json=body) as response:
                if response.status == 304:
                    raise Answer(409, "it is not running")
                if response.status >= 400:
                    raise Answer(response.status, await _message(response))
                data = await response.read()
                return json.loads(data) if data.strip() else None

    async def run(
        self,
        container: str,
        argv: Sequence[str],
        settings: Mapping[str, object] | None = None,
        *,
        limit_bytes: int,
        began: Callable[[str], None] = lambda _: None,
    ) -> tuple[int, bytes]:
        """Run a program beside a container's own to the end: status, and the first of what it prints.

        `settings` are the engine's, of an exec; `began` is told the engine's id of it. The caller sets the deadline; a
        program that outlasts it goes on.
        """
        config = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), **(settings or {})}
        made = str((await self.tell(f"containers/{container}/exec", config))["Id"])
        began(made)
        printed = bytearray()
        with self._translated():
            url = f"{self._base}/v{self.api_version}/exec/{made}/start"
            async with self._session.post(url, json={"Detach": False, "Tty": False}) as response:
                if response.status >= 400:
                    raise Answer(response.status, await _message(response))
                while data := await response.content.readany():
                    printed += data[: limit_bytes - len(printed)]
        return await self._status(made), execs.unframed(bytes(printed))

    async def _status(self, made: str) -> int:
        """With what a program ended: one may close its output, and go on. The caller sets the deadline."""
        pause_s = FIRST_LOOK_S
        while True:
            state = await self.get(f"exec/{made}/json", {})
            if (status := state.get("ExitCode")) is not None:
                return int(status)
            if not state.get("Running"):
                raise EngineError("the engine does not say how a program in a container ended", "try again")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_LOOK_S)

    async def answers_anew(self) -> bool:
        """Whether it takes new connections, as one that is about to stop does not; the caller sets the deadline."""
        match self._at:
            case addresses.UnixAddress(path):
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path)
            case addresses.TcpAddress():
                connector = aiohttp.TCPConnector()
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(f"{self._base}/_ping") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def execute(self, container: str, argv: Sequence[str], inner: asyncio.Protocol) -> None:
        """Begin a program in a container, as root; `inner` gets the connection. The caller sets the deadline."""
        config = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), "User": "0:0"}
        with self._translated():
            async with self._session.post(
                f"{self._base}/v{self.api_version}/containers/{container}/exec", json=config
            ) as response:
                if response.status != 201:
                    raise Answer(response.status, await _message(response))
                made = json.loads(await response.read())["Id"]
            try:
                await execs.begin(self._connect, f"/v{self.api_version}/exec/{made}/start", inner)
            except OSError as error:
                raise self._down(None) from error

    async def output(self, container: str, params: Mapping[str, str], *, tty: bool) -> outputs.Output:
        """What a container prints; the caller sets the deadline, and closes it."""
        query = "&".join(f"{key}={value}" for key, value in params.items())
        path = f"/v{self.api_version}/containers/{container}/logs?{query}"
        with self._translated():
            try:
                return await outputs.begin(self._connect, path, tty=tty)
            except OSError as error:
                raise self._down(None) from error

    def _connect(self, make: Callable[[], asyncio.Protocol]) -> "asyncio.Future[object]":
        loop = asyncio.get_running_loop()
        match self._at:
            case addresses.UnixAddress(path):
                return asyncio.ensure_future(loop.create_unix_connection(make, path))
            case addresses.TcpAddress(host, port):
                return asyncio.ensure_future(loop.create_connection(make, host, port))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        data: AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float,
    ) -> AsyncIterator[Records]:
        """Make a request that is answered by a stream of JSON records.

        The engine may be silent for `silence_s` seconds, as long as it answers pings meanwhile; then it is
        `EngineTimeout`. Raises `Answer` where the engine refuses at once. Leaving the block cuts the connection, which
        is what cancels the work at the engine's end.
        """
        request = self._session.request(
            method,
            f"{self._base}/v{self.api_version}/{path}",
            params=params,
            data=data,
            headers=headers,
            # The body is not touched before the engine wants it, so that a refusal leaves it whole for another try.
            expect100=data is not None,
        )
        response = await self.patiently(request, silence_s)
        try:
            if response.status >= 400:
                raise Answer(response.status, await self.patiently(_message(response), silence_s))
            yield Records(lambda: self.patiently(response.content.readany(), silence_s))
        finally:
            response.close()

    async def patiently(self, work: Awaitable[T], silence_s: float) -> T:
        """Wait for the engine; every deadline that it stays silent, ask whether it is still there."""
        with self._translated():
            return await self._wait(work, silence_s)

    async def _wait(self, work: Awaitable[T], silence_s: float) -> T:
        task = asyncio.ensure_future(work)
        quiet_s = 0.0
        try:
            while True:
                patience_s = min(self._deadline_s, silence_s - quiet_s)
                done, _ = await asyncio.wait({task}, timeout=patience_s)
                if done:
                    return task.result()
                quiet_s += patience_s
                if quiet_s >= silence_s:
                    raise EngineTimeout(f"the engine was silent for {silence_s:g} s", "try again")
                await self.ping()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # seen, where something else was raised first

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what aiohttp and aiodocker raise into errors of ours."""
        try:
            yield
        except DockerError as error:
            if error.status == 900:  # aiodocker's own, for what aiohttp could not connect
                raise self._down(error.__context__) from _os_error(error.__context__)
            raise Answer(error.status, error.message) from None
        except TimeoutError:
            raise EngineTimeout(
                f"the engine at {self.address} does not answer within {self._deadline_s:g} s", HUNG_HINT
            ) from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise self._down(error) from _os_error(error)
        except (aiohttp.ClientError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError(
                f"the engine at {self.address} answered what dx does not understand"
                f" ({type(error).__name__}: {str(error)[:200]})",
                "is it a container engine that listens there?",
            ) from error

    def _down(self, error: BaseException | None) -> EngineDown:
        if cause := _os_error(error):
            return addresses.explain([(self.address, cause)])
        return EngineDown(f"the engine at {self.address} closed the connection", addresses.START_HINT)


def _os_error(error: BaseException | None) -> OSError | None:
    """What connecting failed with; None where the connection was made and then lost."""
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None


async def _message(response: aiohttp.ClientResponse) -> str:
    """What the engine says in a refusal."""
    text = (await response.read()).decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError):
        return text.strip()[:500] or str(response.reason)
