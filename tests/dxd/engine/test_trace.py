import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.engine.trace import Log, Vertex, decode

DIGEST = "sha256:38cf80027b91c504e1c2037ef150b8cf3bf48ca0c58b627111799d6aaef45892"
STEP = "[2/2] RUN echo one && echo two >&2 && exit 3"

# As Docker Engine 20.10 sent them, for a step that prints and fails.
STARTED = (
    "Cs4BCkdzaGEyNTY6MzhjZjgwMDI3YjkxYzUwNGUxYzIwMzdlZjE1MGI4Y2YzYmY0OGNhMGM1OGI2MjcxMTE3OTlkNmFhZWY0NTg5MhJHc2hhMjU2"
    "OmIyOWUyZGMzOWFlZGIyMjQ1MDkxMjU3NDgyNTY4MDQyMWE1NmRjNDgwOGMxZTFhMjE4NzE0NjljY2NiYzVkOGMaLFsyLzJdIFJVTiBlY2hvIG9u"
    "ZSAmJiBlY2hvIHR3byA+JjIgJiYgZXhpdCAzKgwI6tSU2AYQm8uI2gE="
)
PRINTED = (
    "Gl8KR3NoYTI1NjozOGNmODAwMjdiOTFjNTA0ZTFjMjAzN2VmMTUwYjhjZjNiZjQ4Y2EwYzU4YjYyNzExMTc5OWQ2YWFlZjQ1ODkyEgwI6tSU2AYQ"
    "x7z0tAIYAiIEdHdvCg=="
)
FAILED = (
    "CrECCkdzaGEyNTY6MzhjZjgwMDI3YjkxYzUwNGUxYzIwMzdlZjE1MGI4Y2YzYmY0OGNhMGM1OGI2MjcxMTE3OTlkNmFhZWY0NTg5MhJHc2hhMjU2"
    "OmIyOWUyZGMzOWFlZGIyMjQ1MDkxMjU3NDgyNTY4MDQyMWE1NmRjNDgwOGMxZTFhMjE4NzE0NjljY2NiYzVkOGMaLFsyLzJdIFJVTiBlY2hvIG9u"
    "ZSAmJiBlY2hvIHR3byA+JjIgJiYgZXhpdCAzKgwI6tSU2AYQm8uI2gEyCgjr1JTYBhCj3hc6VWV4ZWN1dG9yIGZhaWxlZCBydW5uaW5nIFsvYmlu"
    "L3NoIC1jIGVjaG8gb25lICYmIGVjaG8gdHdvID4mMiAmJiBleGl0IDNdOiBleGl0IGNvZGU6IDM="
)


def test_a_step_that_begins() -> None:
    [vertex] = decode(base64.b64decode(STARTED))
    assert vertex == Vertex(DIGEST, STEP, cached=False, started_s=1795500650.457319835, completed_s=None, error="")


def test_what_a_step_prints() -> None:
    assert list(decode(base64.b64decode(PRINTED))) == [Log(DIGEST, b"two\n")]


def test_a_step_that_fails() -> None:
    [vertex] = decode(base64.b64decode(FAILED))
    assert isinstance(vertex, Vertex)
    assert vertex.error.endswith("exit code: 3")
    assert vertex.completed_s is not None
    assert vertex.started_s is not None
    assert 0 < vertex.completed_s - vertex.started_s < 1


def test_fields_of_later_versions_are_skipped() -> None:
    message = base64.b64decode(PRINTED)
    unknown = b"\x80\x08\x05" + b"\x89\x08" + bytes(8) + b"\x92\x08\x03abc" + b"\x95\x08" + bytes(4)
    assert list(decode(unknown + message + unknown)) == list(decode(message))


@pytest.mark.parametrize("message", [STARTED, PRINTED, FAILED])
def test_a_message_cut_anywhere_is_a_value_error_or_nothing(message: str) -> None:
    whole = base64.b64decode(message)
    for length in range(1, len(whole)):
        with pytest.raises(ValueError, match="cut short"):
            list(decode(whole[:length]))


@given(st.binary(max_size=200))
def test_garbage_is_read_or_a_value_error(message: bytes) -> None:
    try:
        list(decode(message))
    except ValueError:
        return
