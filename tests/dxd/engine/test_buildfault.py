"""What is said to do about a build that failed."""

import pytest

from dxd.engine.buildfault import explained
from dxd.errors import BuildFailed, DxError, EngineFull


@pytest.mark.parametrize(
    ("words", "lines", "kind", "said", "hint"),
    [
        ("building x failed at RUN a: exit code 1 (no)", ["no"], BuildFailed, "(no)", "mend D"),
        ("failed at COPY: write /x: no space left on device", [], EngineFull, "write /x", "make room"),
        ("failed at RUN dd: exit code 1 (2+0 out)", ["No space left on device", "2+0 out"], EngineFull, "No", "prune"),
        ("failed at RUN cc: exit code 137 (cc)", ["cc"], BuildFailed, "killed (exit code 137)", "more memory"),
        ("failed at RUN cc: exit code 1377", [], BuildFailed, "exit code 1377", "mend D"),
    ],
    ids=["a mistake", "a full disk", "a disk filled by a step", "killed", "another code"],
)  # fmt: skip
def test_explained(words: str, lines: list[str], kind: type[DxError], said: str, hint: str) -> None:
    """Whose turn it is, and to do what."""
    error = explained(words, "D", lines)
    assert type(error) is kind
    assert said in error.message
    assert hint in error.hint
