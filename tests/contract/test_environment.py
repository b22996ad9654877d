"""What a run sees of the caller's variables."""

import os
from typing import Any

import pytest

from tests.contract.twin import Twin

PASSING: list[dict[bytes, bytes]] = [
    {b"TERM": b"xterm-256color", b"COLORTERM": b"truecolor", b"NO_COLOR": b"1"},
    {b"LANG": b"de_AT.UTF-8", b"LC_ALL": b"C", b"LC_TIME": b"", b"LC_X": b"\xff\xfe=\n x", b"LANGUAGE": b"de:en"},
    {b"TZ": b":Europe/Vienna", b"CI": b"true", b"COLUMNS": b"80", b"LINES": b"24", b"SOURCE_DATE_EPOCH": b"1"},
    {b"USER": b"someone", b"LOGNAME": b"someone"},
    {b"TERM": b"a" * 100_000},
]  # fmt: skip


def seen(out: bytes) -> dict[bytes, bytes]:
    """The output of `env -0`."""
    entries = (entry.partition(b"=") for entry in out.split(b"\0") if entry)
    return {name: value for name, _, value in entries}


@pytest.mark.parametrize("given", PASSING, ids=lambda given: ",".join(name.decode() for name in given))
def test_what_passes(twin: Twin, given: dict[bytes, bytes]) -> None:
    """Locale, terminal and time, in bytes."""
    place = twin.house.place()
    native, dx = (
        seen(twin.perform(side, ["env", "-0"], place=place, environ=given).out) for side in (twin.native, twin.dx)
    )
    assert native.pop(b"PATH") != dx.pop(b"PATH") == b"/bin"
    assert dx.pop(b"PWD") == place
    assert dx == native


def test_what_does_not_pass(twin: Twin) -> None:
    """Secrets, paths and everything of dx's own stay outside."""
    given = {
        "AWS_SECRET_ACCESS_KEY": "x", "SSH_AUTH_SOCK": "/x", "LD_PRELOAD": "", "LD_LIBRARY_PATH": "/nowhere", "FOO": "",
        "PYTHONPATH": "/x", "XDG_RUNTIME_DIR": "/x", "OLDPWD": "/x", "TERMINFO": "/x", "LCX": "x", "PWD": "/wrong",
    }  # fmt: skip
    outcome = twin.do(["env", "-0"], place=(place := twin.house.place()), environ=given)
    assert seen(outcome.out) == {b"PATH": b"/bin", b"HOME": os.fsencode(twin.house.home), b"PWD": place}


def test_a_variable_of_any_bytes(twin: Twin) -> None:
    """A shell shows it as it is."""
    value = bytes(range(1, 256))
    twin.same(["sh", "-c", 'printf %s "$LC_TEST"'], environ={b"LC_TEST": value})


OPTIONS: list[tuple[list[str], dict[str, str], dict[bytes, bytes]]] = [
    (["--env", "A=b=c"], {}, {b"A": b"b=c"}),
    (["--env", "A="], {"A": "outside"}, {b"A": b""}),
    (["--env=A=1", "--env", "B=2"], {}, {b"A": b"1", b"B": b"2"}),
    (["--env", "FOO_*"], {"FOO_A": "1", "FOO_B": "", "FOOD": "no"}, {b"FOO_A": b"1", b"FOO_B": b""}),
    (["--env", "*"], {"X": "1", "OLDPWD": "/x"}, {b"X": b"1"}),
    (["--env", "TERM=other"], {"TERM": "mine"}, {b"TERM": b"other"}),
]


@pytest.mark.parametrize(("options", "given", "expected"), OPTIONS, ids=lambda each: " ".join(map(str, each)))
def test_options_of_dx_run(
    home: Any, image: str, options: list[str], given: dict[str, str], expected: dict[bytes, bytes]
) -> None:
    """`--env` sets a variable, or lets those of the caller pass that match."""
    done = home.run([*options, image, "env", "-0"], env={**home.env, **given})
    variables = seen(done.stdout)
    assert done.returncode == 0
    for name in (b"PATH", b"HOME", b"PWD"):
        del variables[name]
    assert {name: value for name, value in variables.items() if name != b"DOCKER_HOST"} == expected
