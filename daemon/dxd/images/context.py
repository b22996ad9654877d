"""The build context of a tool: what belongs to it, and that as a tar archive, streamed.

Never more than a few blocks of the archive are in memory. `identity` names a build by the same walk, so what it says is
always about what would be sent.

Names are bytes to the engine, whatever they are here (PEP 383). Modes, times and symlinks are kept, owners are root, as
with Docker's own command line. Sockets, pipes and devices are left out. A file that grows or shrinks while it is read
is `BuildFailed`, because half of it would be worse; one that has gone by then is left out.

What is sent is hashed on its way. Where it is not what was looked at before, the archive ends without its last block,
so that no engine can make an image of it.

BuildKit takes an archive as it is, without a look at .dockerignore. So a Dockerfile that is ignored, or lies outside of
the context, is among what `COPY . .` copies.
"""

import asyncio
import errno
import hashlib
import io
import os
import stat
import sys
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dxd.errors import BuildFailed
from dxd.images.entry import DOCKERFILE, entry, name_of, value_of
from dxd.images.ignore import BadPattern, Ignore, Verdict
from dxd.tools.model import Build

BLOCK_BYTES = 1 << 20
"""Of the archive, read in one go in a thread and sent in one go."""
MAX_DOCKERFILE_BYTES = 8 << 20
MEND_HINT = "mend it, or keep it out with a line in .dockerignore"
AT_REST_HINT = "it is built when they are at rest; keep what never is out with a line in .dockerignore"


class ContextMoved(BuildFailed):
    """The files are not those that were looked at before: nothing is built of them, and nothing said of them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A build's context, looked at: what is needed before its archive can be made."""

    context: str
    dockerfile: str
    """Its name in the archive."""
    shown: str
    """What the user calls it."""
    content: bytes
    """The Dockerfile's, when it was looked at."""
    is_outside: bool
    """No file of the context is the Dockerfile: the archive has its content as a file besides."""
    ignore: Ignore

    @property
    def said(self) -> bytes:
        """The Dockerfile, to be hashed as `DOCKERFILE`; one of the context is among its files, so only which it is."""
        return b"+" + self.content if self.is_outside else b"/" + self.dockerfile.encode()


def read(build: Build) -> Recipe:
    """Look at the Dockerfile and at .dockerignore; raises `BuildFailed`. Blocks for a few small files."""
    try:
        return _read(build)
    except OSError as error:
        where = error.filename or build.context
        raise BuildFailed(f"cannot read {where}: {error.strerror}", "mend it") from None


def _read(build: Build) -> Recipe:
    # Not `Path.resolve`, which has errors of its own for loops.
    context = Path(os.path.realpath(build.context))
    try:
        is_directory = stat.S_ISDIR(context.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_directory = False
    if not is_directory:
        raise no_directory(str(build.context))
    file = build.file or _default(build.context)
    ignore = _read_ignore(Path(f"{file}.dockerignore"), build.context / ".dockerignore")
    where = Path(os.path.realpath(file.parent), file.name)
    inside = where.is_relative_to(context) and not where.is_symlink() and _is_text(str(where))
    try:
        with where.open("rb") as opened:
            content = opened.read(MAX_DOCKERFILE_BYTES + 1)
    except FileNotFoundError:
        raise BuildFailed(f"there is no Dockerfile {file}", "create it, or name another one as `file`") from None
    if len(content) > MAX_DOCKERFILE_BYTES:
        raise BuildFailed(f"{file} is too large for a Dockerfile", "name another one as `file`")
    if inside:
        name = str(where.relative_to(context))
        return Recipe(str(context), name, name, content, is_outside=False, ignore=ignore)
    name = f".{hashlib.sha256(content).hexdigest()[:20]}.Dockerfile"
    return Recipe(str(context), name, str(file), content, is_outside=True, ignore=ignore)


def no_directory(context: str) -> BuildFailed:
    """The error for a context that is none."""
    return BuildFailed(f"the build context {context} is no directory", "create it, or change `context`")


def _is_text(name: str) -> bool:
    """Whether the engine can be told the name, in a URL."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _default(context: Path) -> Path:
    """`Dockerfile`, or else `dockerfile`, as Docker's command line has it."""
    small = context / "dockerfile"
    return small if not (context / "Dockerfile").exists() and small.exists() else context / "Dockerfile"


def _read_ignore(*files: Path) -> Ignore:
    """The first of the files that exists: the one beside the Dockerfile, else the context's."""
    for file in files:
        try:
            return Ignore(os.fsdecode(file.read_bytes()).split("\n"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BuildFailed(f"cannot read {file}: {error.strerror}", "mend it") from None
        except BadPattern as error:
            raise BuildFailed(f"{file}: {error}", "mend that line") from None
    return Ignore()


class Archive:
    """The archive, in blocks. Read by one task; `close` it afterwards, also when reading was cancelled."""

    def __init__(self, recipe: Recipe, sent: str | None = None, *, dockerfile: bytes | None = None) -> None:
        """`sent` is what it has to be, as `Identity.sent`; reading it raises `ContextMoved` where it is not.

        With `dockerfile` that is sent in place of what the Dockerfile says.
        """
        self._blocks = _joined(_archive(recipe, sent, dockerfile))
        self._step: asyncio.Future[bytes | None] | None = None

    def __aiter__(self) -> "Archive":
        return self

    async def __anext__(self) -> bytes:
        self._step = asyncio.get_running_loop().run_in_executor(None, next, self._blocks, None)
        # Shielded, because a thread cannot be cancelled: `close` has to wait for it.
        block = await asyncio.shield(self._step)
        if block is None:
            raise StopAsyncIteration
        return block

    async def close(self) -> None:
        """Wait for a block that is being read, and close the file it comes from."""
        if self._step and not self._step.done():
            await asyncio.wait({self._step})
        self._blocks.close()


def _joined(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same bytes in blocks of at least `BLOCK_BYTES`."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _archive(recipe: Recipe, sent: str | None, dockerfile: bytes | None) -> Iterator[bytes]:
    content = recipe.content if dockerfile is None else dockerfile
    whole = hashlib.sha256(entry(DOCKERFILE, recipe.said))
    try:
        for name, status in walk(recipe):
            if name == recipe.dockerfile and dockerfile is not None and not recipe.is_outside:
                yield _given(name, content, stat.S_IMODE(status.st_mode), int(status.st_mtime))
                # What it is made from, as in its identity.
                whole.update(entry(name_of(name), value_of(status, hashlib.sha256(recipe.content).digest())))
            else:
                yield from _entry(f"{recipe.context}/{name}", name, status, whole)
    except BuildFailed as error:
        raise ContextMoved(error.message, error.hint) from None
    if sent is not None and whole.hexdigest() != sent:
        raise ContextMoved(f"files of {recipe.context} changed before they were sent", AT_REST_HINT)
    if recipe.is_outside:
        yield _given(recipe.dockerfile, content, 0o644, 0)
    yield bytes(2 * tarfile.BLOCKSIZE)


@dataclass(slots=True)
class _Directory:
    """A directory that the walk is in."""

    name: str
    status: os.stat_result
    verdict: Verdict
    told: bool
    """It is in the archive. One that is ignored comes in when something below it does."""
    names: list[str] = field(default_factory=list)
    """What is still to be looked at, last name first."""


def walk(recipe: Recipe) -> Iterator[tuple[str, os.stat_result]]:
    """What belongs to the context, by its name in it: directories before what they hold, in the order of names.

    The status is lstat(2)'s. Other things than directories, files and symlinks are left out. Raises `BuildFailed`.
    """
    ignore = recipe.ignore
    wanted = "" if recipe.is_outside else recipe.dockerfile
    try:
        root = _Directory("", os.lstat(recipe.context), ignore.root, told=True)
        root.names = sorted(os.listdir(recipe.context), reverse=True)
    except OSError as error:
        let_go(recipe.context, error)
        raise no_directory(recipe.context) from None
    way = [root]
    while way:
        here = way[-1]
        if not here.names:
            way.pop()
            continue
        name = f"{here.name}/{here.names.pop()}" if here.name else here.names.pop()
        path = f"{recipe.context}/{name}"
        try:
            status = os.lstat(path)
        except OSError as error:
            let_go(path, error)
            continue
        verdict = ignore.judge(name, here.verdict)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and (not verdict[0] or wanted.startswith(f"{name}/") or ignore.may_include_below(name)):
            way.append(_Directory(name, status, verdict, told=False, names=_list(path)))
        if not verdict[0] or name == wanted:
            for directory in way:
                if not directory.told:
                    directory.told = True
                    yield directory.name, directory.status
            if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                yield name, status


def _list(path: str) -> list[str]:
    """The names in a directory, in reverse order."""
    try:
        return sorted(os.listdir(path), reverse=True)
    except OSError as error:
        let_go(path, error)
        return []


def let_go(path: str, error: OSError) -> None:
    """Let pass that something has gone while the context was read; raise for anything else."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        raise BuildFailed(f"cannot read {path} of the build context: {error.strerror}", MEND_HINT) from None


def open_file(path: str) -> int:
    """A descriptor for reading, of whatever has that name by now; raises `OSError`, for a symlink too. Never waits."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def changed(path: str) -> BuildFailed:
    """The error for a file that does not hold still."""
    return BuildFailed(f"{path} changed while the build context was read", AT_REST_HINT)


def _entry(path: str, name: str, status: os.stat_result, whole: "hashlib._Hash") -> Iterator[bytes]:
    """A file of the archive, which is hashed into `whole`."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    told = b""
    try:
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
            yield _header(info)
        elif stat.S_ISLNK(status.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - Path changes it
            told = os.fsencode(info.linkname)
            yield _header(info)
        else:
            fd = open_file(path)
            with os.fdopen(fd, "rb", 0) as file:
                now = os.fstat(fd)
                if not stat.S_ISREG(now.st_mode):
                    return
                info.size = now.st_size
                yield _header(info)
                content = hashlib.sha256()
                yield from _content(file, path, info.size, content)
                told = content.digest()
    except OSError as error:
        let_go(path, error)
        return
    whole.update(entry(name_of(name), value_of(status, told)))


def _given(name: str, content: bytes, mode: int, mtime: int) -> bytes:
    """A file with that content."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, mtime
    return _header(info) + content + _padding(info.size)


def _content(file: io.FileIO, path: str, size: int, digest: "hashlib._Hash") -> Iterator[bytes]:
    left = size
    while data := file.read(min(left, BLOCK_BYTES) or 1):
        left -= len(data)
        if left < 0:
            break
        digest.update(data)
        yield data
    if left:
        raise changed(path)
    yield _padding(size)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, sys.getfilesystemencoding(), "surrogateescape")
