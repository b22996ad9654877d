"""A hundred starts of a daemon at the same moment: forked, held at a gate, let go together.

Usage: racers.py DIRECTORY COUNT. Prints a line per racer, `won PID` or `lost PID-OF-THE-WINNER`, then ends them.
"""

import os
import signal
import sys
from pathlib import Path

from dxd.lifecycle.listener import Listener
from dxd.lifecycle.lock import AlreadyRunning


def race(directory: Path, gate: int, results: int) -> None:
    """One racer: wait for the gate, try to become the daemon, report, and stay if it is."""
    os.read(gate, 1)
    try:
        listener = Listener.open(directory, os.environ)
    except AlreadyRunning as other:
        os.write(results, f"lost {other.pid}\n".encode())
        return
    os.write(
        results, f"won {os.getpid()} {oct(listener.path.lstat().st_mode & 0o777) if listener.path else ''}\n".encode()
    )
    signal.pause()


def main() -> None:
    """Let them race."""
    directory, count = Path(sys.argv[1]), int(sys.argv[2])
    gate, opener = os.pipe()
    results, report = os.pipe()
    children = []
    for _ in range(count):
        if (child := os.fork()) == 0:
            os.close(opener)
            race(directory, gate, report)
            os._exit(0)
        children.append(child)
    os.close(report)
    os.close(opener)
    lines: list[bytes] = []
    buffer = b""
    while len(lines) < count:
        data = os.read(results, 65536)
        if not data:
            break
        buffer += data
        *lines, _ = buffer.split(b"\n")
    sys.stdout.write(buffer.decode())
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


main()
