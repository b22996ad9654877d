import grp
import hashlib
import json
import os
from pathlib import Path

import pytest

from dxd.engine.address import TcpAddress, UnixAddress, explain, find_address, parse
from dxd.errors import EngineDown


def _context(config: Path, name: str, meta: str) -> None:
    folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(meta)


def _meta(host: str) -> str:
    return json.dumps({"Name": "it", "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})


def test_docker_host_beats_everything(tmp_path: Path) -> None:
    _context(tmp_path / ".docker", "other", _meta("unix:///other.sock"))
    environ = {"DOCKER_HOST": "unix:///mine.sock", "DOCKER_CONTEXT": "other"}
    assert find_address(environ, tmp_path) == ["unix:///mine.sock"]


def test_the_context_of_the_environment_beats_the_current_one(tmp_path: Path) -> None:
    config = tmp_path / ".docker"
    _context(config, "one", _meta("unix:///one.sock"))
    _context(config, "two", _meta("unix:///two.sock"))
    (config / "config.json").write_text(json.dumps({"currentContext": "one"}))
    assert find_address({}, tmp_path) == ["unix:///one.sock"]
    assert find_address({"DOCKER_CONTEXT": "two"}, tmp_path) == ["unix:///two.sock"]


def test_docker_config_moves_the_contexts(tmp_path: Path) -> None:
    config = tmp_path / "elsewhere"
    _context(config, "one", _meta("unix:///one.sock"))
    (config / "config.json").write_text(json.dumps({"currentContext": "one"}))
    assert find_address({"DOCKER_CONFIG": str(config)}, tmp_path) == ["unix:///one.sock"]


@pytest.mark.parametrize(
    "config", [None, "", "{", "[]", "{}", '{"currentContext": "default"}', '{"currentContext": 1}']
)
def test_without_a_context_the_usual_sockets_are_candidates(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(config)
    assert find_address({"XDG_RUNTIME_DIR": "/run/user/7"}, tmp_path) == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ]
    assert find_address({}, tmp_path) == ["unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"]
    assert find_address({"XDG_RUNTIME_DIR": "here"}, tmp_path) == find_address({}, tmp_path)


@pytest.mark.parametrize(
    "meta", [None, "", "[]", "{}", '{"Endpoints": {"docker": {}}}', '{"Endpoints": {"docker": {"Host": ""}}}']
)
def test_a_chosen_context_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, meta: str | None) -> None:
    if meta is not None:
        _context(tmp_path / ".docker", "away", meta)
    with pytest.raises(EngineDown) as raised:
        find_address({"DOCKER_CONTEXT": "away"}, tmp_path)
    assert "'away'" in raised.value.message
    assert "docker context use" in raised.value.hint


def test_addresses_that_can_be_used() -> None:
    assert parse("unix:///var/run/docker.sock", {}) == UnixAddress("/var/run/docker.sock")
    assert parse("tcp://127.0.0.1:2375", {}) == TcpAddress("127.0.0.1", 2375)
    assert parse("tcp://[::1]", {}) == TcpAddress("::1", 2375)
    assert parse("http://127.0.0.1:80/", {}) == TcpAddress("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("ssh://me@there", "over ssh"),
        ("npipe:////./pipe/docker_engine", "no address"),
        ("/var/run/docker.sock", "no address"),
        ("unix://relative.sock", "no address"),
        ("tcp://", "no address"),
        ("tcp://host:port", "no address"),
        ("", "no address"),
    ],
)
def test_addresses_that_are_refused_say_why(address: str, word: str) -> None:
    with pytest.raises(EngineDown, match=word) as raised:
        parse(address, {})
    assert raised.value.hint


def test_tls_is_refused_rather_than_spoken_without() -> None:
    with pytest.raises(EngineDown, match="TLS"):
        parse("tcp://127.0.0.1:2376", {"DOCKER_TLS_VERIFY": "1"})


def test_no_access_comes_before_a_socket_that_is_not_there(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    socket.touch(mode=0o660)
    error = explain(
        [
            ("unix:///missing.sock", FileNotFoundError(2, "No such file or directory")),
            (f"unix://{socket}", PermissionError(13, "Permission denied")),
        ]
    )
    assert error.message == f"no access to the engine's socket {socket}"
    assert error.hint


def test_no_access_to_a_group_socket_names_the_group(tmp_path: Path) -> None:
    group = next(each for each in grp.getgrall() if each.gr_gid == (os.getgid() or each.gr_gid) and each.gr_gid)
    socket = tmp_path / "docker.sock"
    socket.touch()
    os.chown(socket, -1, group.gr_gid)
    socket.chmod(0o660)
    error = explain([(f"unix://{socket}", PermissionError(13, "Permission denied"))])
    assert f"usermod -aG {group.gr_name} $USER" in error.hint


def test_nobody_listening_is_told_from_nothing_being_there() -> None:
    refused = explain([("unix:///a.sock", ConnectionRefusedError(111, "Connection refused"))])
    assert refused.line() == (
        "the engine does not run: nobody answers at /a.sock (connection refused); install Docker or start it"
        " (`sudo systemctl start docker`), or set DOCKER_HOST"
    )
    missing = explain([(f"unix:///{name}", FileNotFoundError(2, "No such file or directory")) for name in "ab"])
    assert missing.message == "no container engine found: there is no /a, /b"
