import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dxd.engine.logins import registry_auth

SERVER = "registry.example:5000"
AUTH = base64.b64encode(b"me:pass:word").decode()
LOGIN = {"username": "me", "password": "pass:word", "serveraddress": SERVER}


async def _auth(directory: Path, config: Any, server: str = SERVER) -> Any:
    (directory / "config.json").write_text(json.dumps(config))
    environ = {"PATH": f"{directory}:{os.environ['PATH']}"}
    encoded = await registry_auth(server, directory, environ)
    return json.loads(base64.urlsafe_b64decode(encoded)) if encoded else None


def _helper(directory: Path, name: str, script: str) -> None:
    file = directory / f"docker-credential-{name}"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


async def test_a_login_in_the_file_is_used(tmp_path: Path) -> None:
    assert await _auth(tmp_path, {"auths": {SERVER: {"auth": AUTH}}}) == LOGIN


async def test_an_old_entry_is_a_url_of_the_same_host(tmp_path: Path) -> None:
    server = "https://index.example/v1/"
    login = await _auth(tmp_path, {"auths": {"https://index.example/v1/": {"auth": AUTH}}}, server)
    assert login == LOGIN | {"serveraddress": server}
    assert await _auth(tmp_path, {"auths": {"https://registry.example:5000/v2/": {"auth": AUTH}}}) == LOGIN


async def test_a_token_goes_instead_of_a_password(tmp_path: Path) -> None:
    config = {"auths": {SERVER: {"auth": AUTH, "identitytoken": "t"}}}
    assert await _auth(tmp_path, config) == {"identitytoken": "t", "serveraddress": SERVER}


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        {"auths": []},
        {"auths": {SERVER: {}}},
        {"auths": {SERVER: None}},
        {"auths": {SERVER: {"auth": "%"}}},
        {"auths": {SERVER: {"auth": 7}}},
        {"auths": {"other.example": {"auth": AUTH}}},
        {"credsStore": "not-there"},
        {"credsStore": "../../bin/sh"},
        {"credHelpers": {SERVER: 3}},
    ],
)
async def test_no_login_or_a_broken_one_is_none(tmp_path: Path, config: Any) -> None:
    assert await _auth(tmp_path, config) is None


async def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert await registry_auth(SERVER, tmp_path / "missing", {}) == ""


async def test_a_helper_is_asked_for_the_server(tmp_path: Path) -> None:
    _helper(
        tmp_path,
        "one",
        """read server; test "$1 $server" = "get registry.example:5000" &&
           echo '{"ServerURL": "x", "Username": "me", "Secret": "pass:word"}'""",
    )
    assert await _auth(tmp_path, {"credsStore": "one"}) == LOGIN
    assert await _auth(tmp_path, {"credsStore": "other", "credHelpers": {SERVER: "one"}}) == LOGIN


async def test_a_helper_may_give_a_token(tmp_path: Path) -> None:
    _helper(tmp_path, "one", """echo '{"Username": "<token>", "Secret": "t"}'""")
    assert await _auth(tmp_path, {"credsStore": "one"}) == {"identitytoken": "t", "serveraddress": SERVER}


@pytest.mark.parametrize("script", ["echo 'credentials not found in native keychain'; exit 1", "echo '[]'", "exit 0"])
async def test_a_helper_without_a_login_gives_none(tmp_path: Path, script: str) -> None:
    _helper(tmp_path, "one", script)
    assert await _auth(tmp_path, {"credsStore": "one"}) is None


async def test_a_helper_that_asks_for_ever_is_ended(tmp_path: Path) -> None:
    _helper(tmp_path, "one", "exec cat /dev/zero >/dev/null")
    (tmp_path / "config.json").write_text('{"credsStore": "one"}')
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert await registry_auth(SERVER, tmp_path, environ, deadline_s=0.2) == ""
