"""POST /v1/runs, as a launcher and as anybody else calls it."""

import asyncio
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dx import protocol
from dx.protocol import record
from dxd.api.lease import parse_records
from dxd.errors import BadRequest, ImageMissing, UnknownTool
from dxd.kit.progress import Progress
from dxd.runs.model import Lease, LeaseRequest, Peer, RunId, StillAlive
from tests.dxd.api.client import Answer, call, exchange, parse
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import LEASE
from tests.waiting import until_turned

VERSION = record(protocol.Q_VERSION, protocol.U32.pack(protocol.WIRE_VERSION))
COMMAND = record(protocol.Q_COMMAND, b"jq")
CWD = record(protocol.Q_CWD, b"/home/me")
ME = Peer(1, 2, 3)


async def lease(edge: Edge, *records: bytes) -> Answer:
    """Ask as a launcher does."""
    return await edge.call("POST", "/v1/runs", b"".join(records), media_type=protocol.MEDIA_TYPE)


def told(answer: Answer) -> list[tuple[int, bytes]]:
    """The records of an answer."""
    assert answer.headers["content-type"] == protocol.MEDIA_TYPE
    return list(protocol.records(answer.body))


def error_of(answer: Answer) -> str:
    """The line of the error that ends an answer."""
    kind, payload = told(answer)[-1]
    assert kind == protocol.A_ERROR
    assert protocol.U32.unpack(payload[:4])[0] == 125
    assert b"\n" not in payload[4:]
    return payload[4:].decode()


class TestLauncher:
    """The binary form."""

    async def test_a_lease_is_one_small_response(self, edge: Edge) -> None:
        """With its length, and with every record that the launcher needs."""
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert answer.status == 200
        assert answer.headers["content-length"] == str(len(answer.body))
        assert told(answer) == [
            (protocol.A_RUN, protocol.U64.pack(7)),
            (protocol.A_TOKEN, bytes(range(16))),
            (protocol.A_AGENT, b"/run/dx/agent.sock"),
            (protocol.A_GRANT, protocol.U32.pack(protocol.GRANT_DIR) + b"/home/me/project"),
            (protocol.A_GRANT, protocol.U32.pack(protocol.GRANT_RO) + b"/data/\xff"),
            (protocol.A_GO, b""),
        ]

    async def test_bytes_come_through_as_they_were(self, edge: Edge) -> None:
        """Empty arguments, newlines, what is no UTF-8, variables without a value or a name."""
        await lease(
            edge,
            VERSION,
            COMMAND,
            record(protocol.Q_CWD, b"/caf\xe9\n"),
            record(protocol.Q_ARGV, protocol.strings([b"", b"a\nb", b"\xff\xfe", b""])),
            record(protocol.Q_ENV, protocol.strings([b"A=1", b"B", b"=C", b"D=\xff=\n"])),
            record(protocol.Q_OPTION, b"network=none"),
            record(protocol.Q_OPTION, "x=ä=".encode()),
            record(protocol.Q_SHIM),
        )
        asked = edge.rooms.asked[0]
        assert asked == LeaseRequest(
            command=b"jq",
            args=(b"", b"a\nb", b"\xff\xfe", b""),
            env=(b"A=1", b"B", b"=C", b"D=\xff=\n"),
            cwd=b"/caf\xe9\n",
            peer=Peer(os.getpid(), os.getuid(), os.getgid(), tuple(os.getgroups())),
            options=(("network", "none"), ("x", "ä=")),
            shim=True,
            late=None,
        )

    async def test_a_late_run_is_told_to_wait(self, edge: Edge) -> None:
        answer = await lease(edge, VERSION, COMMAND, CWD, record(protocol.Q_LATE, protocol.U64.pack(9)))
        assert told(answer) == [(protocol.A_WAIT, b"")]
        assert edge.rooms.asked[0].late == RunId(9)

    async def test_an_error_is_a_status_and_one_line(self, edge: Edge) -> None:
        """As long as nothing was told before."""

        async def refuse(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            raise UnknownTool("no tool is called\njp", "did you mean jq?")

        edge.rooms.answering = refuse
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert answer.status == 404
        assert error_of(answer) == "no tool is called jp; did you mean jq?"

    async def test_notes_and_progress_come_before_the_lease_is_there(self, edge: Edge) -> None:
        """The answer is a stream then, which ends with the connection."""
        go_on = asyncio.Event()

        async def pull(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            progress.note("pulling jq")
            progress.progress("10 %")
            await go_on.wait()
            progress.progress("20 %")
            progress.progress("30 %")
            progress.progress("40\n%")
            progress.note("done")
            return LEASE

        edge.rooms.answering = pull
        body = VERSION + COMMAND + CWD
        head = f"POST /v1/runs HTTP/1.0\r\nContent-Type: {protocol.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(head.encode() + body)
            first = await reader.readuntil(b"\r\n\r\n")
            early = await reader.readexactly(16 + len("pulling jq") + len("10 %"))
            go_on.set()
            answer = parse(first + early + await reader.read())
            writer.close()
        assert answer.status == 200
        assert "content-length" not in answer.headers
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["dx-version"] == "1.2.3"
        assert told(answer)[:5] == [
            (protocol.A_NOTE, b"pulling jq"),
            (protocol.A_PROGRESS, b"10 %"),
            (protocol.A_PROGRESS, b"40 %"),  # the others were passing, and out of date before they could be sent
            (protocol.A_NOTE, b"done"),
            (protocol.A_RUN, protocol.U64.pack(7)),
        ]
        assert told(answer)[-1] == (protocol.A_GO, b"")

    @pytest.mark.parametrize(("unexpected", "line"), [(False, "no such image; pull it"), (True, "an error of the")])
    async def test_an_error_after_a_note_is_the_last_record(self, edge: Edge, unexpected: bool, line: str) -> None:
        """The status has been sent by then."""

        async def fail(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            progress.note("pulling")
            await asyncio.sleep(0)
            raise RuntimeError("bug") if unexpected else ImageMissing("no such image", "pull it")

        edge.rooms.answering = fail
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert answer.status == 200
        assert told(answer)[0] == (protocol.A_NOTE, b"pulling")
        assert error_of(answer).startswith(line)

    async def test_an_unexpected_error_is_logged_and_not_told(self, edge: Edge) -> None:
        async def fail(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            raise RuntimeError("secret")

        edge.rooms.answering = fail
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert answer.status == 500
        assert error_of(answer) == "an error of the daemon; see: dx daemon logs"

    async def test_a_client_that_goes_away_cancels_what_it_waited_for(self, edge: Edge) -> None:
        """With and without something told before."""
        for notes in (0, 1):
            began = asyncio.Event()
            edge.rooms.cancelled.clear()

            async def wait(
                request: LeaseRequest, progress: Progress, notes: int = notes, began: asyncio.Event = began
            ) -> Lease | StillAlive:
                for _ in range(notes):
                    progress.note("pulling")
                began.set()
                await asyncio.Event().wait()
                raise AssertionError

            edge.rooms.answering = wait
            calling = asyncio.create_task(lease(edge, VERSION, COMMAND, CWD))
            async with asyncio.timeout(10):
                await began.wait()
                calling.cancel()
                await edge.rooms.cancelled.wait()

    async def test_whoever_keeps_the_progress_can_tell_nothing_after_the_end(self, edge: Edge) -> None:
        kept: list[Progress] = []

        async def keep(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            progress.note("once")
            kept.append(progress)
            return LEASE

        edge.rooms.answering = keep
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert [kind for kind, _ in told(answer)].count(protocol.A_NOTE) == 1
        kept[0].note("late")

    async def test_a_hundred_thousand_arguments(self, edge: Edge) -> None:
        args = [b"%d" % number for number in range(100_000)]
        assert (await lease(edge, VERSION, COMMAND, CWD, record(protocol.Q_ARGV, protocol.strings(args)))).status == 200
        assert edge.rooms.asked[0].args == tuple(args)

    async def test_the_largest_body_and_one_byte_more(self, edge: Edge) -> None:
        """A launcher gets that as a record too."""
        known = VERSION + COMMAND + CWD
        for more, status in ((0, 200), (1, 413)):
            room = protocol.MAX_LEASE_BODY - len(known) - 2 * protocol.RECORD.size - 1 + more
            env = record(protocol.Q_ENV, b"A=" + b"x" * (room - 2) + b"\0") + record(protocol.Q_SHIM)
            answer = await lease(edge, known, env)
            assert answer.status == status
        assert error_of(answer) == "the body is larger than 8 MiB"

    async def test_a_version_that_is_not_known_is_refused_with_both(self, edge: Edge) -> None:
        answer = await lease(edge, record(protocol.Q_VERSION, protocol.U32.pack(9)), record(999), COMMAND)
        assert answer.status == 400
        assert "malformed" in error_of(answer) or "version 9" in error_of(answer)
        answer = await lease(edge, record(protocol.Q_VERSION, protocol.U32.pack(9)), COMMAND, CWD)
        assert error_of(answer).startswith("this launcher speaks version 9 of the wire, and the daemon version 1")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\0",
            VERSION,
            COMMAND + CWD,
            VERSION + COMMAND,
            VERSION + CWD,
            VERSION + COMMAND + CWD[:-1],
            VERSION + COMMAND + CWD + b"\1\2\3",
            VERSION + COMMAND + COMMAND + CWD,
            VERSION + COMMAND + CWD + record(protocol.A_GO),
            VERSION + COMMAND + CWD + record(0),
            VERSION + record(protocol.Q_COMMAND) + CWD,
            VERSION + record(protocol.Q_COMMAND, b"a\0b") + CWD,
            VERSION + COMMAND + record(protocol.Q_CWD, b"relative"),
            VERSION + COMMAND + record(protocol.Q_CWD, b"(unreachable)/x"),
            VERSION + COMMAND + record(protocol.Q_CWD, b"/a\0"),
            VERSION + COMMAND + CWD + record(protocol.Q_ARGV, b"not ended"),
            VERSION + COMMAND + CWD + record(protocol.Q_OPTION, b"\xff=1"),
            VERSION + COMMAND + CWD + record(protocol.Q_LATE, b"1234"),
            record(protocol.Q_VERSION, b"1") + COMMAND + CWD,
            protocol.RECORD.pack(protocol.Q_ENV, 0xFFFFFFFF),
        ],
    )
    async def test_what_is_malformed_is_refused(self, edge: Edge, body: bytes) -> None:
        """In one line, and nothing is run."""
        answer = await lease(edge, body)
        assert answer.status == 400
        assert error_of(answer).startswith("the request for a run is malformed: ")
        assert edge.rooms.asked == []

    @given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: VERSION + COMMAND + CWD + tail))
    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    def test_any_bytes_are_a_request_or_a_bad_request(self, body: bytes) -> None:
        try:
            asked = parse_records(body, ME)
        except BadRequest:
            return
        assert asked.command
        assert asked.cwd.startswith(b"/")

    async def test_supplementary_groups_come_from_the_kernel(self, edge: Edge) -> None:
        """Those of the connecting process, and not as it would like them."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(edge.socket))
            groups = client.getsockopt(socket.SOL_SOCKET, 59, 1024)
        await lease(edge, VERSION, COMMAND, CWD)
        assert edge.rooms.asked[0].peer.groups == struct.unpack(f"={len(groups) // 4}I", groups)


class TestStopping:
    """The daemon has begun to stop."""

    async def test_no_lease_is_given_any_more(self, edge: Edge) -> None:
        """In both forms; everything else still answers."""
        edge.front.refuse_leases()
        answer = await lease(edge, VERSION, COMMAND, CWD)
        assert answer.status == 503
        assert error_of(answer).startswith("the daemon is stopping; ")
        answer = await edge.call("POST", "/v1/runs", {"command": "jq", "cwd": "/"})
        assert (answer.status, answer.code) == (503, "stopping")
        status = await edge.call("GET", "/v1/status")
        assert status.json()["ready"] is False
        assert edge.rooms.asked == []

    async def test_a_lease_in_flight_is_waited_for(self, edge: Edge) -> None:
        """The drain ends with it."""
        began, go_on = asyncio.Event(), asyncio.Event()

        async def wait(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            began.set()
            await go_on.wait()
            return LEASE

        edge.rooms.answering = wait
        calling = asyncio.create_task(lease(edge, VERSION, COMMAND, CWD))
        async with asyncio.timeout(10):
            await began.wait()
            edge.front.refuse_leases()
            edge.front.stop_listening()
            draining = asyncio.create_task(edge.front.drain())
            await asyncio.sleep(0)
            assert not draining.done()
            go_on.set()
            await draining
            await edge.front.close()
        assert (await calling).status == 200

    async def test_what_is_in_flight_at_the_end_is_cut(self, edge: Edge) -> None:
        began = asyncio.Event()

        async def wait(request: LeaseRequest, progress: Progress) -> Lease | StillAlive:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError

        edge.rooms.answering = wait
        calling = asyncio.create_task(exchange(edge.socket, b"POST /v1/runs HTTP/1.0\r\nContent-Type: " + JSON_TAIL))
        async with asyncio.timeout(10):
            await began.wait()
            await edge.front.close()
            await until_turned(calling.done)
        assert edge.rooms.cancelled.is_set()


JSON_TAIL = b'application/json\r\nContent-Length: 27\r\n\r\n{"command":"jq","cwd":"/a"}'


async def test_what_a_run_is_given_never_reaches_the_log(tmp_path: Path) -> None:
    """Not even when the daemon fails at it, with its traceback."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("server.py")), str(tmp_path)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    assert await server.stdout.readline() == b"ready\n"
    secret = protocol.strings([b"PASSWORD=canary"])
    body = VERSION + record(protocol.Q_COMMAND, b"broken") + CWD
    body += record(protocol.Q_ARGV, secret) + record(protocol.Q_ENV, secret) + record(protocol.Q_OPTION, b"env=canary")
    for each in (body, body[:-1], body + record(999, b"canary")):
        answer = await call(tmp_path / "s", "POST", "/v1/runs", each, media_type=protocol.MEDIA_TYPE)
        assert answer.status in (400, 500)
        assert b"canary" not in answer.body
    asked = {"command": "broken", "cwd": "/", "args": ["canary"], "env": ["A=canary"], "options": {"canary": "canary"}}
    for value in (asked, {**asked, "env": "canary"}, {**asked, "args": [7, "canary"]}):
        answer = await call(tmp_path / "s", "POST", "/v1/runs", value)
        assert answer.status in (400, 500)
        assert b"canary" not in answer.body
    server.kill()
    _, log = await server.communicate()
    assert log.count(b"request failed") == 2
    assert b"RuntimeError: a bug" in log
    assert b"canary" not in log
