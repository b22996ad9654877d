"""The small HTTP client, against answers byte by byte."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dx import http
from dx.http import BadResponse


@contextmanager
def answering(path: Path, *pieces: bytes, stay: bool = False) -> Iterator[list[bytes]]:
    """A server that reads one request and sends the pieces; `stay`: and keeps the connection open."""
    requests: list[bytes] = []
    end = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(path.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        listener.listen()

        def serve() -> None:
            connection = listener.accept()[0]
            with connection:
                requests.append(connection.recv(65536))
                for piece in pieces:
                    connection.sendall(piece)
                if stay:
                    end.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield requests
        finally:
            end.set()
            thread.join()
            path.unlink()


def get(path: Path, timeout_s: float = 20) -> http.Response:
    """One request."""
    return http.request(str(path), "GET", "/v1/x?y=z", headers={"A": "b"}, timeout_s=timeout_s)


def test_a_request_is_as_the_rfc_has_it(tmp_path: Path) -> None:
    """With a body it says how long that is; the answer's headers are in lower case."""
    path = tmp_path / "s"
    answer = b"HTTP/1.1 201 Created\r\nX-Y:  z \r\nContent-Length: 2\r\n\r\nok"
    with (
        answering(path, answer) as requests,
        http.request(str(path), "PUT", "/p", headers={"A": "b"}, body=b"body") as response,
    ):
        assert (response.status, response.headers["x-y"], response.read()) == (201, "z", b"ok")
    assert requests == [b"PUT /p HTTP/1.1\r\nHost: dx\r\nConnection: close\r\nA: b\r\nContent-Length: 4\r\n\r\nbody"]


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\nA\r\n, world\nxx\r\n0\r\nT: u\r\n\r\n"
)
BODIES = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nhello, world\nxx", b"hello, world\nxx"),
    "chunked": (CHUNKED, b"hello, world\nxx"),
    "until the end": (b"HTTP/1.0 200\r\n\r\nhello, world\nxx", b"hello, world\nxx"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "bare newlines": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", b"x"),
}


@pytest.mark.parametrize(("answer", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("cut", [1, 7, 65536])
def test_every_kind_of_body_is_read_whole(tmp_path: Path, answer: bytes, body: bytes, cut: int) -> None:
    """However it is cut on the way."""
    path = tmp_path / "s"
    pieces = [answer[at : at + cut] for at in range(0, len(answer), cut)]
    with answering(path, *pieces), get(path) as response:
        assert response.read() == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A" * 70000 + b": b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_what_is_no_answer_or_half_of_one_is_told(tmp_path: Path, answer: bytes) -> None:
    """It is never taken for a whole one."""
    path = tmp_path / "s"
    with answering(path, answer), pytest.raises(BadResponse), get(path) as response:
        response.read()


def test_lines_come_as_they_are_sent(tmp_path: Path) -> None:
    """Over the borders of chunks; empty ones, which only keep the connection alive, are left out."""
    path = tmp_path / "s"
    chunks = [b"one\ntw", b"o\n", b"\n", b"three\n"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(path, head + body, stay=True), get(path) as response:
        lines = response.lines()
        assert [next(lines) for _ in range(3)] == [b"one", b"two", b"three"]


def test_a_line_without_its_end_is_an_error(tmp_path: Path) -> None:
    """Half a line could mean something else."""
    path = tmp_path / "s"
    with answering(path, b"HTTP/1.1 200 OK\r\n\r\none\ntw"), get(path) as response:
        lines = response.lines()
        assert next(lines) == b"one"
        with pytest.raises(BadResponse):
            next(lines)


def test_silence_has_a_deadline(tmp_path: Path) -> None:
    """Before the answer and in it."""
    for number, answer in enumerate((b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")):
        path = tmp_path / str(number)
        with answering(path, answer, stay=True), pytest.raises(TimeoutError), get(path, 0.05) as response:
            response.read()


def test_a_path_that_is_too_long_for_the_kernel_works(tmp_path: Path) -> None:
    """Sockets may lie deep."""
    path = tmp_path / ("d" * 100) / "socket"
    path.parent.mkdir()
    with answering(path, b"HTTP/1.1 204 x\r\n\r\n"), get(path) as response:
        assert response.status == 204


def test_an_answer_before_the_request_was_read_counts(tmp_path: Path) -> None:
    """A daemon that refuses a body without reading it."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def refuse() -> None:
        connection = listener.accept()[0]
        connection.sendall(b"HTTP/1.1 413 no\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    try:
        with http.request(str(path), "PUT", "/", headers={}, body=b"x" * (8 << 20), timeout_s=20) as response:
            assert response.status == 413
    finally:
        thread.join()
        listener.close()


@given(st.text())
def test_a_quoted_part_is_one_part_and_comes_back(text: str) -> None:
    """Nothing in it ends the path, starts a query, or climbs."""
    from urllib.parse import unquote

    try:
        text.encode()
    except UnicodeEncodeError:
        return
    quoted = http.quote(text)
    assert unquote(quoted) == text
    assert not set(quoted) & set("/?#& \r\n")
