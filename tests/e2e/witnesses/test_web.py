"""A server in one run and its clients in others, and on this machine, through a published port."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.house import DEADLINE_S, House
from tests.waiting import until

CLIENTS = 20


def test_a_server_and_its_clients(home: House, programs: str) -> None:
    """What curl gets, from here and from runs on the host's network, is the file; Ctrl-C ends the server, and its port
    is free again.
    """
    place = Path(os.fsdecode(home.place()))
    content = os.urandom(300_000)
    (place / "file").write_bytes(content)
    home.own(place / "file")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    line = ["run", f"--port={port}:80", programs, "httpd", "-f", "-p", "80", "-h", str(place)]
    fetch = ["curl", "--silent", "--show-error", "--fail", "--retry", "3", f"http://127.0.0.1:{port}/file"]
    native = home.options({"cwd": place})
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with home.popen(line, cwd=place, **pipes) as server:
        until(lambda: subprocess.run([*fetch, "--head"], **native, **pipes).returncode == 0, "the server answers")
        clients = [home.popen(["run", "--network=host", *fetch], cwd=place, **pipes) for _ in range(CLIENTS)]
        clients += [subprocess.Popen(fetch, **native, **pipes) for _ in range(CLIENTS)]
        for client in clients:
            out, err = client.communicate(timeout=DEADLINE_S)
            assert (client.returncode, err) == (0, b"")
            assert out == content
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=DEADLINE_S)
        assert (server.returncode, err) == (-signal.SIGINT, b"")
    refused = 7  # curl's own
    until(lambda: subprocess.run(fetch[:4] + fetch[-1:], **native, **pipes).returncode == refused, "the port is free")
