"""What is told of a push, and what its failures mean."""

import pytest

from dxd.engine.answer import Records
from dxd.engine.push import failure, follow
from dxd.errors import DxError, EngineError, PushFailed
from tests.fakes.real_engine import Listener

REF = "a.example/it:1"


def records(*lines: bytes) -> Records:
    """As the engine sends them."""
    rest = [line + b"\n" for line in lines]

    async def read() -> bytes:
        return rest.pop(0) if rest else b""

    return Records(read)


async def test_a_push_tells_layers_and_ends_with_the_digest() -> None:
    """Those that the registry has are none of the bytes."""
    listener = Listener()
    digest = await follow(
        records(
            b'{"status":"The push refers to repository [a.example/it]"}',
            b'{"status":"Preparing","progressDetail":{},"id":"a"}',
            b'{"status":"Preparing","progressDetail":{},"id":"b"}',
            b'{"status":"Layer already exists","progressDetail":{},"id":"a"}',
            b'{"status":"Pushing","progressDetail":{"current":500000,"total":1000000},"id":"b"}',
            b'{"status":"Pushing","progressDetail":{"current":1000512},"id":"b"}',
            b'{"status":"Pushing","progressDetail":{"current":1000512,"total":1000000},"id":"b"}',
            b'{"status":"Pushed","progressDetail":{},"id":"b"}',
            b'{"status":"1: digest: sha256:d size: 528"}',
            b'{"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:d","Size":528}}',
        ),
        REF,
        listener,
    )
    assert digest == "sha256:d"
    last = {step.name: step for step in listener.steps}
    assert (last["a"].cached, last["b"].cached, last["b"].current_bytes) == (True, False, 1_000_000)
    whole = last[f"pushing {REF}"]
    assert (whole.state, whole.total_bytes, whole.took_s is not None) == ("2 of 2 layers", 1_000_000, True)


async def test_a_stream_without_a_digest_is_no_success() -> None:
    """And one with an error ends the step with it."""
    assert await follow(records(b'{"status":"Pushed","id":"a"}'), REF, Listener()) == ""
    listener = Listener()
    with pytest.raises(PushFailed):
        await follow(records(b'{"errorDetail":{"message":"denied:\\nno"},"error":"denied:\\nno"}'), REF, listener)
    assert listener.steps[-1].error == "denied: no"


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ("no basic auth credentials", PushFailed, "docker login a.example"),
        ("denied: requested access to the resource is denied", PushFailed, "docker login a.example"),
        ("unauthorized: authentication required", PushFailed, "docker login a.example"),
        ("Get http://a.example/v2/: dial tcp: lookup a.example: no such host", PushFailed, "cannot be reached"),
        ("received unexpected HTTP status: 507 Insufficient Storage", PushFailed, "no space left"),
        ("write /data/x: no space left on device", PushFailed, "no space left"),
        ("toomanyrequests: slow down", PushFailed, "wait"),
        ("An image does not exist locally with the tag: a.example/it", EngineError, "try again"),
        ("manifest invalid: manifest invalid", PushFailed, "what its registry takes"),
    ],
)
def test_a_failure_says_what_to_do(reason: str, kind: type[DxError], words: str) -> None:
    """On one line, with what was said."""
    error = failure(REF, reason)
    assert type(error) is kind
    assert words in error.line()
    assert REF in error.message
