"""Every exit status, and a gigabyte in order."""

import os
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.contract.twin import Twin

BLOCK = 1 << 20


def test_every_exit_status(twin: Twin) -> None:
    """0 to 255 come back as they are, 125 to 127 and those above 128 too."""

    def run(status: int) -> int:
        with twin.dx.popen(["sh", "-c", f"exit {status}"], stdin=subprocess.DEVNULL) as process:
            return process.wait(60)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(256))) == list(range(256))


def test_a_gigabyte_comes_through_in_order(twin: Twin) -> None:
    """Byte for byte, and the end of the one pipe becomes the end of the other."""
    noise = random.Random(2).randbytes(BLOCK - 8)
    blocks = 1024
    with twin.dx.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        into = process.stdin

        def feed() -> None:
            with into:
                for number in range(blocks):
                    block = memoryview(number.to_bytes(8, "big") + noise)
                    while block:
                        block = block[os.write(into.fileno(), block) :]

        feeder = threading.Thread(target=feed)
        feeder.start()
        block = bytearray(BLOCK)
        for number in range(blocks):
            view = memoryview(block)
            while view:
                count = os.readv(process.stdout.fileno(), [view])
                assert count, f"the pipe ended in block {number}"
                view = view[count:]
            assert int.from_bytes(block[:8], "big") == number
            assert block.endswith(noise)
        assert process.stdout.read() == b""
        feeder.join()
        assert process.wait(60) == 0
