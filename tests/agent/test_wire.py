"""client/dx/protocol.py says what daemon/agent/wire.h says: asked of the compiler, not of the text alone."""

import os
import re
import struct
import subprocess

import pytest

import hatch_build
from dx import protocol

HEADER = hatch_build.ROOT / "daemon/agent/wire.h"
ONLY_IN_C = {"DX_SIGNALS"}
"""What only C needs."""
STRUCTS = {
    "dx_head": protocol.HEAD,
    "dx_record": protocol.RECORD,
    "dx_start": protocol.START_HEAD,
    "dx_terminal": protocol.TERMINAL_BODY,
    "dx_stream": protocol.STREAM_BODY,
    "dx_taken": protocol.TAKEN_BODY,
    "dx_signal": protocol.SIGNAL_BODY,
    "dx_run_signal": protocol.RUN_SIGNAL_BODY,
    "dx_exit": protocol.EXIT_BODY,
    "dx_failed": protocol.U32,
    "dx_ready": protocol.READY_BODY,
    "dx_run_started": protocol.RUN_STARTED_BODY,
    "dx_run_exited": protocol.RUN_EXITED_BODY,
}
FIELDS = {
    "dx_head": "length type flags nfds",
    "dx_record": "type length",
    "dx_start": "version umask nice ignored run token nstd ngrants terminal rlimits[0].soft rlimits[0].hard "
    + " ".join(f"rlimits[{i}].soft rlimits[{i}].hard" for i in range(1, protocol.RLIMITS)),
    "dx_terminal": "rows columns width height iflag oflag cflag lflag cc foreground",
    "dx_stream": "number input",
    "dx_taken": "number reserved bytes",
    "dx_signal": "number group",
    "dx_run_signal": "run number group",
    "dx_exit": "status reserved user_us system_us max_rss_kib",
    "dx_failed": "code",
    "dx_ready": "version once error",
    "dx_run_started": "run started_ns",
    "dx_run_exited": "run duration_ns started code exit.status exit.reserved exit.user_us exit.system_us "
    "exit.max_rss_kib",
}
"""In the order in which Python packs them."""


def constants() -> list[str]:
    """The names that the header gives to numbers."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return re.findall(r"^#define (DX_\w+) ", text, re.MULTILINE) + re.findall(r"\b(DX_\w+) = \d", text)


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Every constant, size and offset as a C compiler has it."""
    asked = {name: name for name in constants()}
    for name, fields in FIELDS.items():
        asked[f"sizeof {name}"] = f"sizeof(struct {name})"
        for field in fields.split():
            asked[f"{name}.{field}"] = f"offsetof(struct {name}, {field})"
    lines = "".join(
        f'    printf("%s\\t%llu\\n", "{key}", (unsigned long long)({value}));\n' for key, value in asked.items()
    )
    source = tmp_path_factory.mktemp("wire") / "ask.c"
    source.write_text(f'#include "wire.h"\n#include <stdio.h>\nint main(void) {{\n{lines}    return 0;\n}}\n')
    program = source.with_suffix("")
    command = [*hatch_build.compiler(os.uname().machine), f"-I{HEADER.parent}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, timeout=60)
    said = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout
    return {key: int(value) for key, value in (line.split("\t") for line in said.splitlines())}


def test_constants(in_c: dict[str, int]) -> None:
    """Each has its name without DX_ in Python, and the same value."""
    names = constants()
    assert len(names) > 50, "the header was understood"
    missing = {name for name in names if not hasattr(protocol, name.removeprefix("DX_"))}
    assert missing == ONLY_IN_C
    differ = {
        name: (in_c[name], getattr(protocol, name.removeprefix("DX_")))
        for name in names
        if name not in missing and in_c[name] != getattr(protocol, name.removeprefix("DX_"))
    }
    assert not differ


def test_python_has_no_frames_of_its_own(in_c: dict[str, int]) -> None:
    """What Python calls a frame or a record is in the header."""
    ours = {name for name, value in vars(protocol).items() if name.isupper() and type(value) is int}
    assert ours <= {name.removeprefix("DX_") for name in in_c}


def test_every_struct_is_known() -> None:
    """A struct that is added to the header must be added here."""
    assert set(re.findall(r"^struct (\w+) \{", HEADER.read_text(), re.MULTILINE)) == set(STRUCTS)


@pytest.mark.parametrize("name", STRUCTS)
def test_layout(in_c: dict[str, int], name: str) -> None:
    """Size and offset of each field are where Python's struct puts them, with no padding that it does not know."""
    layout = STRUCTS[name]
    assert layout.size == in_c[f"sizeof {name}"]
    codes = re.findall(r"\d*s|[A-Za-z]", layout.format.removeprefix("="))
    at, fields = 0, FIELDS[name].split()
    assert len(codes) == len(fields)
    for code, field in zip(codes, fields, strict=True):
        assert in_c[f"{name}.{field}"] == at, field
        at += struct.calcsize(f"={code}")
    assert at == layout.size
