"""The build hook of the package: compiles the agent and the launcher and puts them into the wheel.

From a checkout or a source distribution the machine's own C compiler is used where it can link statically, else the
`ziglang` package, which the hook asks for only then. `DX_TARGETS=x86_64,aarch64` makes a release wheel: always with
zig and musl, an agent for each machine named, the launcher for the first of them, which is the wheel's machine too.

As a script, `python hatch_build.py DIRECTORY [FLAG...]` compiles both programs into a directory, for tests and lint.
A compiler that fails raises `CalledProcessError`; what it says goes to stderr.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
ZIG = "ziglang==0.15.2"
"""One version, so that a release is made of the same bytes wherever it is built."""

ZIG_TARGETS = {"x86_64": "x86_64-linux-musl", "aarch64": "aarch64-linux-musl"}
RELEASE_TAG = "py3-none-manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"
"""A static program needs no C library at all, so every Linux of that machine can have the wheel."""

FLAGS = ("-std=c17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Idaemon/agent")
NOT_THE_AGENT = ("fuzz_", "test_")


def sources(program: str) -> list[str]:
    """The C files of `agent` or `dx`, relative to the root, sorted; raises `FileNotFoundError` if there are none."""
    if program == "agent":
        found = [f for f in ROOT.glob("daemon/agent/*.c") if not f.name.startswith(NOT_THE_AGENT)]
    else:
        found = [*ROOT.glob("client/launcher/*.c"), ROOT / "daemon/agent/wire.c"]
    if len(found) < 2:
        raise FileNotFoundError(f"no C sources of {program}; build from a checkout or a source distribution")
    return sorted(str(f.relative_to(ROOT)) for f in found)


@cache
def own_compiler() -> list[str]:
    """The command of the machine's compiler: CC, else the one that makes the better static programs.

    With musl (Debian's musl-tools) a program is an eighth of the size, and on a virtual machine it starts in a third of
    the time: glibc asks the processor what it is at each start, and every such question leaves the virtual machine.
    """
    if named := os.environ.get("CC"):
        return shlex.split(named)
    if wrapper := shutil.which("musl-gcc"):
        multiarch = subprocess.run(
            ["gcc", "-print-multiarch"], capture_output=True, text=True, check=False
        ).stdout.strip()
        # The kernel's headers, which are not musl's own; behind all others, for the C library's names are here too.
        musl = [wrapper, "-idirafter", "/usr/include", "-idirafter", f"/usr/include/{multiarch}"]
        if _makes_static(musl):
            return musl
    return ["cc"]


@cache
def links_static() -> bool:
    """Whether the machine's own compiler is there and can make a static program."""
    return _makes_static(own_compiler())


def _makes_static(compiler: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        # A compiler without the C library's headers, or the kernel's, is no use either.
        program = b'#include <stdio.h>\n#include <linux/audit.h>\nint main(void) { return puts(""); }'
        command = [*compiler, "-std=c17", "-static", "-x", "c", "-", "-o", f"{scratch}/a.out"]
        try:
            return not subprocess.run(command, input=program, capture_output=True, check=False).returncode
        except OSError:
            return False


def compiler(machine: str, *, release: bool = False) -> list[str]:
    """The command that compiles for `machine`."""
    if not release and links_static():
        return own_compiler()
    if machine not in ZIG_TARGETS:
        raise RuntimeError(f"no C compiler here links statically, and zig is set up for {', '.join(ZIG_TARGETS)} only")
    return [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TARGETS[machine]]


def compile_program(program: str, output: Path, command: list[str], flags: tuple[str, ...] = ()) -> None:
    """Compile `agent` or `dx` to `output`, which is replaced at once or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_name(f".{output.name}.{os.getpid()}")
    # A warning of a compiler that we have not met must not stop a user's install; it stops a developer's.
    strict = ("-Werror",) if (ROOT / ".git").exists() else ()
    # musl's own CMSG_NXTHDR compares a size with a difference of pointers; the machine's compiler looks at our code.
    quiet = ("-Wno-sign-compare",) if "ziglang" in command or "musl" in command[0] else ()
    # The sanitizers come as shared libraries only.
    link = ("-g",) if any(flag.startswith("-fsanitize") for flag in flags) else ("-static", "-s")
    try:
        line = [*command, *FLAGS, *strict, *quiet, *link, *flags, *sources(program), "-o", str(fresh)]
        subprocess.run(line, cwd=ROOT, check=True)
        fresh.chmod(0o755)
        fresh.replace(output)
    finally:
        fresh.unlink(missing_ok=True)


class Programs(BuildHookInterface[Any]):
    """What hatchling calls: `dependencies` before it sets up the build, then `initialize`, then `finalize`."""

    @property
    def targets(self) -> list[str]:
        """The machines of a release wheel; none for an ordinary build."""
        return os.environ.get("DX_TARGETS", "").replace(",", " ").split()

    def dependencies(self) -> list[str]:
        """What the build needs from the package index."""
        return [ZIG] if self.targets or not links_static() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling where the programs belong."""
        release = bool(self.targets)
        machines = self.targets or [os.uname().machine]
        # Kept until this hook goes, which is after the wheel was written.
        self.scratch = tempfile.TemporaryDirectory(prefix="dx-build-")
        scratch = Path(self.scratch.name)
        editable = version == "editable"
        for machine in machines:
            place = f"dxd/agent-bin/{machine}/agent"
            agent = ROOT / "daemon" / place if editable else scratch / place
            compile_program("agent", agent, compiler(machine, release=release))
            if not editable:
                build_data["force_include"][str(agent)] = place
        compile_program("dx", scratch / "dx", compiler(machines[0], release=release))
        build_data["shared_scripts"][str(scratch / "dx")] = "dx"
        build_data["pure_python"] = False
        build_data["tag"] = RELEASE_TAG.format(machines[0]) if release else f"py3-none-linux_{machines[0]}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up."""
        self.scratch.cleanup()


def main() -> None:
    """Compile both programs into the directory that the first argument names, with the flags that follow."""
    directory, *flags = sys.argv[1:]
    # The sanitizers know no C library but glibc.
    command = ["cc"] if any(flag.startswith("-fsanitize") for flag in flags) else compiler(os.uname().machine)
    for program in ("agent", "dx"):
        try:
            compile_program(program, Path(directory).resolve() / program, command, tuple(flags))
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)  # the compiler said what is wrong


if __name__ == "__main__":
    main()
