"""libFuzzer, a few seconds each, on what reads a lease and on what receives a frame."""

import subprocess
from pathlib import Path

import pytest

import hatch_build
from dx import protocol
from dx.protocol import START, U32, U64, frame, record, strings
from tests.agent.link import Start

SECONDS = 4
FLAGS = (
    *hatch_build.FLAGS,
    "-Werror",
    "-g",
    "-O1",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
)
LEASE = (
    record(protocol.R_RUN, U64.pack(7)),
    record(protocol.R_TOKEN, bytes(16)),
    record(protocol.R_DEADLINE, U64.pack(2**64 - 1)),
    record(protocol.R_UID, U32.pack(1)),
    record(protocol.R_GID, U32.pack(2)),
    record(protocol.R_ARGV, strings([b"a", b"", b"b"])),
    record(protocol.R_FILE, b"/bin/a\0"),
    record(protocol.R_CWD, b"/\0"),
    record(protocol.R_GROUPS, U32.pack(3) * 2),
    record(protocol.R_ENV, strings([b"A=1"])),
    record(protocol.R_HOME, b"/h\0"),
    record(protocol.R_SCRATCH, U64.pack(1)),
    record(protocol.R_GRANT, U32.pack(3) + b"/w\0"),
)
FRAME = frame(START, Start(1, bytes(16)).payload()[:100], nfds=3)
SEEDS = {
    "leases": [b"".join(LEASE), b"".join(LEASE[:8]), b"".join(LEASE) + LEASE[-1] * 127, LEASE[0]],
    "frames": [
        b"\x03\x04" + FRAME,
        b"\x00\x00" + frame(protocol.SIGNAL, bytes(8)) * 3,
        b"\x03\x70" + FRAME + frame(2, bytes(8)),
    ],
}
SOURCES = {"leases": ["leases.c", "wire.c"], "frames": ["wire.c"]}


@pytest.mark.parametrize("target", SEEDS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    """No byte is read or written that is not ours, no descriptor is kept, and no lease is good twice."""
    program, corpus = tmp_path / target, tmp_path / "corpus"
    sources = [f"daemon/agent/{name}" for name in (f"fuzz_{target}.c", *SOURCES[target])]
    subprocess.run(["clang", *FLAGS, *sources, "-o", program], cwd=hatch_build.ROOT, check=True, timeout=60)
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [
        f"-max_total_time={SECONDS}",
        "-max_len=4096",
        "-timeout=5",
        "-print_final_stats=1",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run([program, *options, corpus], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "stat::number_of_executed_units" in done.stderr
