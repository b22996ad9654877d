"""docs/reference/python.md: its examples, run as one program."""

import os
import re
import subprocess
from pathlib import Path

from tests.house import DEADLINE_S, ME, House

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
TOOLS = "wc", "sort", "cat", "sleep"
WITH_RUNS = """
import threading
over = threading.Event()
def others():
    while not over.is_set():
        client.run(["sleep", "0"])
thread = threading.Thread(target=others)
thread.start()
{}
over.set()
thread.join()
"""
"""Around a block that waits for something to happen."""


def test_the_examples_do_what_they_say(image: str) -> None:
    """With the tools and the file that the page speaks of."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    blocks = [WITH_RUNS.format(block) if "events()" in block else block for block in blocks]
    with House(ME) as house:
        house.define("".join(f"[tools.{name}]\nimage = '{image}'\nentrypoint = ['{name}']\n" for name in TOOLS))
        place = house.place()
        (Path(os.fsdecode(place)) / "data.csv").write_text("b,2\nc,3\na,1\n")
        done = subprocess.run(
            [*house.python[:-2], "-W", "error", "-c", "".join(blocks)],
            capture_output=True,
            timeout=DEADLINE_S,
            **house.options({"cwd": place}),
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert (Path(os.fsdecode(place)) / "sorted.csv").read_text() == "a,1\nb,2\nc,3\n"
