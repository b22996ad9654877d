"""An image of this machine's own programs, for tests that need real ones and no registry.

    with bundle("dx-test-git", programs=["git"]) as image: ...

Each file lies where it lies here, with the symlinks that lead to it, and programs bring the libraries that they load.
Besides there is busybox, behind all else on PATH.
"""

import fcntl
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.house import BUSYBOX, DEADLINE_S, ME, applets, docker

PATH = "/usr/local/bin:/usr/bin:/bin:/busybox"


class Tree:
    """What is to be in the image."""

    def __init__(self) -> None:
        self._links: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._directories: set[str] = set()

    def add(self, path: str | Path) -> None:
        """A file, or a directory with all in it, under this name."""
        here = self._walk(str(path))
        if not here.is_dir():
            self._files[str(here)] = here
            return
        self._directories.add(str(here))
        for each in here.iterdir():
            self.add(each)

    def add_program(self, name: str) -> None:
        """A program by name or path, and the libraries that it loads."""
        path = shutil.which(name)
        assert path, f"{name} is not installed"
        self.add(path)
        # It fails for a static program, which has none.
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False, timeout=DEADLINE_S).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            self.add(library)

    def tar(self) -> bytes:
        """All of it; the same bytes for the same files."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in sorted({*self._directories, *map(os.path.dirname, (*self._files, *self._links))}):
                _put(tar, name, tarfile.DIRTYPE)
            for name, target in sorted(self._links.items()):
                _put(tar, name, tarfile.SYMTYPE, link=target)
            for name, path in sorted(self._files.items()):
                _put(tar, name, tarfile.REGTYPE, path=path)
            _put(tar, "/busybox/busybox", tarfile.REGTYPE, path=Path(BUSYBOX))
            for applet in applets():
                if applet != "busybox":
                    _put(tar, f"/busybox/{applet}", tarfile.SYMTYPE, link="busybox")
            _put(tar, "/tmp", tarfile.DIRTYPE, mode=0o1777)
        return buffer.getvalue()

    def _walk(self, path: str) -> Path:
        """Where the path leads, noting each symlink on the way."""
        at, rest = Path("/"), deque(path.split("/"))
        while rest:
            part = rest.popleft()
            if part == "..":
                at = at.parent
                continue
            step = at / part
            if not step.is_symlink():
                at = step
                continue
            target = str(step.readlink())
            self._links[str(step)] = target
            rest.extendleft(reversed(target.split("/")))
            if target.startswith("/"):
                at = Path("/")
        return at


def _put(
    tar: tarfile.TarFile, name: str, kind: bytes, *, path: Path | None = None, link: str = "", mode: int = 0o755
) -> None:
    if name == "/":
        return
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type, info.linkname, info.mode = kind, link, mode
    if path is None:
        tar.addfile(info)
        return
    status = path.stat()
    info.mode, info.size = stat.S_IMODE(status.st_mode) & 0o755, status.st_size
    with path.open("rb") as file:
        tar.addfile(info, file)


@contextmanager
def bundle(name: str, *, programs: Iterable[str] = (), files: Iterable[str] = ()) -> Iterator[str]:
    """See that an image of that name has these programs and files; it is removed when no test run uses it any more."""
    tree = Tree()
    for each in programs:
        tree.add_program(each)
    for file in files:
        tree.add(file)
    content = tree.tar()
    digest = hashlib.sha256(content).hexdigest()
    here = Path(tempfile.gettempdir())
    with (here / f"{name}-{ME.uid}.lock").open("w") as using, (here / f"{name}-{ME.uid}.make").open("w") as making:
        fcntl.flock(using, fcntl.LOCK_SH)
        fcntl.flock(making, fcntl.LOCK_EX)
        if not docker("image", "ls", "--quiet", "--filter", f"label=dx.test.image={digest}", name):
            label = f"LABEL dx.test.image={digest}"
            docker("import", "-c", f"ENV PATH={PATH}", "-c", label, "-", f"{name}:latest", stdin=content)
        fcntl.flock(making, fcntl.LOCK_UN)
        yield f"{name}:latest"
        with suppress(BlockingIOError):
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            docker("image", "rm", "--force", f"{name}:latest")
