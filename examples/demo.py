"""What `./dev demo` shows: example tools built from their Dockerfiles, run in pipes and on files, and timed.

Everything is in a temporary directory, the user's own dx is not touched, and what was started is stopped at the end.
Every step says what must come out; the first that differs ends the demo with status 1.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
TOOLS = ("demo-busybox", "demo-jq", "demo-greet")
"""Names that are nobody's own: their images are replaced and removed here."""
PROJECT = {
    "dx.toml": f'[tools.{TOOLS[2]}]\nbuild = "."\n',
    "Dockerfile": f'FROM dx/{TOOLS[0]}\nENTRYPOINT ["echo", "good morning,"]\n',
}
COMMANDS = ("awk", "cat", "head", "sed", "sh", "sort", "true", "uniq", "wc")
ROUNDS = 15
"""Of each way to run a command; the ways take turns, so that whatever else the machine does hits all alike."""

WORDS = "pear\napple\nplum\napple\npear\napple\n"
JSON = '{"name": "dx", "speaks": ["argv", "pipes", "files", "signals"]}\n'


class Failed(Exception):
    """A step went differently from what the demo promises."""


class Demo:
    """One demonstration in `home`, its own little world."""

    def __init__(self, home: Path) -> None:
        self.work = home / "work"
        self.work.mkdir()
        (self.work / "words.txt").write_text(WORDS)
        (self.work / "data.json").write_text(JSON)
        self.project = self.work / "project"
        self.project.mkdir()
        for name, text in PROJECT.items():
            (self.project / name).write_text(text)
        self.environ = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
        for kind in ("config", "state", "data", "runtime"):
            (home / kind).mkdir(mode=0o700)
            self.environ[f"DX_{kind.upper()}_DIR"] = str(home / kind)
        self.shims = home / "data" / "shims"
        self.container = ""

    def say(self, text: str) -> None:
        """A heading."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def show(self, command: str, expect: str | None = None) -> None:
        """Print a shell command, run it in bash, print what it prints; `expect` is what its stdout must be."""
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.work, env=self.environ, stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, end="", flush=True)
        if done.returncode:
            raise Failed(f"this ended with status {done.returncode}: {command}")
        if expect is not None and done.stdout.split() != expect.split():
            raise Failed(f"{expect!r} was expected of: {command}")

    def quietly(self, *command: str) -> str:
        """Run a command that is not part of the show; what it printed, or "" if it failed."""
        try:
            done = subprocess.run(
                command, cwd=self.work, env=self.environ, capture_output=True, text=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if done.returncode else done.stdout.strip()

    def run(self) -> None:
        """The whole show."""
        self.say("Two tools, each built from its Dockerfile; no registry is asked")
        options = " ".join(f"--command {name}" for name in COMMANDS)
        self.show(f"dx add {TOOLS[0]} --build {EXAMPLES}/busybox {options} --yes")
        self.show(f"dx add {TOOLS[1]} --build {EXAMPLES}/jq --yes")
        self.show("dx ls")

        self.say("On files of this machine, and in pipes")
        self.show("dx run wc -l words.txt", "6 words.txt")
        self.show(f"dx run {TOOLS[1]} -r '.speaks[]' data.json", "argv pipes files signals")
        self.show("cat words.txt | dx run sort | dx run uniq -c | sort -rn", "3 apple 2 pear 1 plum")

        self.say("The same by name alone: `dx activate` puts the shims on PATH")
        self.environ["PATH"] = f"{self.shims}:{self.environ['PATH']}"
        self.show("command -v awk", f"{self.shims}/awk")
        self.show("awk '{ n[$1]++ } END { print n[\"apple\"] }' words.txt", "3")
        self.show("sed s/apple/quince/ < words.txt | sort -u | head -n 2", "pear plum")

        self.say("Exit codes, your own user, and a fresh root for every run")
        self.show("sh -c 'exit 7'; echo $?", "7")
        self.show("sh -c 'echo mine > made-inside'; stat -c %u made-inside", str(os.getuid()))
        self.show(
            "sh -c 'echo gone > ~/note; cat ~/note'; sh -c 'cat ~/note 2>/dev/null || echo not there'",
            "gone not there",
        )

        self.say("A project with a tool of its own, built once you trust it, and again when its Dockerfile changes")
        self.show("cd project && cat dx.toml && dx trust --yes")
        self.show(f"cd project && {TOOLS[2]} world", "good morning, world")
        self.show(f"cd project && sed -i s/morning/evening/ Dockerfile && {TOOLS[2]} world", "good evening, world")
        self.show(f"cd project && dx builds {TOOLS[2]}")
        self.compare()

    def compare(self) -> None:
        """Measure the ways to run `true`, by turns."""
        self.say(f"What it costs: `true`, from start to exit, median of {ROUNDS}, by turns")
        image = f"dx/{TOOLS[0]}:latest"
        name = f"dx-demo-{os.getpid()}"
        self.container = self.quietly("docker", "run", "-d", "--rm", "--name", name, image, "sleep", "600")
        if not self.container:
            raise Failed("docker run could not start a container to compare with")
        dx = str(BIN / "dx")
        docker = shutil.which("docker") or "docker"
        ways: dict[str, list[str]] = {
            "on the host itself": ["/bin/true"],
            "shim": [str(self.shims / "true")],
            "dx run": [dx, "run", "true"],
            "docker exec": [docker, "exec", self.container, "true"],
            "docker run --rm": [docker, "run", "--rm", image, "true"],
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        turns = list(ways.items())
        for turn in range(ROUNDS + 1):
            random.shuffle(turns)
            for way, command in turns:
                time.sleep(0.1)  # the engine goes on tidying up after `docker run` has ended
                spent = self.time(command)
                if turn:  # the first is to warm up
                    times[way].append(spent)
        median = {way: statistics.median(seconds) for way, seconds in times.items()}
        for way, seconds in median.items():
            print(f"  {way:<20} {seconds * 1000:8.2f} ms {seconds / median['dx run']:8.1f} times `dx run`")

    def time(self, command: list[str]) -> float:
        """Seconds from start to exit."""
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        os.chdir(self.work)
        start = time.perf_counter()
        child = os.posix_spawn(command[0], command, self.environ, file_actions=null)
        _, status = os.waitpid(child, 0)
        spent = time.perf_counter() - start
        if status:
            raise Failed(f"this ended with status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
        return spent

    def clean_up(self) -> None:
        """Stop and remove whatever the show made, as far as it came."""
        if self.container:
            self.quietly("docker", "rm", "-f", self.container)
        self.quietly("dx", "stop", "--all")
        self.quietly("dx", "daemon", "stop")
        for tool in TOOLS[::-1]:
            images = self.quietly("docker", "images", "--quiet", "--no-trunc", "--filter", f"label=dev.dx.tool={tool}")
            if images:
                self.quietly("docker", "rmi", "-f", *set(images.split()))


def main() -> int:
    """Show everything; 0 if all went as promised."""
    with tempfile.TemporaryDirectory(prefix="dx-demo-") as home:
        demo = Demo(Path(home))
        try:
            demo.run()
        except Failed as failure:
            log = Path(home) / "state" / "dxd.log"
            print(f"\nThe demo failed: {failure}", file=sys.stderr)
            if log.exists():
                print(f"The daemon's last words:\n{log.read_text()[-4000:]}", file=sys.stderr)
            return 1
        finally:
            os.chdir(EXAMPLES)
            demo.clean_up()
    print("\nAll of it is stopped and removed again. Your own tools: dx add NAME IMAGE, dx --help")
    return 0


if __name__ == "__main__":
    sys.exit(main())
