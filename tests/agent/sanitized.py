"""The agent and the launcher with AddressSanitizer and UndefinedBehaviorSanitizer, installed to be used in tests."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hatch_build
from tests.house import DEADLINE_S
from tests.installation import bin_for

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-static-libasan", "-static-libubsan")
"""The sanitizers' own code in the program: the container's root has no libraries."""
IN_CONTAINER = ("-Wl,--dynamic-linker=/.dx/bin/ld.so", "-Wl,-rpath,/.dx/bin")
"""What is left to load lies beside the agent, in the directory that the daemon mounts there."""
OPTIONS = """
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void) { return "log_path=REPORTS/asan:exitcode=99"; }
const char *__ubsan_default_options(void) { return "log_path=REPORTS/ubsan:print_stacktrace=1"; }
"""
"""The launcher's, in the program because a variable would be one more for the run to see. A report ends it with a
status that no test expects; the agent's go to its container's log."""
REPORT = re.compile(rb"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|SUMMARY: ")
LIBRARY = re.compile(r"^\s*(\S+) (?:=> )?(/\S+) \(0x", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sanitized:
    """Both programs, and where they write what they find."""

    bin: Path
    """`dx`, with `dxd` and `dx-cli` beside it."""
    agent_dir: Path
    reports: Path

    @property
    def environ(self) -> dict[str, str]:
        """What makes a house use them."""
        return {"DX_TEST_BIN": str(self.bin), "DX_AGENT_DIR": str(self.agent_dir)}

    def found(self) -> str:
        """The launchers' reports."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.reports.iterdir()))


def build(directory: Path) -> Sanitized:
    """Compile both with the machine's gcc, and lay them out as a house needs them."""
    made = Sanitized(directory / "bin", directory / "agent", directory / "reports")
    for path in (made.bin, made.agent_dir, made.reports):
        path.mkdir()
    made.reports.chmod(0o777)  # launchers of other users write there too
    (options := directory / "options.c").write_text(OPTIONS.replace("REPORTS", str(made.reports)))
    hatch_build.compile_program("dx", made.bin / "dx", ["gcc"], (*FLAGS, str(options)))
    agent = made.agent_dir / "agent"
    hatch_build.compile_program("agent", agent, ["gcc"], (*FLAGS, *IN_CONTAINER))
    for name, path in LIBRARY.findall(subprocess.check_output(["ldd", agent], text=True, timeout=DEADLINE_S)):
        shutil.copy(path, made.agent_dir / Path(name).name)
    for name in ("dxd", "dx-cli"):
        (made.bin / name).symlink_to(bin_for(os.geteuid()) / name)
    return made


@dataclass
class Logs:
    """What every agent of that build has said, from all containers, to their ends."""

    directory: Path
    containers: list[str] = field(default_factory=list)

    def text(self) -> bytes:
        """All of it."""
        return b"".join(path.read_bytes() for path in sorted(self.directory.iterdir()))


@contextmanager
def agents_logs(agent: Path, directory: Path) -> Iterator[Logs]:
    """Follow the logs of each container that starts with this agent; they are whole when the block has ended."""
    label = f"label=dev.dx.agent={hashlib.sha256(agent.read_bytes()).hexdigest()[:12]}"
    logs = Logs(directory)
    followers: list[subprocess.Popen[bytes]] = []

    def follow() -> None:
        assert events.stdout is not None
        for line in events.stdout:
            logs.containers.append(line.strip())
            with (directory / line.strip()).open("wb") as file:
                followers.append(
                    subprocess.Popen(["docker", "logs", "--follow", line.strip()], stdout=file, stderr=file)
                )

    command = ["docker", "events", "--filter", label, "--filter", "event=start", "--format", "{{.ID}}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        thread = threading.Thread(target=follow, name="docker events")
        thread.start()
        try:
            yield logs
        finally:
            events.terminate()
            thread.join(DEADLINE_S)
            for follower in followers:
                follower.wait(DEADLINE_S)


def run_tests(sanitized: Sanitized, *tests: str) -> "subprocess.CompletedProcess[str]":
    """Those tests, in a pytest of their own, with these programs in place of the installed ones."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    return subprocess.run(
        command,
        cwd=hatch_build.ROOT,
        env=environ | sanitized.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
