"""Which boot of this machine this is: times of the monotonic clock are of one, and the same for all its processes."""

from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""See random(4)."""


def boot_id() -> str:
    """Another one after each start of the kernel; empty where it does not say."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
