"""What to do about a build that failed, where the words are known. Pure."""

import re
from collections.abc import Iterable

from dxd.errors import BuildFailed, EngineFull

_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_KILLED = re.compile(r"\bexit code 137\b")
"""128 and SIGKILL. Who sent it is not said; in a build it is nearly always the kernel, for want of memory."""


def explained(words: str, dockerfile: str, lines: Iterable[str] = ()) -> BuildFailed | EngineFull:
    """The error for a build that ended with those words, after its step had printed those lines."""
    full = next((each for each in (words, *lines) if _FULL.search(each)), None)
    if full is not None:
        words = words if _FULL.search(words) else f"{words}: {full}"
        return EngineFull(words, "the engine's disk is full: make room (dx prune, docker builder prune)")
    if killed := _KILLED.search(words):
        words = f"{words[: killed.start()]}killed (exit code 137), as when memory runs out{words[killed.end() :]}"
        return BuildFailed(words, "give the engine's machine more memory, or have the step do less at a time")
    return BuildFailed(words, f"mend {dockerfile}, then try again")
