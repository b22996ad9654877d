"""Where the programs under test are, for everyone who runs them.

Root's interpreter may lie where nobody else can go, below /root as a rule. Then those who are not root get a copy of
it, with the package and what it depends on: links to the same files where that is possible.
"""

import atexit
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

BIN = Path(os.environ.get("DX_TEST_BIN") or Path(sys.executable).parent)
"""Where the `dx` and the `dxd` under test are."""


@cache
def bin_for(uid: int) -> Path:
    """A directory with `dx`, `dxd` and `dx-cli` which that user can execute."""
    who = {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": ()}
    with suppress(PermissionError):
        for program in ("dxd", "dx-cli"):
            # By itself, for whatever of Python's own the user cannot see either.
            done = subprocess.run([BIN / program, "--version"], cwd="/", capture_output=True, timeout=60, **who)  # type: ignore[call-overload]
            if done.returncode or done.stderr:
                break
        else:
            return BIN
    return _copy() / "bin"


def python_for(uid: int) -> list[str]:
    """The start of a command line: a Python that has dx, and which that user can execute."""
    python = bin_for(uid) / "python"
    if python.parent == BIN:
        return [str(python)]
    # No script, since a shell has things of its own to say, about a current directory that is gone for example.
    return ["/usr/bin/env", f"LD_LIBRARY_PATH={python.parent.parent}/lib", str(python)]


@cache
def _copy() -> Path:
    root = Path(tempfile.mkdtemp(prefix="dxi", dir="/tmp"))
    atexit.register(shutil.rmtree, root)
    root.chmod(0o755)
    stdlib, bin_ = Path(sysconfig.get_path("stdlib")), root / "bin"
    packages = root / "packages"
    for directory in (bin_, packages):
        directory.mkdir()
    shutil.copytree(
        stdlib,
        root / "lib" / stdlib.name,
        copy_function=_link,
        ignore=shutil.ignore_patterns("site-packages", "test", "idlelib", "ensurepip", "config-*"),
    )
    python = bin_ / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    _link(os.path.realpath(sys.executable), python)
    for library in Path(sysconfig.get_config_var("LIBDIR")).glob(f"lib{python.name}*.so*"):
        _link(library, root / "lib" / library.name)
    for name in _dependencies("dx", set()):
        _copy_distribution(importlib.metadata.distribution(name), packages)
    for name in ("dx", "dxd"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, packages / name, copy_function=_link, dirs_exist_ok=True)
    _link(BIN / "dx", bin_ / "dx")
    for script, module in (("dxd", "dxd.__main__"), ("dx-cli", "dx.cli")):
        code = f"import sys; sys.path.append('{packages}'); from {module} import main; sys.exit(main())"
        path = bin_ / script
        path.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={root}/lib exec {python} -P -c "{code}" "$@"\n')
        path.chmod(0o755)
    # What `python -m dx` needs, so that no variable has to say it.
    site = root / "lib" / stdlib.name / "site-packages"
    site.mkdir()
    (site / "dx.pth").write_text(f"{packages}\n")
    (bin_ / "python").symlink_to(python.name)
    return root


def _dependencies(name: str, known: set[str]) -> set[str]:
    """The distribution and all that it needs, of those that are installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        wanted = importlib.metadata.distribution(name).requires or []
        known.add(name)
        for line in wanted:
            needed = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
            if "extra ==" not in line and needed not in known:
                _dependencies(needed, known)
    return known


def _copy_distribution(distribution: importlib.metadata.Distribution, into: Path) -> None:
    for file in distribution.files or []:
        if ".." in file.parts or file.suffix == ".pth":
            continue
        target = into / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _link(str(file.locate()), target)


def _link(source: str | Path, target: str | Path) -> str:
    """A link where the file system is the same, else a copy; what is there already stays."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        shutil.copy2(source, target)
    return str(target)
