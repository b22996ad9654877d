"""Trees with everything that a file system can hold, and what is to be seen of one from outside."""

import hashlib
import os
import socket
import stat
from pathlib import Path


def fill(root: Path, word: str, *, owners: bool = True) -> None:
    """Put one of each kind into an empty directory; what is in the files has `word` in it."""
    (root / "data" / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    for number in range(40):
        (root / "data" / f"{number}").write_text(f"{word} {number}")
    (root / "data" / "big").write_bytes(word.encode() * 300_000)
    (root / b"\xff\n name".decode(errors="surrogateescape")).write_text(word)
    (root / "none").write_bytes(b"")
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(20 << 20)
        sparse.seek(10 << 20)
        sparse.write(word.encode())
    os.link(root / "data" / "7", root / "data" / "deep" / "seven")
    os.link(root / "data" / "7", root / "seven")
    (root / "link").symlink_to("data/nowhere")
    os.link(root / "link", root / "same link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as left_out:
        left_out.bind(os.fsencode(os.path.relpath(root / "sock")))
    os.setxattr(root / "data" / "1", "user.note", word.encode())
    os.setxattr(root / "data", "user.note", b"directory")
    if owners:
        os.mknod(root / "device", 0o660 | stat.S_IFCHR, os.makedev(1, 3))
        os.setxattr(
            root / "data" / "2", "security.capability", bytes.fromhex("0000000200040000000000000000000000000000")
        )
        for path, uid, gid in (("data/3", 70, 70), ("data", 999, 1000), ("link", 5, 6), ("fifo", 7, 8), ("", 70, 71)):
            os.lchown(root / path, uid, gid)
    for path, mode in (("data/4", 0o4755), ("data/5", 0o000), ("data", 0o2770), ("empty", 0o1777), ("", 0o750)):
        (root / path).chmod(mode)
    for path in ("data/6", "link", "data/deep", "data", ""):
        os.utime(root / path, ns=(10**18 + 1, 10**18 + 7), follow_symlinks=False)


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Of everything below: kind, mode, owner, times, data, holes, names of the same file, attributes."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    paths = [root, *sorted(root.rglob("*"))]
    for path in paths:
        status = path.lstat()
        name = str(path.relative_to(root))
        if stat.S_ISSOCK(status.st_mode):
            continue
        data: object = None
        if stat.S_ISREG(status.st_mode):
            data = hashlib.sha256(path.read_bytes()).hexdigest(), status.st_blocks < 8192
        elif stat.S_ISLNK(status.st_mode):
            data = os.readlink(path)
        attributes = {
            each: os.getxattr(path, each, follow_symlinks=False) for each in os.listxattr(path, follow_symlinks=False)
        }
        same = name if stat.S_ISDIR(status.st_mode) else first.setdefault(status.st_ino, name)
        found[name] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev),
            *(data, same, attributes),
        )
    return found
