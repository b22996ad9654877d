"""Every route but the lease, as a curl user meets it."""

import asyncio
import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dx import protocol
from dxd.engine.model import EngineState, EngineStatus
from dxd.errors import EngineDown
from dxd.runs.model import RunId, RunState
from tests.dxd.api.client import DEADLINE_S
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import CONTAINER, RUN, VIEW, FakeStatus
from tests.waiting import until_turned


class TestPaths:
    """What is not there, and what is not taken."""

    @pytest.mark.parametrize("path", ["/", "/v1", "/v2/status", "/v1/status/", "/v1/runs/7/x", "/%00", "/v1/tools/a/b"])
    async def test_an_unknown_path_is_404(self, edge: Edge, path: str) -> None:
        answer = await edge.call("GET", path)
        assert (answer.status, answer.code) == (404, "not-found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/v1/status", "GET,HEAD"),
            ("DELETE", "/v1/runs", "GET,HEAD,POST"),
            ("PATCH", "/v1/tools/x", "DELETE,GET,HEAD,PUT"),
            ("TRACE", "/v1/events", "GET,HEAD"),
            ("GET", "/v1/shims", "POST"),
            ("OPTIONS", "/v1/containers", "DELETE,GET,HEAD"),
        ],
    )
    async def test_another_method_is_405_with_those_there_are(
        self, edge: Edge, method: str, path: str, allowed: str
    ) -> None:
        answer = await edge.call(method, path)
        assert (answer.status, answer.code) == (405, "method-not-allowed")
        assert answer.headers["allow"] == allowed
        assert allowed.replace(",", ", ") in answer.json()["error"]["hint"]

    @pytest.mark.parametrize("path", ["/v1/status", "/v1/events", "/v1/runs", "/v1/openapi.json"])
    async def test_head_is_get_without_a_body(self, edge: Edge, path: str) -> None:
        """`curl -I`; the stream of events does not begin."""
        answer = await edge.call("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")

    async def test_an_unknown_parameter_is_refused(self, edge: Edge) -> None:
        """`?tol=jq` would otherwise remove every container."""
        for method, path in (("DELETE", "/v1/containers?tol=jq"), ("GET", "/v1/runs?x"), ("GET", "/v1/status?a=b")):
            answer = await edge.call(method, path)
            assert (answer.status, answer.code) == (400, "bad-request")
        assert edge.rooms.views == [VIEW]
        assert (await edge.call("GET", "/v1/runs?state=live&state=live")).status == 400


class TestDaemon:
    """Status, stop, the document."""

    async def test_status(self, edge: Edge) -> None:
        answer = (await edge.call("GET", "/v1/status")).json()
        assert 0 <= answer.pop("uptime_s") < 60
        assert answer == {
            "version": "1.2.3",
            "wire": protocol.WIRE_VERSION,
            "pid": os.getpid(),
            "ready": True,
            "engine": {"state": "up", "address": "/var/run/docker.sock", "version": "20.10", "reason": None},
            "ladder": [asdict(each) for each in FakeStatus(edge.rooms).ladder()],
            "tools": 0,
            "problem": None,
            "failed_builds": [{"tool": "lint", "reason": "lint: its new build failed"}],
            "unwatched": [{"message": "too many files", "cure": "raise the limit"}],
            "unkept": [],
            "containers": 1,
            "runs": 1,
        }

    async def test_status_answers_while_the_engine_is_down(self, edge: Edge) -> None:
        edge.rooms.engine_status = EngineStatus(EngineState.DOWN, reason="no socket")
        engine = (await edge.call("GET", "/v1/status")).json()["engine"]
        assert engine == {"state": "down", "address": None, "version": None, "reason": "no socket"}

    async def test_a_broken_definition_is_told(self, edge: Edge) -> None:
        edge.catalogue.file.parent.mkdir()
        edge.catalogue.file.write_text("[tools.jq]\nimage = 5\n")
        status = (await edge.call("GET", "/v1/status")).json()
        assert "dx.toml" in status["problem"]

    async def test_stop_is_asked_for_and_answered(self, edge: Edge) -> None:
        answer = await edge.call("POST", "/v1/daemon/stop")
        assert (answer.status, answer.json()) == (202, {"stopping": True})
        assert edge.rooms.stops == ["asked over the API"]


class TestEvents:
    """The stream of what happens."""

    async def test_each_event_is_a_line(self, edge: Edge) -> None:
        """From the answer's head on, none is missed; values without a JSON form are text."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Type: application/x-ndjson" in head
            assert b"Dx-Version: 1.2.3" in head
            edge.hub.publish("run.finished", id=7, path=Path("/x"))
            edge.hub.publish("container.dropped")
            first = json.loads(await reader.readline())
            assert first.pop("time").endswith("Z")
            assert first == {"kind": "run.finished", "id": 7, "path": "/x"}
            assert json.loads(await reader.readline())["kind"] == "container.dropped"
            edge.front.refuse_leases()
            assert await reader.read() == b""
            writer.close()

    async def test_silence_is_broken_by_blank_lines(self, edge: Edge) -> None:
        edge.front._flight.daemon._keep_alive_s = 0.01
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\n\n"
            writer.close()

    async def test_a_reader_that_goes_away_is_forgotten(self, edge: Edge) -> None:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert len(edge.hub._queues) == 1
            writer.close()
        await until_turned(lambda: not edge.hub._queues)

    async def test_a_reader_that_does_not_read_slows_nobody(self, edge: Edge) -> None:
        """It loses the oldest, and is told so."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket), limit=1024)
            writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            for number in range(20_000):
                edge.hub.publish("run.finished", number=number, padding="x" * 100)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            assert (await edge.call("GET", "/v1/status")).status == 200
            edge.front.refuse_leases()
            kinds = [json.loads(line) for line in (await reader.read()).splitlines() if line]
            writer.close()
        assert {"run.finished", "dropped"} == {each["kind"] for each in kinds}


class TestRuns:
    """See runs, send them signals."""

    async def test_runs_are_listed_by_state(self, edge: Edge) -> None:
        for query, ids in (("", [8, 7]), ("?state=live", [7]), ("?state=finished", [8])):
            runs = (await edge.call("GET", f"/v1/runs{query}")).json()["runs"]
            assert [each["id"] for each in runs] == ids
        assert (await edge.call("GET", "/v1/runs?state=dead")).status == 400

    async def test_one_run(self, edge: Edge) -> None:
        ended = replace(
            RUN, state=RunState.FINISHED, duration_s=0.5, exit_code=3, user_s=0.1, system_s=0.2, max_rss_bytes=1 << 20
        )
        edge.rooms.runs.append(replace(ended, id=RunId(9)))
        assert (await edge.call("GET", "/v1/runs/9")).json() == {
            "id": 9,
            "tool": "jq",
            "command": "jq",
            "container": CONTAINER,
            "client_pid": 4711,
            "state": "finished",
            "created_at": "2026-01-02T03:04:05Z",
            "started_at": "2026-01-02T03:04:05Z",
            "duration_s": 0.5,
            "exit_code": 3,
            "signal": None,
            "user_s": 0.1,
            "system_s": 0.2,
            "max_rss_bytes": 1048576,
        }

    @pytest.mark.parametrize("run", ["10", "0", "-7", "x", "7.0", "1" * 5000, "%D9%A7"])
    async def test_a_run_that_is_not_known_is_404(self, edge: Edge, run: str) -> None:
        answer = await edge.call("GET", f"/v1/runs/{run}")
        assert (answer.status, answer.code) == (404, "not-found")

    async def test_a_signal_is_sent(self, edge: Edge) -> None:
        assert (await edge.call("POST", "/v1/runs/7/signal", {"signal": "TERM"})).status == 204
        assert (await edge.call("POST", "/v1/runs/7/signal", {"signal": "INT", "group": True})).status == 204
        assert edge.rooms.signals == [(7, signal.SIGTERM, False), (7, signal.SIGINT, True)]

    @pytest.mark.parametrize("body", [{}, {"signal": "SEGV"}, {"signal": 15}, {"signal": "TERM", "pid": 1}])
    async def test_a_wrong_signal_is_400(self, edge: Edge, body: object) -> None:
        assert (await edge.call("POST", "/v1/runs/7/signal", body)).status == 400
        assert edge.rooms.signals == []

    async def test_a_run_that_has_ended_takes_no_signal(self, edge: Edge) -> None:
        answer = await edge.call("POST", "/v1/runs/8/signal", {"signal": "TERM"})
        assert (answer.status, answer.code) == (409, "conflict")


class TestContainers:
    """See warm containers, remove them."""

    async def test_containers_are_listed(self, edge: Edge) -> None:
        assert (await edge.call("GET", "/v1/containers")).json() == {
            "containers": [
                {
                    "id": CONTAINER,
                    "image": "jq:latest",
                    "image_id": "sha256:" + "1" * 64,
                    "tools": ["jq"],
                    "network": "none",
                    "state": "ready",
                    "runs": 1,
                    "idle_s": 0.0,
                    "created_at": "2026-01-02T03:04:05Z",
                    "agent_pid": 99,
                }
            ]
        }

    async def test_one_is_removed(self, edge: Edge) -> None:
        assert (await edge.call("DELETE", f"/v1/containers/{CONTAINER}")).status == 204
        answer = await edge.call("DELETE", f"/v1/containers/{CONTAINER}")
        assert (answer.status, answer.code) == (404, "not-found")

    async def test_those_of_a_tool_or_all_are_removed(self, edge: Edge) -> None:
        assert (await edge.call("DELETE", "/v1/containers?tool=yq")).json() == {"dropped": 0}
        assert (await edge.call("DELETE", "/v1/containers?tool=jq")).json() == {"dropped": 1}
        edge.rooms.views = [VIEW, VIEW]
        assert (await edge.call("DELETE", "/v1/containers")).json() == {"dropped": 2}
        assert (await edge.call("DELETE", "/v1/containers?tool=../x")).code == "bad-name"

    async def test_an_engine_that_is_down_is_503(self, edge: Edge) -> None:
        edge.rooms.down = EngineDown("the engine does not answer", "start it")
        answer = await edge.call("DELETE", "/v1/containers")
        assert (answer.status, answer.code) == (503, "engine-down")


class TestCaches:
    """What tools keep."""

    async def test_they_are_listed_and_removed(self, edge: Edge) -> None:
        cache = {"tool": "pip", "path": "/home/me/.cache/pip", "volume": "dx-cache-1"}
        assert (await edge.call("GET", "/v1/caches")).json() == {"caches": [cache]}
        for query in ("tool=jq", "tool=pip&path=/x"):
            answer = await edge.call("DELETE", f"/v1/caches?{query}")
            assert (answer.status, answer.code) == (404, "not-found")
        assert (await edge.call("DELETE", "/v1/caches?tool=pip")).json() == {"dropped": [cache]}
        assert (await edge.call("GET", "/v1/caches")).json() == {"caches": []}

    async def test_all_are_never_removed_at_once(self, edge: Edge) -> None:
        """A tool has to be named."""
        for query in ("", "?path=/home/me/.cache/pip", "?tool="):
            assert (await edge.call("DELETE", f"/v1/caches{query}")).status in (400, 422)
        assert (await edge.call("GET", "/v1/caches")).json()["caches"] != []
