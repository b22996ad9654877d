"""What the engine does with registries: it fetches images, sends them, and asks what a name means there.

Each time with the login that the user has for that registry now. Used by `Engine` alone; holds nothing. Raises
`EngineDown`, `EngineTimeout`, `EngineError`, and what a method says besides.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from dxd.engine import pull, push, reference
from dxd.engine.address import config_dir
from dxd.engine.answer import Answer
from dxd.engine.logins import registry_auth
from dxd.engine.reach import Reach
from dxd.errors import EngineDown, ImageMissing, PushFailed
from dxd.kit.progress import Progress

SILENCE_S = 120.0
"""A download that stands still for longer does not come back; neither does an upload."""
DEADLINE_S = 15.0
"""For the one question to a registry: less than clients wait for an answer."""


class Registries:
    """All of them, by way of the engine."""

    def __init__(self, reach: Reach, environ: Mapping[str, str]) -> None:
        self._reach = reach
        self._environ = environ

    async def pull(self, ref: str, progress: Progress) -> bool:
        """Fetch an image; returns whether the engine said that it holds it, which not every engine does.

        Raises `ImageMissing` or `WrongArchitecture` where it cannot be had. Cancelling it ends the pull.
        """
        name = reference.parse(ref)
        if name is None:
            raise ImageMissing(
                f"there is no image {ref!r} on this machine, and no registry can have one of that name",
                "check the name",
            )
        headers = await self._login(name)
        params = {"fromImage": name.repository, "tag": name.tag}
        try:
            async with self._reach.stream(
                "POST", "images/create", params, headers=headers, silence_s=SILENCE_S
            ) as records:
                return await pull.follow(records, ref, progress)
        except Answer as answer:
            raise pull.failure(ref, answer.reason) from None

    async def push(self, ref: str, progress: Progress) -> str:
        """Send the image of that name to its registry, with the user's login; returns its digest there.

        Raises `PushFailed`. Cancelling it ends the push.
        """
        name = reference.parse(ref)
        if name is None or name.is_digest:
            raise PushFailed(f"no registry can take an image called {ref!r}", "write it like ghcr.io/team/tool:1")
        headers = {"X-Registry-Auth": push.NO_LOGIN, **await self._login(name)}
        try:
            async with self._reach.stream(
                "POST", f"images/{name.repository}/push", {"tag": name.tag}, headers=headers, silence_s=SILENCE_S
            ) as records:
                digest = await push.follow(records, ref, progress)
        except Answer as answer:
            raise push.failure(ref, answer.reason) from None
        if not digest:
            raise EngineDown(f"the engine broke off pushing {ref}", "try again")
        return digest

    async def digest(self, ref: str) -> str:
        """The digest that a registry has for a name now, with the user's login; nothing is pulled.

        Raises `ImageMissing` where that cannot be had.
        """
        name = reference.parse(ref)
        if name is None:
            raise ImageMissing(f"no registry can have an image called {ref!r}", "check the name")
        headers = await self._login(name)
        separator = "@" if name.is_digest else ":"
        connection = await self._reach.found()
        try:
            async with asyncio.timeout(DEADLINE_S):
                with self._reach.noting():
                    told = await connection.get(
                        f"distribution/{name.repository}{separator}{name.tag}/json", {}, headers
                    )
        except Answer as answer:
            raise pull.unknown(ref, answer.reason) from None
        except TimeoutError:
            raise pull.unknown(ref, f"timeout after {DEADLINE_S:g} s") from None
        try:
            return str(told["Descriptor"]["digest"])
        except (LookupError, TypeError):
            raise pull.unknown(ref, "the engine's answer makes no sense") from None

    async def _login(self, name: reference.Reference) -> dict[str, str]:
        """The header with the user's login for a name's registry."""
        server = name.host or (await self._reach.facts()).index_server
        auth = await registry_auth(server, config_dir(self._environ, Path.home()), self._environ)
        return {"X-Registry-Auth": auth} if auth else {}
