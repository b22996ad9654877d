"""What the build hook puts into a wheel, and what an install of it gives."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, build_wheel
from tests.packaging.elf import Program

MACHINE = os.uname().machine
AGENT = f"dxd/agent-bin/{MACHINE}/agent"


def programs(wheel: Path) -> dict[str, Program]:
    """The executables in a wheel by their names, without the version in them."""
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.external_attr >> 16 & 0o111:
                name = entry.filename
                found["bin/" + name.rpartition("/")[2] if ".data/scripts/" in name else name] = Program.of(
                    archive.read(entry)
                )
    return found


def test_a_wheel_holds_both_programs_static_and_executable(wheel: Path) -> None:
    assert programs(wheel) == {"bin/dx": Program(MACHINE, static=True), AGENT: Program(MACHINE, static=True)}


def test_a_wheel_is_for_its_machine_and_any_python_3(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-linux_{MACHINE}.whl")


def test_a_wheel_holds_both_packages_their_types_and_the_licence_and_no_sources_in_c(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"dx/__init__.py", "dx/py.typed", "dxd/__init__.py", "dxd/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"dx", "dxd"}
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_an_install_into_a_clean_environment_gives_three_commands_and_lacks_no_module(
    wheel: Path, tmp_path: Path
) -> None:
    bin_dir = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([str(bin_dir / "pip"), "install", "-q", str(wheel)], check=True)
    # What is installed must be enough: not this test's environment, nor the checkout.
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def say(*command: str) -> str:
        return subprocess.run(command, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True).stdout

    version = say(str(bin_dir / "dx"), "--version").split()[-1]
    assert say(str(bin_dir / "dxd"), "--version") == f"dxd {version}\n"
    assert say(str(bin_dir / "dx-cli"), "--version") == say(str(bin_dir / "dx"), "--version")
    say(
        str(bin_dir / "python"),
        "-c",
        "import dx, dxd, pkgutil, importlib\n"
        "for package in dx, dxd:\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n",
    )
    agent = say(
        str(bin_dir / "python"),
        "-c",
        f"import dxd, os, pathlib; print(os.access(pathlib.Path(dxd.__file__).parents[1] / {AGENT!r}, os.X_OK))",
    )
    assert agent == "True\n"


def test_an_editable_install_puts_the_agent_where_the_daemon_looks_for_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", "README.md", "client", "daemon", "systemd"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("agent-bin", "__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    build = "from hatchling.build import build_editable as build; print(build('.'))"
    wheel = subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, text=True).stdout
    assert Program.of((tree / "daemon" / AGENT).read_bytes()) == Program(MACHINE, static=True)
    assert os.access(tree / "daemon" / AGENT, os.X_OK)
    assert set(programs(tree / wheel.strip())) == {"bin/dx"}
    with zipfile.ZipFile(tree / wheel.strip()) as archive:
        assert archive.read("_dx.pth").decode().split() == [str(tree / "client"), str(tree / "daemon")]
    # An agent that an editable install left behind does not go into a wheel twice.
    assert set(programs(build_wheel(tree, tmp_path / "wheel", "--no-build-isolation"))) == {"bin/dx", AGENT}


@pytest.mark.parametrize(
    ("variables", "needs"),
    [
        ({}, []),
        ({"CC": "/nowhere/cc"}, ["ziglang"]),
        # A compiler that is there and cannot make programs is no better.
        ({"CC": "false"}, ["ziglang"]),
        ({"DX_TARGETS": "x86_64,aarch64"}, ["ziglang"]),
    ],
)
def test_zig_is_asked_for_only_where_it_is_needed(variables: dict[str, str], needs: list[str]) -> None:
    ask = "from hatchling.build import get_requires_for_build_wheel as ask; print(*ask(), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    assert [line.partition("==")[0] for line in done.stdout.split()] == needs


@pytest.mark.timeout(1200)
def test_a_release_wheel_holds_the_agents_of_both_machines_and_its_own_launcher(tmp_path: Path) -> None:
    # With isolation: the hook asks for zig, as a release on a bare machine would.
    wheel = build_wheel(ROOT, tmp_path, DX_TARGETS="aarch64,x86_64")
    assert programs(wheel) == {
        "bin/dx": Program("aarch64", static=True),
        "dxd/agent-bin/aarch64/agent": Program("aarch64", static=True),
        "dxd/agent-bin/x86_64/agent": Program("x86_64", static=True),
    }
    assert wheel.name.partition("-py3-none-")[2] == (
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl"
    )
