"""The command line as a user has it: a directory of programs, places of its own, and ways to run it."""

import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fakes import daemon as fake

DEADLINE_S = 30
FAKE = Path(fake.__file__)

LAUNCHER = """#!{python}
import os, subprocess, sys
assert sys.argv[1:] in (["daemon", "start"], ["run", "--help"]), sys.argv
if sys.argv[1] == "run":
    print("help of run")
    sys.exit(0)
if reason := os.environ.get("FAKE_START_FAILS"):
    sys.exit("dx: " + reason)
silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
child = subprocess.Popen([sys.executable, {fake!r}, os.environ["DX_RUNTIME_DIR"] + "/dxd.sock"], **silent)
while not os.path.exists(os.environ["DX_RUNTIME_DIR"] + "/dxd.sock"):
    assert child.poll() is None
"""


@dataclass
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


class Dx:
    """The command line as it is installed: `dx-cli` in a directory, a launcher of the test's beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.program = self.bin / "dx-cli"
        self._write(self.program, f"#!{sys.executable}\nimport sys\nfrom dx.cli import main\nsys.exit(main())\n")
        self._write(self.bin / "dx", LAUNCHER.format(python=sys.executable, fake=str(FAKE)))
        for name in ("config", "state", "data", "run"):
            (root / name).mkdir(mode=0o700)
        self.environ = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(root),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DX_CONFIG_DIR": str(root / "config"),
            "DX_STATE_DIR": str(root / "state"),
            "DX_DATA_DIR": str(root / "data"),
            "DX_RUNTIME_DIR": str(root / "run"),
            "LC_ALL": "C.UTF-8",
        }

    @property
    def socket(self) -> Path:
        """Where its daemon listens."""
        return self.root / "run" / "dxd.sock"

    @property
    def file(self) -> Path:
        """Its dx.toml."""
        return self.root / "config" / "dx.toml"

    def __call__(self, *arguments: str, stdin: str = "", **environ: str) -> Done:
        """Run it without a terminal."""
        done = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={**self.environ, **environ},
            timeout=DEADLINE_S,
            cwd=self.root,
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, *arguments: str, answer: str = "", **environ: str) -> Done:
        """Run it on a terminal of its own, with the answer typed at once; everything it shows is in `out`."""
        master, slave = pty.openpty()
        os.write(master, answer.encode())
        child = subprocess.Popen(
            [self.program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**self.environ, "TERM": "xterm", **environ},
            cwd=self.root,
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(master)
        status = child.wait(DEADLINE_S)
        assert b"Traceback" not in shown
        return Done(status, shown.decode(), "")

    def script(self, name: str, text: str) -> Path:
        """A program on its PATH."""
        return self._write(self.bin / name, text)

    def _write(self, path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o755)
        return path
