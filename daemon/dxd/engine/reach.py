"""The way to the engine: finding it, asking it in time, and remembering whether it answered."""

import asyncio
import importlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from dxd.engine.address import explain
from dxd.engine.answer import Answer, Records
from dxd.engine.model import EngineState, EngineStatus
from dxd.errors import EngineDown, EngineTimeout, EngineTrouble

if TYPE_CHECKING:
    from aiodocker import Docker

    from dxd.engine.connection import Connection

T = TypeVar("T")

_preloaded = threading.Event()


def preload() -> None:
    """Import what the first connection needs, a quarter of a second; may run in a thread."""
    importlib.import_module("dxd.engine.connection")
    importlib.import_module("dxd.engine.build")
    _preloaded.set()


class Reach:
    """One engine, wherever it is; used by `Engine` alone. Connects nothing before the first call."""

    def __init__(self, find: Callable[[], Sequence[str]], *, environ: Mapping[str, str], deadline_s: float) -> None:
        """`find` gives the candidates each time that the engine is looked for."""
        self._find = find
        self._environ = environ
        self._deadline_s = deadline_s
        self._connection: Connection | None = None
        self._trouble: EngineTrouble | None = None
        self._looking = asyncio.Lock()

    def status(self) -> EngineStatus:
        """What the last call found; asks nobody."""
        found = self._connection
        address, version = (found.address, found.version) if found else (None, None)
        if self._trouble:
            return EngineStatus(EngineState.DOWN, address, version, self._trouble.line())
        return EngineStatus(EngineState.UP if found else EngineState.UNKNOWN, address, version)

    async def close(self) -> None:
        """Cut every connection; calls that are under way fail."""
        if self._connection:
            await self._connection.close()
            self._connection = None

    def answered(self) -> None:
        """It does, in the middle of something long."""
        self._trouble = None

    async def call(self, work: "Callable[[Docker], Awaitable[T]]") -> T:
        """One call through aiodocker, looking for the engine included."""
        async with self.deadline():
            connection = await self.found()
            with self.noting():
                return await connection.call(work)

    async def facts(self) -> "Connection":
        """The connection, with what `/info` says about logging and the default registry."""
        async with self.deadline():
            connection = await self.found()
            if connection.log_drivers is None:
                with self.noting():
                    info = await connection.call(lambda docker: docker.system.info())
                connection.log_drivers = tuple((info.get("Plugins") or {}).get("Log") or ())
                connection.index_server = str(info.get("IndexServerAddress") or "")
        return connection

    async def found(self) -> "Connection":
        """The connection to the engine; looks for it where it was not found yet, or was lost."""
        if self._connection and not isinstance(self._trouble, EngineDown):
            return self._connection
        async with self._looking:
            if self._connection and not isinstance(self._trouble, EngineDown):
                return self._connection
            with self.noting():
                return await self._look()

    async def _look(self) -> "Connection":
        connection_module = await _load()
        tried: list[tuple[str, OSError]] = []
        for address in self._find():
            known = self._connection
            if known and known.address == address:
                connection = known
            else:
                connection = connection_module.Connection(address, environ=self._environ, deadline_s=self._deadline_s)
            try:
                await connection.probe()
            except OSError as error:
                tried.append((address, error))
            else:
                self._connection, connection = connection, known or connection
                return self._connection
            finally:
                if connection is not self._connection:
                    await connection.close()
        raise explain(tried)

    @asynccontextmanager
    async def deadline(self, deadline_s: float | None = None) -> AsyncIterator[None]:
        """Bound what is done, looking for the engine included; raises `EngineTimeout`."""
        deadline_s = deadline_s or self._deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                yield
        except TimeoutError:
            self._trouble = EngineTimeout(
                f"the engine does not answer within {deadline_s:g} s",
                "see whether it is overloaded, or restart it (`sudo systemctl restart docker`)",
            )
            raise self._trouble from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        silence_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Records]:
        """Raw records of the engine, as `Connection.stream` gives them."""
        async with self.deadline():
            connection = await self.found()
        with self.noting():
            async with connection.stream(method, path, params=params, headers=headers, silence_s=silence_s) as records:
                self.answered()
                yield records

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Remember whether the engine answered: a refusal is an answer too."""
        try:
            yield
        except (EngineDown, EngineTimeout) as error:
            self._trouble = error
            raise
        except Answer:
            self._trouble = None
            raise
        self._trouble = None


async def _load() -> ModuleType:
    """The only place that leads to aiodocker; imported in a thread, because the loop has others to serve."""
    if not _preloaded.is_set():  # a module that is being imported is in sys.modules already
        await asyncio.to_thread(preload)
    return sys.modules["dxd.engine.connection"]
