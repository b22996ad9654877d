"""Every route but the lease, as a curl user meets it."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from dx import protocol
from dxd.engine.model import EngineState, EngineStatus, Image
from dxd.errors import BuildFailed, EngineDown
from dxd.kit.progress import Progress
from dxd.runs.model import RunId, RunState
from dxd.tools.model import Tool
from tests.dxd.api.client import DEADLINE_S, settle
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import CONTAINER, IMAGE, RUN, VIEW

DEFAULTS: dict[str, object] = {
    "image": None,
    "build": None,
    "entrypoint": None,
    "commands": [],
    "network": "bridge",
    "env": [],
    "mounts": [],
    "memory": None,
    "cpus": None,
    "pids": None,
}


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
            "tools": 0,
            "problem": None,
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
        await settle(lambda: not edge.hub._queues)

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


class TestTools:
    """Definitions, in a real dx.toml."""

    async def test_a_tool_is_put_shown_listed_and_deleted(self, edge: Edge) -> None:
        """Its shims come and go with it."""
        answer = await edge.call("PUT", "/v1/tools/jq", {"image": "team/jq:1.7", "network": "none"})
        expected = {**DEFAULTS, "name": "jq", "image": "team/jq:1.7", "network": "none"}
        assert (answer.status, answer.json()) == (201, expected)
        assert (edge.shims / "jq").is_symlink()
        assert (await edge.call("GET", "/v1/tools/jq")).json() == expected
        assert (await edge.call("GET", "/v1/tools")).json() == {"tools": [expected]}
        assert (await edge.call("PUT", "/v1/tools/jq", expected)).status == 200
        answer = await edge.call("DELETE", "/v1/tools/jq")
        assert (answer.status, answer.body) == (204, b"")
        assert not (edge.shims / "jq").is_symlink()
        answer = await edge.call("DELETE", "/v1/tools/jq")
        assert (answer.status, answer.code) == (404, "unknown-tool")

    async def test_everything_that_a_tool_can_say_comes_back(self, edge: Edge) -> None:
        body = {
            "build": {"context": "/src", "file": "/src/D", "target": "run", "args": {"A": "1", "B": ""}},
            "entrypoint": ["/bin/sh", "-c", ""],
            "commands": ["cc", "c++"],
            "network": "host",
            "env": ["LC_*", "A=b=c"],
            "mounts": ["/data:/data:ro", "/x:/y", {"source": "/a:b", "target": "/c", "readonly": True}],
            "memory": "512m",
            "cpus": 1.5,
            "pids": 100,
        }
        answer = await edge.call("PUT", "/v1/tools/gcc", body)
        assert answer.status == 201
        assert answer.json() == {**DEFAULTS, **body, "name": "gcc"}
        assert (await edge.call("GET", "/v1/tools/gcc")).json() == {**DEFAULTS, **body, "name": "gcc"}

    async def test_a_whole_number_is_one_however_it_is_written(self, edge: Edge) -> None:
        answer = await edge.call("PUT", "/v1/tools/jq", b'{"image": "a", "pids": 1e2}')
        assert (answer.status, answer.json()["pids"]) == (201, 100)
        assert (await edge.call("PUT", "/v1/tools/jq", {"image": "a", "pids": 1.5})).status == 422

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 422, "bad-definition"),
            ({"image": "a", "build": {"context": "/"}}, 422, "bad-definition"),
            ({"image": "a", "name": "other"}, 422, "bad-name"),
            ({"image": "a", "commands": ["../x"]}, 422, "bad-name"),
            ({"image": "a", "commands": ["dx"]}, 422, "bad-name"),
            ({"build": {"context": "relative"}}, 422, "bad-definition"),
            ({"build": {"context": "/a", "file": "D"}}, 422, "bad-definition"),
            ({"build": {"context": "~/a"}}, 422, "bad-definition"),
            ({"image": "a", "mounts": ["data:/data"]}, 422, "bad-definition"),
            ({"image": "a", "mounts": ["/data:~/x"]}, 422, "bad-definition"),
            ({"image": "a", "mounts": ["~/data"]}, 422, "bad-definition"),
            ({"image": "a", "memory": "1k"}, 422, "bad-definition"),
            ({"image": "a", "env": ["\0"]}, 422, "bad-definition"),
            ({"image": "a", "imgae": "b"}, 400, "bad-request"),
            ({"image": "a", "network": "moon"}, 400, "bad-request"),
            ({"image": "a", "pids": "many"}, 400, "bad-request"),
            ([], 400, "bad-request"),
        ],
    )
    async def test_a_wrong_body_is_refused_with_the_place(
        self, edge: Edge, body: object, status: int, code: str
    ) -> None:
        answer = await edge.call("PUT", "/v1/tools/jq", body)
        assert (answer.status, answer.code) == (status, code)
        assert not edge.catalogue.file.exists()

    @pytest.mark.parametrize("name", ["..", "%2e%2e", "-x", "a%2Fb", "%0A", "dx", "a" * 129, "%C3%A4", "a%00"])
    async def test_a_wrong_name_is_refused(self, edge: Edge, name: str) -> None:
        answer = await edge.call("PUT", f"/v1/tools/{name}", {"image": "a"})
        assert answer.status in (404, 422)
        assert not edge.catalogue.file.exists()

    async def test_a_command_belongs_to_one_tool(self, edge: Edge) -> None:
        assert (await edge.call("PUT", "/v1/tools/gcc", {"image": "a", "commands": ["cc"]})).status == 201
        answer = await edge.call("PUT", "/v1/tools/clang", {"image": "b", "commands": ["cc"]})
        assert (answer.status, answer.code) == (409, "conflict")

    async def test_a_body_that_is_too_large_is_413(self, edge: Edge) -> None:
        answer = await edge.call("PUT", "/v1/tools/jq", {"image": "a", "env": ["A=" + "x" * (1 << 20)]})
        assert (answer.status, answer.code) == (413, "too-large")

    async def test_curl_may_wait_for_continue(self, edge: Edge) -> None:
        body = b'{"image":"a"}'
        head = f"PUT /v1/tools/jq HTTP/1.1\r\nHost: dx\r\nContent-Length: {len(body)}\r\n"
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(head.encode() + b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
            writer.close()

    async def test_shims_that_cannot_be_made_do_not_undo_the_definition(self, edge: Edge) -> None:
        edge.shims.parent.mkdir(exist_ok=True)
        edge.shims.write_text("a file")
        assert (await edge.call("PUT", "/v1/tools/jq", {"image": "a"})).status == 201
        answer = await edge.call("POST", "/v1/shims")
        assert (answer.status, answer.code) == (422, "refused")

    async def test_shims_are_made_on_request(self, edge: Edge) -> None:
        await edge.call("PUT", "/v1/tools/jq", {"image": "a", "commands": ["jq", "yq"]})
        (edge.shims / "jq").unlink()
        (edge.shims / "yq").unlink()
        (edge.shims / "yq").write_text("somebody else's")
        answer = await edge.call("POST", "/v1/shims")
        assert answer.json() == {
            "directory": str(edge.shims),
            "added": ["jq"],
            "removed": [],
            "foreign": ["yq"],
            "kept": [],
        }


class TestPrepare:
    """POST /v1/tools/NAME/prepare."""

    async def test_lines_and_at_last_the_image(self, edge: Edge) -> None:
        asked = []

        async def build(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
            asked.append((source, rebuild))
            progress.note("building\njq")
            await asyncio.sleep(0)
            progress.progress("step 1")
            return IMAGE

        edge.rooms.resolving = build
        await edge.call("PUT", "/v1/tools/jq", {"image": "a"})
        for query, rebuild in (("", False), ("?rebuild=true", True), ("?rebuild=false", False)):
            answer = await edge.call("POST", f"/v1/tools/jq/prepare{query}")
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in answer.body.splitlines()]
            assert lines == [{"note": "building jq"}, {"progress": "step 1"}, {"image": IMAGE.id}]
            assert asked.pop() == (edge.catalogue.get("jq"), rebuild)

    @pytest.mark.parametrize(
        ("error", "code"), [(BuildFailed("step 2 failed", "see above"), "build-failed"), (KeyError("x"), "internal")]
    )
    async def test_an_error_is_the_last_line(self, edge: Edge, error: Exception, code: str) -> None:
        async def fail(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
            raise error

        edge.rooms.resolving = fail
        await edge.call("PUT", "/v1/tools/jq", {"image": "a"})
        answer = await edge.call("POST", "/v1/tools/jq/prepare")
        assert answer.status == 200
        assert json.loads(answer.body.splitlines()[-1])["error"]["code"] == code

    async def test_an_unknown_tool_is_404_before_the_stream(self, edge: Edge) -> None:
        answer = await edge.call("POST", "/v1/tools/jq/prepare")
        assert (answer.status, answer.code) == (404, "unknown-tool")
        await edge.call("PUT", "/v1/tools/jq", {"image": "a"})
        assert (await edge.call("POST", "/v1/tools/jq/prepare?rebuild=yes")).status == 400

    async def test_a_client_that_goes_away_cancels_the_build(self, edge: Edge) -> None:
        began = asyncio.Event()

        async def build(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
            began.set()
            await asyncio.Event().wait()
            return IMAGE

        edge.rooms.resolving = build
        await edge.call("PUT", "/v1/tools/jq", {"image": "a"})
        calling = asyncio.create_task(edge.call("POST", "/v1/tools/jq/prepare"))
        async with asyncio.timeout(DEADLINE_S):
            await began.wait()
            calling.cancel()
            await edge.rooms.cancelled.wait()


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
