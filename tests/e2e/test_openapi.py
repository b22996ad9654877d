"""The running daemon against its own document: whatever schemathesis thinks of, the answers are as described."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from requests.adapters import HTTPAdapter
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.house import DEADLINE_S, ME, House

APART = "^(stopDaemon|followEvents)$"
"""One ends the daemon and one never ends: both have tests of their own."""


class UnixAdapter(HTTPAdapter):
    """Lets `requests` speak to a Unix socket, whatever the address says."""

    def __init__(self, path: str) -> None:
        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(DEADLINE_S)
                sock.connect(path)
                return sock

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool = Pool("dx")
        super().__init__()

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """The one pool."""
        return self._pool

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()
        super().close()


@pytest.fixture(scope="module")
def served(image: str) -> Iterator[House]:
    with House(ME) as house:
        house.define(f'[tools.busy]\nimage = "{image}"\ncommands = ["echo"]\n')
        house.start()
        yield house


@pytest.fixture(scope="module")
def session(served: House) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://dx", UnixAdapter(str(served.socket)))
        yield session


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_every_operation(session: requests.Session, mode: schemathesis.GenerationMode) -> None:
    """Good and bad requests alike get an answer of a described status, type and shape, and never a 500."""
    document = session.get("http://dx/v1/openapi.json").json()
    operations = schemathesis.openapi.from_dict(document).exclude(operation_id_regex=APART).get_all_operations()
    tried = 0
    for each in operations:
        assert isinstance(each, Ok)
        operation = each.ok()
        tried += 1

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case[Any]) -> None:
            # The right shape may still mean nothing (422): no schema says that a tool has an image or a build.
            case.call_and_validate(
                "http://dx", session=session, timeout=DEADLINE_S, excluded_checks=[positive_data_acceptance]
            )

        with suppress(Unsatisfiable):  # an operation without parameters has no bad ones
            check()
    assert tried > 12


def test_the_daemon_is_none_the_worse(served: House, session: requests.Session) -> None:
    """After all that it still runs things."""
    done = served.run(["echo", "still here"])
    assert (done.returncode, done.stdout) == (0, b"still here\n")
    assert session.get("http://dx/v1/status").json()["ready"]


def test_events_tell_of_a_run(house: House, image: str) -> None:
    """A stream that was opened before a run has its beginning and its end, one JSON object on a line."""
    house.start()
    connection = http.client.HTTPConnection("dx")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(DEADLINE_S)
    connection.sock.connect(str(house.socket))
    connection.request("GET", "/v1/events")
    with connection.getresponse() as stream:
        assert stream.getheader("Content-Type") == "application/x-ndjson"
        assert house.run([image, "sh", "-c", "exit 3"]).returncode == 3
        kinds: list[str] = []
        while "run.finished" not in kinds:
            line = stream.readline()
            if line.strip():
                event = json.loads(line)
                kinds.append(event["kind"])
        assert event["exit_code"] == 3
    connection.close()
    assert kinds.index("run.started") < kinds.index("run.finished")
    assert "container.ready" in kinds
