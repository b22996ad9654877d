"""Which host a request is for: the decision alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.proxy.head import MAX_HEAD_BYTES, BadHead, host

GOOD = b"GET /a?b=c HTTP/1.1\r\nHost: Web.Shop.localhost:8080\r\nAccept: */*\r\n\r\n"


def test_the_host_is_small_and_has_no_port() -> None:
    assert host(GOOD) == "web.shop.localhost"
    assert host(b"OPTIONS * HTTP/1.0\r\nhost:a.b.localhost.\r\n\r\nbody") == "a.b.localhost"


@given(st.integers(0, len(GOOD) - 1))
def test_a_head_that_is_not_whole_is_waited_for(length: int) -> None:
    assert host(GOOD[:length]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://web.shop.localhost/ HTTP/1.1\r\nHost: web.shop.localhost\r\n\r\n",
        b"CONNECT web.shop.localhost:443 HTTP/1.1\r\nHost: web.shop.localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.localhost\r\nHost: b.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.localhost\r\n b.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.localhost, b.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: ../etc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        host(data)
    assert refused.value.status == 400


def test_a_head_without_an_end_is_refused() -> None:
    with pytest.raises(BadHead) as refused:
        host(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD_BYTES)
    assert refused.value.status == 431


@given(st.binary(max_size=200))
def test_any_bytes_are_a_host_or_waited_for_or_refused(data: bytes) -> None:
    try:
        found = host(data)
    except BadHead:
        return
    assert found is None or found.isascii()
