import json
from collections.abc import Iterable
from typing import Any

import pytest

from dxd.engine.answer import MAX_RECORD_BYTES, Records
from dxd.errors import EngineError

RECORDS = [{"status": "ä"}, {"n": 1}, {"nested": {"text": "a\nb"}}]
STREAM = b"\r\n".join(json.dumps(record, ensure_ascii=False).encode() for record in RECORDS) + b"\r\n"


async def _read(pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    left = iter(pieces)

    async def read() -> bytes:
        return next(left, b"")

    return [record async for record in Records(read)]


async def test_records_come_whole_wherever_the_stream_is_split() -> None:
    for at in range(1, len(STREAM)):
        assert await _read([STREAM[:at], STREAM[at:]]) == RECORDS
    assert await _read(bytes([byte]) for byte in STREAM) == RECORDS
    assert await _read([STREAM]) == RECORDS


async def test_empty_lines_and_a_missing_last_newline_do_not_matter() -> None:
    assert await _read([b'\n\r\n{"a": 1}\n\n', b'{"b": 2}']) == [{"a": 1}, {"b": 2}]
    assert await _read([]) == []


@pytest.mark.parametrize("stream", [b"garbage\n", b"[1]\n", b'{"a": 1\n', b'{"a"', b"\xff\xfe\n", b'"text"\n'])
async def test_what_is_no_record_is_an_error(stream: bytes) -> None:
    with pytest.raises(EngineError, match="no record"):
        await _read([stream])


async def test_a_record_without_end_is_an_error_and_not_all_of_memory() -> None:
    piece = b"x" * (1 << 20)
    with pytest.raises(EngineError, match="without an end"):
        await _read(piece for _ in range(MAX_RECORD_BYTES // len(piece) + 2))
