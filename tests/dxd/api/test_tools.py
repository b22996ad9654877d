"""The routes of tools: list, show, put, delete, prepare; and the shims."""

import asyncio
import json

import pytest

from dxd.engine.model import Image
from dxd.errors import BuildFailed
from dxd.kit.progress import Kind, Progress, Step
from dxd.tools.model import Tool
from tests.dxd.api.client import DEADLINE_S
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import IMAGE
from tests.fakes.daemon import TOOL_DEFAULTS

DEFAULTS = {**TOOL_DEFAULTS, "project": None}


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
        assert edge.rooms.removed == ["jq"]
        answer = await edge.call("DELETE", "/v1/tools/jq")
        assert (answer.status, answer.code) == (404, "unknown-tool")

    async def test_everything_that_a_tool_can_say_comes_back(self, edge: Edge) -> None:
        body = {
            "build": {
                "context": "/src",
                "file": "/src/D",
                "target": "run",
                "args": {"A": "1", "B": ""},
                "secrets": {"npmrc": "/home/me/.npmrc"},
                "ssh": "/run/agent",
            },
            "entrypoint": ["/bin/sh", "-c", ""],
            "commands": ["cc", "c++"],
            "network": "bridge",
            "env": ["LC_*", "A=b=c"],
            "mounts": [
                "/data:/data:ro",
                "/x:/y",
                {"source": "/a:b", "target": "/c", "readonly": True, "missing": "error"},
            ],
            "user": "image",
            "paths": "project",
            "root": "fresh",
            "scratch": "memory",
            "scratch_size": "64m",
            "git": "write",
            "caches": ["/var/cache/cc"],
            "memory": "512m",
            "cpus": 1.5,
            "pids": 100,
            "ulimits": {"nofile": 1024, "nproc": "100:200"},
            "ports": ["8000:80", "0.0.0.0:53:53/udp", "[::1]:1:2"],
            "devices": ["/dev/kvm", "/dev/snd:/dev/sound:r"],
            "gpus": "all",
            "share": ["ssh-agent", "wayland"],
            "needs": ["db"],
        }
        answer = await edge.call("PUT", "/v1/tools/gcc", body)
        assert answer.status == 201
        assert answer.json() == {**DEFAULTS, **body, "name": "gcc"}
        assert (await edge.call("GET", "/v1/tools/gcc")).json() == {
            **TOOL_DEFAULTS,
            "project": None,
            **body,
            "name": "gcc",
        }

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
            ({"image": "a", "ports": ["80:99999"]}, 422, "bad-definition"),
            ({"image": "a", "ports": ["80:80"], "network": "none"}, 422, "bad-definition"),
            ({"image": "a", "devices": ["/etc/passwd"]}, 422, "bad-definition"),
            ({"image": "a", "gpus": ["all", "1"]}, 422, "bad-definition"),
            ({"image": "a", "gpus": "one"}, 400, "bad-request"),
            ({"image": "a", "share": ["dbus"]}, 400, "bad-request"),
            ({"image": "a", "imgae": "b"}, 400, "bad-request"),
            ({"image": "a", "network": "moon"}, 422, "bad-definition"),
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

    async def test_steps_are_told_whole_however_slow_the_reader(self, edge: Edge) -> None:
        """Tellings that were not written yet become one, with the lines of all of them."""

        async def build(source: Tool | str, progress: Progress, rebuild: bool) -> Image:
            for number in range(5000):
                progress.step(Step("1", Kind.STEP, "w", "RUN x", started_s=0.0, lines=(f"{number}",)))
            progress.step(Step("1", Kind.STEP, "w", "RUN x", started_s=0.0, ended_s=1.5))
            return IMAGE

        edge.rooms.resolving = build
        await edge.call("PUT", "/v1/tools/jq", {"image": "a"})
        answer = await edge.call("POST", "/v1/tools/jq/prepare")
        step, last = [json.loads(line) for line in answer.body.splitlines()]
        assert last == {"image": IMAGE.id}
        lines = step["step"].pop("lines")
        assert (len(lines), lines[-1]) == (200, "4999")
        assert step["step"] == {
            "id": "1",
            "kind": "step",
            "of": "w",
            "name": "RUN x",
            "duration_s": 1.5,
            "started_at": "1970-01-01T00:00:00Z",
            "ended_at": "1970-01-01T00:00:01.500000Z",
        }

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
