from dataclasses import replace

import pytest

from dxd.kit.plain import TAIL_LINES, Plain, extent
from dxd.kit.progress import CANCELLED, Kind, Step

PULL = Step("pulling it", Kind.WORK, "pulling it", "pulling it", started_s=1.0)
RUN = Step("2", Kind.STEP, "building it", "[2/2] RUN make", started_s=1.0)


class Lines:
    """Keeps what is told, and in which way."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.passing: list[str] = []
        self.plain = Plain(self.notes.append, self.passing.append)


def test_a_pull_is_one_line_with_the_percent_of_all_layers() -> None:
    lines = Lines()
    lines.plain.step(PULL)
    lines.plain.step(Step("a", Kind.LAYER, PULL.id, "a", started_s=1.0))
    lines.plain.step(replace(PULL, current_bytes=1_500_000, total_bytes=6_000_000, state="1 of 2 layers"))
    lines.plain.step(replace(PULL, ended_s=2.0))
    assert lines.passing == ["pulling it: 25%, 1.5 of 6.0 MB, 1 of 2 layers"]
    assert lines.notes == []


@pytest.mark.parametrize(
    ("current", "total", "said"), [(0, None, ""), (2_000_000, None, "2.0 MB"), (9, 3, "100%, 0.0 of 0.0 MB")]
)
def test_what_is_not_known_is_not_said(current: int, total: int | None, said: str) -> None:
    assert extent(replace(PULL, current_bytes=current, total_bytes=total)) == said


def test_a_failing_step_tells_its_last_lines_and_one_cut_short_none() -> None:
    lines = Lines()
    lines.plain.step(replace(RUN, lines=tuple(str(number) for number in range(100))))
    lines.plain.step(replace(RUN, id="3", lines=("other",)))
    lines.plain.step(replace(RUN, id="3", ended_s=2.0, error=CANCELLED))
    assert lines.notes == []
    lines.plain.step(replace(RUN, ended_s=2.0, error="exit code 2"))
    assert lines.notes == [f"  {number}" for number in range(100 - TAIL_LINES, 100)]
