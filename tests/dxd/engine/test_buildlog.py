import base64
import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dxd.engine.buildlog import CUT, LINE_CHARACTERS, MOST_LINES, BuildLog, Tail, clean
from dxd.errors import BuildFailed, EngineError
from dxd.kit.plain import TAIL_LINES, Whole
from dxd.kit.progress import CANCELLED, Kind, Step
from tests.dxd.engine.test_trace import DIGEST, FAILED, PRINTED, STARTED
from tests.fakes.real_engine import Listener

RECORDINGS = Path(__file__).with_name("recordings")
"""What Docker Engine 20.10 said of builds: BuildKit of a good one, of the same again, and of one that fails; and its
classic builder."""
IMAGE = f"sha256:{'1' * 64}"


def _trace(encoded: str) -> dict[str, Any]:
    return {"id": "moby.buildkit.trace", "aux": encoded}


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def log(listener: Listener) -> BuildLog:
    return BuildLog("dx/it:latest", "sub/Dockerfile", listener)


def test_buildkits_steps_and_output_are_told_as_they_come(log: BuildLog, listener: Listener) -> None:
    log.take(_trace(STARTED))
    log.take(_trace(PRINTED))
    assert listener.lines == [
        "building dx/it:latest: [2/2] RUN echo one && echo two >&2 && exit 3",
        "building dx/it:latest: [2/2] RUN echo one && echo two >&2 && exit 3: two",
    ]
    assert listener.notes == []


def test_a_failing_step_is_named_with_its_exit_code_and_its_last_lines(log: BuildLog, listener: Listener) -> None:
    for message in (STARTED, PRINTED, FAILED):
        log.take(_trace(message))
    with pytest.raises(BuildFailed) as raised:
        log.take({"error": "executor failed running [/bin/sh -c exit 3]: exit code: 3", "errorDetail": {}})
    assert raised.value.line() == (
        "building dx/it:latest failed at [2/2] RUN echo one && echo two >&2 && exit 3: exit code 3 (two);"
        " mend sub/Dockerfile, then try again"
    )
    assert listener.notes == ["  two"]


def test_a_syntax_error_keeps_its_line_and_loses_its_wrapping(log: BuildLog) -> None:
    with pytest.raises(BuildFailed) as raised:
        log.take(
            {
                "errorDetail": {
                    "message": "failed to solve with frontend dockerfile.v0: failed to create LLB definition: "
                    "dockerfile parse error line 3: unknown instruction: FOO"
                }
            }
        )
    assert raised.value.message == ("building dx/it:latest failed: sub/Dockerfile:3: unknown instruction: FOO")


def test_the_image_is_known_when_its_id_came(log: BuildLog) -> None:
    assert log.image is None
    log.take({"id": "moby.image.id", "aux": {"ID": IMAGE}})
    log.take({"stream": "Successfully tagged dx/it:latest\n"})
    assert log.image == IMAGE


def test_the_classic_builder_is_read_as_well(log: BuildLog, listener: Listener) -> None:
    for text in ("Step 1/2 : FROM scratch", "\n", " ---> \n", "Step 2/2 : RUN exit 3", "\n", " ---> Running in 06\n"):
        log.take({"stream": text})
    log.take({"stream": "one\n"})
    log.take({"stream": "\x1b[91mtwo\n\x1b[0m"})
    with pytest.raises(BuildFailed) as raised:
        log.take({"error": "The command '/bin/sh -c exit 3' returned a non-zero code: 3"})
    assert raised.value.message == "building dx/it:latest failed at [2/2] RUN exit 3: exit code 3 (two)"
    assert listener.lines[0] == "building dx/it:latest: [1/2] FROM scratch"
    assert listener.notes == ["  one", "  two"]


def test_podmans_builder_says_the_id_in_words_only(log: BuildLog) -> None:
    log.take({"stream": "STEP 1/1: FROM scratch\n"})
    log.take({"stream": "Successfully built 0123456789ab\n"})
    assert log.image == "0123456789ab"


@pytest.mark.parametrize("aux", ["%%%", "CnEK", None])
def test_progress_that_cannot_be_read_is_an_error(log: BuildLog, aux: str | None) -> None:
    with pytest.raises(EngineError):
        log.take({"id": "moby.buildkit.trace", "aux": aux})


def test_records_of_other_kinds_are_passed_over(log: BuildLog, listener: Listener) -> None:
    for record in ({}, {"status": "Pulling"}, {"stream": 3}, {"aux": "x"}, {"aux": {"Other": 1}}, {"id": "x"}):
        log.take(record)
    assert (log.image, listener.notes, listener.lines) == (None, [], [])


def test_what_comes_at_once_and_is_too_much_is_counted() -> None:
    tail = Tail()
    lines = tail.take("".join(f"{number}\n" for number in range(MOST_LINES + 5)))
    assert lines[:2] == ("... 5 lines are left out here ...", "5")
    assert len(lines) == MOST_LINES + 1


def test_output_without_end_or_newline_takes_no_more_memory() -> None:
    tail = Tail()
    for _ in range(100):
        tail.take("x" * 10_000)
    assert tail.lines == ["x" * LINE_CHARACTERS + CUT]
    for number in range(10_000):
        tail.take(f"{number}\n")
    assert tail.lines == [str(number) for number in range(10_000 - TAIL_LINES, 10_000)]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("windows\r", "windows"),
        ("10%\r50%\r100%", "100%"),
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("a\tb", "a b"),
        ("bell\x07 and \x1b]0;title\x07more", "bell and more"),
        ("  indented  ", "  indented"),
    ],
)
def test_lines_are_shown_as_a_terminal_would_leave_them(line: str, shown: str) -> None:
    assert clean(line) == shown


def test_a_step_that_was_carried_out_is_told_once_with_its_time(log: BuildLog, listener: Listener) -> None:
    done = base64.b64decode(FAILED).partition(b":U")[0]
    # Without its last field, the error, it is a step that succeeded; the lengths before it have to fit again.
    inner = done[3:]
    message = b"\x0a" + bytes([len(inner) & 0x7F | 0x80, len(inner) >> 7]) + inner
    for _ in range(2):
        log.take(_trace(base64.b64encode(message).decode()))
    assert listener.notes == ["[2/2] RUN echo one && echo two >&2 && exit 3 (0.5 s)"]


def _replayed(log: BuildLog, name: str) -> None:
    for line in (RECORDINGS / f"{name}.ndjson").read_text().splitlines():
        log.take(json.loads(line))


def _last(listener: Listener, *kinds: Kind) -> dict[str, Step]:
    """How each step was in the end, by the number in its name."""
    return {step.name.partition("]")[0].lstrip("["): step for step in listener.steps if step.kind in kinds}


def test_a_recorded_build_becomes_steps_with_times_and_lines(log: BuildLog, listener: Listener) -> None:
    _replayed(log, "good")
    assert log.image is not None
    steps = _last(listener, Kind.STEP)
    assert list(steps) == ["1/2", "2/2"]
    assert [(step.cached, step.error) for step in steps.values()] == [(True, ""), (False, "")]
    assert 0.3 < (steps["2/2"].took_s or 0) < 5
    assert [line for step in listener.steps for line in step.lines] == ["one", "partial"]
    first, *_, last = [step for step in listener.steps if step.kind is Kind.WORK]
    assert (first.name, first.ended_s) == ("building dx/it:latest", None)
    assert last.ended_s is not None


def test_a_build_of_what_was_built_before_is_all_cached(log: BuildLog, listener: Listener) -> None:
    _replayed(log, "cached")
    assert [step.cached for step in _last(listener, Kind.STEP).values()] == [True, True]
    assert listener.notes == []


def test_the_step_that_failed_and_the_whole_have_the_reason(log: BuildLog, listener: Listener) -> None:
    with pytest.raises(BuildFailed, match=r"exit code 3 \(soon\)"):
        _replayed(log, "failing")
    errors = {name: step.error for name, step in _last(listener, Kind.STEP).items() if step.error}
    assert errors == {"stage-2 2/2": "exit code 3"}
    assert listener.notes[-1] == "  soon"
    assert listener.steps[-1].kind is Kind.WORK
    assert listener.steps[-1].error == "exit code 3"


def test_what_goes_on_beside_a_failing_step_is_cancelled(log: BuildLog, listener: Listener) -> None:
    log.take(_trace(STARTED))
    for line in (RECORDINGS / "failing.ndjson").read_text().splitlines():
        log.take(json.loads(line))
        if listener.steps[-1].name.startswith("[b 1/1]"):
            break
    log.take(_trace(FAILED))
    with pytest.raises(BuildFailed):
        log.take({"error": "exit code: 3"})
    ends = {step.id: step.error for step in listener.steps if step.ended_s and step.kind is not Kind.WORK}
    assert sorted(set(ends.values()) - {""}) == sorted({CANCELLED, "exit code 3"})
    assert listener.steps[-2].name.startswith("[b 1/1]")
    assert listener.steps[-2].error == CANCELLED


def test_the_bytes_of_a_step_are_the_sum_of_what_it_moves(log: BuildLog, listener: Listener) -> None:
    log.take(_trace(STARTED))
    for thing, current, total in ((b"a", 50, 100), (b"b", 10, 100), (b"a", 100, 100)):
        status = b"\x0a\x01" + thing + b"\x12\x47" + DIGEST.encode() + bytes((0x20, current, 0x28, total))
        log.take(_trace(base64.b64encode(b"\x12" + bytes((len(status),)) + status).decode()))
    told = [(step.current_bytes, step.total_bytes) for step in listener.steps if step.kind is Kind.STEP]
    assert told == [(0, None), (50, 100), (60, 200), (110, 200)]


def test_the_classic_builders_steps_end_with_the_next(listener: Listener) -> None:
    log = BuildLog("it", "Dockerfile", listener, clock=count(1.0).__next__)
    _replayed(log, "classic")
    steps = _last(listener, Kind.STEP)
    assert [(name, step.cached, step.took_s) for name, step in steps.items()] == [
        ("1/3", False, 1.0),
        ("2/3", True, 1.0),
        ("3/3", False, 1.0),
    ]
    assert [line for step in listener.steps for line in step.lines] == ["one", "partial"]


def test_the_log_of_a_build_has_all_that_was_printed(listener: Listener) -> None:
    told: list[str] = []
    whole = Whole(told.append)
    log = BuildLog("it", "Dockerfile", listener, clock=count(1.0).__next__)
    _replayed(log, "classic")
    for step in listener.steps:
        whole.step(step)
    assert told[1] == "[1/3] FROM scratch (1.0 s)"
    run = told.index("  one")
    assert told[run - 1].startswith("[3/3] RUN")
    assert told[run + 1] == "  partial"
    assert told[run + 2].endswith("(1.0 s)")
