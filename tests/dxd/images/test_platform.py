from dataclasses import replace
from pathlib import Path

import pytest

from dxd.engine.model import Image, ImageId
from dxd.errors import WrongArchitecture
from dxd.images.platform import check

IMAGE = Image(ImageId("sha256:1"), "amd64", "linux", (), (), (), "", "", {}, 1)


@pytest.mark.parametrize(
    ("wanted", "engine"),
    [("amd64", "amd64"), ("386", "amd64"), ("arm", "arm64"), ("", "amd64"), ("riscv64", "riscv64")],
)
def test_what_the_machine_can_execute_itself(tmp_path: Path, wanted: str, engine: str) -> None:
    check(replace(IMAGE, architecture=wanted), "it", engine, binfmt=tmp_path)


@pytest.mark.parametrize(("wanted", "engine"), [("arm64", "amd64"), ("amd64", "arm64"), ("amd64", "386")])
def test_another_architecture_says_what_to_do(tmp_path: Path, wanted: str, engine: str) -> None:
    with pytest.raises(WrongArchitecture) as raised:
        check(replace(IMAGE, architecture=wanted), "it:1", engine, binfmt=tmp_path)
    assert raised.value.message == f"image it:1 is for {wanted}, this machine is {engine}"
    assert f"linux/{engine}" in raised.value.hint


def test_an_emulator_makes_up_for_it_while_it_is_enabled(tmp_path: Path) -> None:
    image = replace(IMAGE, architecture="arm64")
    handler = tmp_path / "qemu-aarch64"
    handler.write_text("enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\n")
    check(image, "it", "amd64", binfmt=tmp_path)
    handler.write_text("disabled\n")
    with pytest.raises(WrongArchitecture):
        check(image, "it", "amd64", binfmt=tmp_path)


def test_another_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongArchitecture, match="for windows"):
        check(replace(IMAGE, os="windows"), "it", "amd64", binfmt=tmp_path)
