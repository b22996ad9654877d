"""Why a container does not start, in the words of several engines."""

import pytest

from dxd.engine.answer import Answer
from dxd.engine.refusal import explained
from dxd.errors import EngineError, PortTaken, Refused

EXTERNAL = "driver failed programming external connectivity on endpoint dx-1 (c0ffee): "


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (
            EXTERNAL + "Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use",
            "127.0.0.1:80",
        ),
        (EXTERNAL + "Error starting userland proxy: listen tcp6 [::1]:80: bind: address already in use", "[::1]:80"),
        (EXTERNAL + "Bind for 0.0.0.0:8000 failed: port is already allocated", "0.0.0.0:8000"),
        ("failed to bind host port 127.0.0.1:80/tcp: address already in use", "127.0.0.1:80"),
        ("rootlessport listen tcp 0.0.0.0:80: bind: address already in use", "0.0.0.0:80"),
    ],
)
def test_a_port_that_is_taken(words: str, port: str) -> None:
    """By its address and number, with a way to find out who has it."""
    error = explained(Answer(500, words))
    assert isinstance(error, PortTaken)
    assert error.message == f"port {port} of this machine is taken by another program"
    assert f"sport = :{port.rpartition(':')[2]}" in error.hint


def test_a_port_whose_number_is_not_said() -> None:
    error = explained(Answer(500, "address already in use"))
    assert isinstance(error, PortTaken)
    assert "a port of the tool" in error.message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "cannot give a GPU"),
        ('error gathering device information while adding custom device "/dev/x": no such file', "no device /dev/x"),
        (EXTERNAL + "listen tcp4 192.0.2.1:80: bind: cannot assign requested address", "cannot be published"),
    ],
)
def test_what_else_is_not_there(words: str, said: str) -> None:
    error = explained(Answer(500, words))
    assert isinstance(error, Refused)
    assert said in error.message
    assert error.hint


def test_other_words_are_left_as_they_are() -> None:
    answer = Answer(500, "OCI runtime create failed")
    assert explained(answer) is answer
    assert isinstance(answer, EngineError)
