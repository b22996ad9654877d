"""`python -m dxd.proxy SOCKET`: the proxy process. Started by the daemon; it listens when the command ends.

It leaves the daemon's session and lives as long as it is of use: until its last door is shut and its last connection
over, or half an hour after the last sign of a daemon or a connection.
"""

import os
import sys
import time
from pathlib import Path

from dxd.proxy.control import Control
from dxd.proxy.loop import Loop

ORPHAN_S = 1800.0
"""Without a daemon and without a connection; the agents of containers end after the same time."""
LOOK_S = 60.0


def main() -> int:
    """Become the proxy process; returns its exit status."""
    path = Path(sys.argv[1])
    loop = Loop()
    try:
        control = Control(loop, path)
    except OSError as error:
        sys.stderr.write(f"cannot listen at {path}: {error.strerror}\n")
        return 1
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    serve(loop, control)
    return 0


def serve(loop: Loop, control: Control) -> None:
    """Go on until there is nothing left to do."""
    met = time.monotonic()

    def look() -> None:
        loop.at(time.monotonic() + LOOK_S, look)

    look()
    while True:
        loop.turn()
        now = time.monotonic()
        if not control.lonely and not control.retired:
            met = now
        elif not control.serving.pairs and (
            not control.serving.doors or now - max(met, control.serving.uses.changed) > ORPHAN_S
        ):
            break
    control.close()


if __name__ == "__main__":
    sys.exit(main())
