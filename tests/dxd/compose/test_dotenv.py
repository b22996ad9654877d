"""What the real Compose makes of the same env file is what counts."""

import os
import subprocess
from pathlib import Path

from dxd.compose import dotenv, program

ENV_FILE = """
# a comment
PLAIN=value # not of it
export EXPORTED=e
  SPACED =  s p
COLON: c
HASH=a#b
EMPTY=
SINGLE='as $PLAIN it # stands'
DOUBLE="${PLAIN} and \\"more\\"\\tof it # too"
LINES="one
two"
SET=${PLAIN:+yes}${NONE:+no}
UNSET=${NONE:-d${PLAIN}}${NONE-e}${EMPTY:-f}${EMPTY-g}
OUTSIDE=${GIVEN} $GIVEN
GIVEN=loses
DOLLAR=$$PLAIN
"""


async def test_an_env_file_says_what_compose_says_it_says(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ENV_FILE)
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}}\n")
    environ = {"PATH": os.defpath, "HOME": "/nowhere", "GIVEN": "given"}
    compose = await program.find()
    command = [*compose.argv, "config", "--environment"]
    said = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout
    read = {**dotenv.read(ENV_FILE, environ), **environ}
    assert {"PLAIN", "EXPORTED", "SPACED", "COLON", "DOUBLE", "LINES", "DOLLAR"} < read.keys()
    missing = {key: value for key, value in read.items() if f"{key}={value}\n" not in f"{said}\n"}
    assert missing == {}


def test_variables_in_a_text() -> None:
    environ = {"A": "a", "EMPTY": ""}
    for text, meant in {
        "x/$A/${A}": "x/a/a",
        "$$A ${B}|${EMPTY:-d}|${EMPTY-d}|${B-${A}x}": "$A |d||ax",
        "${A:+y}${EMPTY:+y}${B+y}": "y",
        "${B:?must be}": "",
        "${A": "${A",
        "$": "$",
        "${}": "",
    }.items():
        assert dotenv.interpolated(text, environ) == meant
