"""Whether this machine can execute the programs of an image."""

from pathlib import Path

from dxd.engine.model import Image
from dxd.errors import WrongArchitecture

BINFMT = Path("/proc/sys/fs/binfmt_misc")

_NATIVE = {("amd64", "386"), ("arm64", "arm")}
"""Pairs of a machine and what it can execute besides, as nearly all of them do."""

_QEMU = {
    "amd64": "x86_64",
    "386": "i386",
    "arm64": "aarch64",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
    "loong64": "loongarch64",
}
"""QEMU's names where they are not Go's."""


def check(image: Image, ref: str, engine: str, *, binfmt: Path = BINFMT) -> None:
    """Raise `WrongArchitecture` unless the image is for the engine's architecture, or the kernel has an emulator."""
    wanted = image.architecture
    if image.os not in ("", "linux"):
        raise WrongArchitecture(f"image {ref} is for {image.os}, dx runs Linux images", "look for another tag of it")
    if wanted in ("", engine) or (engine, wanted) in _NATIVE or _emulated(_QEMU.get(wanted, wanted), binfmt):
        return
    raise WrongArchitecture(
        f"image {ref} is for {wanted}, this machine is {engine}",
        f"pull or build it for linux/{engine}, or install an emulator (`sudo apt install qemu-user-static`)",
    )


def _emulated(name: str, binfmt: Path) -> bool:
    """Whether the kernel hands such programs to QEMU, binfmt_misc(5)."""
    try:
        return (binfmt / f"qemu-{name}").read_text(errors="replace").startswith("enabled")
    except OSError:
        return False
