"""Whether a directory is gone. What cannot be looked at is not: it may be another user's."""

from pathlib import Path


def is_gone(path: str) -> bool:
    """Whether there is no directory of that name. Blocks; raises nothing."""
    try:
        return not Path(path).is_dir()
    except (OSError, ValueError):
        return False
