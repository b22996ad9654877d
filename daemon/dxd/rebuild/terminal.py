"""Which terminal a process is at, so that something is said there once."""

from pathlib import Path


def session_of(pid: int) -> int:
    """The session of a process; 0 where it is gone, or is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    # The second field is the name in brackets, in which anything may stand.
    return int(text.rpartition(")")[2].split()[3])
