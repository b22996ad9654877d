"""The sanitizers find nothing in the agent and the launcher while the tests of both pass."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.sanitized import REPORT, Sanitized, agents_logs, build, run_tests
from tests.e2e.rig import init_of
from tests.house import ME, House


@pytest.fixture(scope="module")
def sanitized() -> Iterator[Sanitized]:
    """Both programs, built once, where every user can go."""
    with tempfile.TemporaryDirectory(prefix="dxs", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield build(Path(directory))


REDIRECTED = ["tests/e2e/test_users.py", "-k", "redirect or descriptor or disk"]
CONTRACT = ["tests/contract", "-k", "run-", "--ignore", "tests/contract/test_paths.py"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tests", [CONTRACT, REDIRECTED, ["tests/agent/test_hostile.py"]], ids=" ".join)
def test_no_report_while_these_pass(sanitized: Sanitized, tests: list[str], tmp_path: Path) -> None:
    """They pass as they do with the programs that ship, and nothing is reported on either side.

    Of the contract one door is enough: behind a shim is the same program, and Python's is no C. What
    arguments name is the daemon's to find, so of those cases enough is in the others.
    """
    with agents_logs(sanitized.agent_dir / "agent", tmp_path) as logs:
        done = run_tests(sanitized, *tests)
    assert done.returncode == 0, done.stdout
    assert logs.containers, "the tests did not use the sanitizers' agent"
    assert not REPORT.search(logs.text()), logs.text().decode(errors="replace")
    assert not sanitized.found()


def test_both_have_the_sanitizers_in_them(sanitized: Sanitized, image: str) -> None:
    """What runs is what was built: the launcher and PID 1 of the container carry the sanitizers' code."""
    with House(ME, **sanitized.environ) as house:
        done = subprocess.run([sanitized.bin / "dx", "run", image, "true"], env=house.env, cwd=house.work, timeout=60)
        assert done.returncode == 0
        (container,) = house.containers()
        running = Path(f"/proc/{init_of(container)}/exe").read_bytes()
    assert running == (sanitized.agent_dir / "agent").read_bytes()
    for program in (running, (sanitized.bin / "dx").read_bytes()):
        assert b"AddressSanitizer" in program
        assert b"runtime error" in program
