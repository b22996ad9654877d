"""The user's logins to registries, as Docker's command line keeps them: in its config.json, or with a helper program.

Nothing here is kept: each pull reads anew, so `docker login` takes effect at once. A login that cannot be had is none,
because the pull then says what is missing.
"""

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dxd.engine.address import read_config

HELPER_DEADLINE_S = 10.0
"""A helper may have to ask a keyring; a prompt that nobody answers must not hold up the pull."""

_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


async def registry_auth(
    server: str, config: Path, environ: Mapping[str, str], *, deadline_s: float = HELPER_DEADLINE_S
) -> str:
    """The value of X-Registry-Auth for a server, named as in config.json; empty where there is no login."""
    login = await _login(server, read_config(config), environ, deadline_s)
    return base64.urlsafe_b64encode(json.dumps(login).encode()).decode() if login else ""


async def _login(
    server: str, config: Mapping[str, Any], environ: Mapping[str, str], deadline_s: float
) -> dict[str, str]:
    helpers, auths = config.get("credHelpers"), config.get("auths")
    helper = helpers.get(server) if isinstance(helpers, dict) else None
    if isinstance(helper := helper or config.get("credsStore"), str) and _HELPER_NAME.fullmatch(helper):
        return await _ask(helper, server, environ, deadline_s)
    if isinstance(auths, dict):
        for key, entry in auths.items():
            if _host(key) == _host(server) and isinstance(entry, dict):
                return _decode(entry, server)
    return {}


def _host(server: str) -> str:
    """Old entries are URLs, new ones hosts; both name the same server."""
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decode(entry: Mapping[str, Any], server: str) -> dict[str, str]:
    """One entry of `auths`."""
    if token := entry.get("identitytoken"):
        return {"identitytoken": str(token), "serveraddress": server}
    try:
        name, _, password = base64.b64decode(entry["auth"]).decode().rstrip("\0").partition(":")
    except (LookupError, ValueError, TypeError):
        return {}
    return _named(name, password, server)


def _named(name: str, password: str, server: str) -> dict[str, str]:
    return {"username": name, "password": password, "serveraddress": server} if name else {}


async def _ask(helper: str, server: str, environ: Mapping[str, str], deadline_s: float) -> dict[str, str]:
    """Run `docker-credential-HELPER get`."""
    try:
        process = await asyncio.create_subprocess_exec(
            f"docker-credential-{helper}",
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environ),
        )
    except OSError:
        return {}
    try:
        async with asyncio.timeout(deadline_s):
            output, _ = await process.communicate(server.encode())
        answer = json.loads(output)
        name, secret = str(answer["Username"]), str(answer["Secret"])
    except (TimeoutError, ValueError, LookupError, TypeError):
        return {}  # it also says "credentials not found" in this way
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if name == "<token>":
        return {"identitytoken": secret, "serveraddress": server}
    return _named(name, secret, server)
