"""What users get wrong, and what their machine lacks: one line that says what to do, and nothing left behind."""

import hashlib
import io
import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import ask, live, one_line, processes
from tests.house import BUSYBOX, DEADLINE_S, ME, House, docker
from tests.waiting import until


@pytest.fixture(scope="module")
def one_house(image: str) -> Iterator[House]:
    with House(ME) as house:
        house.define(f'[tools.busybox]\nimage = "{image}"\n[tools.brush]\nimage = "{image}"\n')
        assert house.run([image, "true"]).returncode == 0
        yield house


@pytest.fixture
def house(one_house: House) -> Iterator[House]:
    """A dx that after the test has one idle container, as before."""
    yield one_house
    until(lambda: not [run for run in live(one_house) if run["state"] == "running"], "no run is left")
    (container,) = one_house.containers()
    until(lambda: not processes(container), "no process is left")


def test_a_tool_misspelt(house: House) -> None:
    """The names that are near."""
    assert "busybox" in one_line(house.run(["bussybox", "ls"]), "bussybox")
    assert "brush" in one_line(house.run(["brsh"]), "brsh")
    line = one_line(house.run(["nothing-like-it"]), "nothing-like-it")
    assert "busybox" not in line


@pytest.mark.parametrize("name", ["", "..", "../x", "-", "a b", "a\nb", "a;b", "x" * 300, "é", "/", ".", "A:B:C", "@"])
def test_a_name_that_can_be_none(house: House, name: str) -> None:
    """Neither of a tool nor of an image."""
    one_line(house.run(["--", name, "true"]))


def test_an_image_that_is_nowhere(house: House) -> None:
    """Neither here nor at its registry, which refuses connections."""
    name = "127.0.0.1:9/nothing:1"
    one_line(house.run([name, "true"]), f"image {name} is not on this machine and cannot be pulled")


@pytest.fixture
def foreign() -> Iterator[str]:
    """An image for a machine that nobody emulates, as `docker save` would write it."""
    name = f"dx-test-foreign-{secrets.token_hex(4)}:latest"
    layer = archive({"busybox": Path(BUSYBOX).read_bytes()})
    config = {
        "architecture": "mips64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode()}
    docker("load", stdin=archive({**parts, "layer.tar": layer}))
    yield name
    docker("rmi", name)


def archive(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_an_image_for_another_machine(house: House, foreign: str) -> None:
    """Its architecture and ours."""
    one_line(house.run([foreign, "/busybox", "true"]), foreign, "is for mips64", "linux/")


def test_nothing_to_run(house: House, image: str) -> None:
    """No ENTRYPOINT, no CMD, no arguments."""
    one_line(house.run([image]), image)
    one_line(house.run(["busybox"]), "busybox")
    one_line(house.run([]), "run what?")


def fails(done: "subprocess.CompletedProcess[bytes]", code: int, *words: str) -> None:
    """Check one line of another exit code."""
    assert done.returncode == code, done
    one_line(subprocess.CompletedProcess([], 125, done.stdout, done.stderr), *words)


def test_a_command_that_is_not_there(house: House, image: str) -> None:
    """127, as a shell's."""
    fails(house.run([image, "nothing-like-it"]), 127, "nothing-like-it", "not found")
    fails(house.run([image, "/bin/nothing"]), 127, "/bin/nothing", "not found")
    fails(house.run([image, "/bin/busybox/x"]), 127, "not found")


def test_a_command_that_cannot_be_executed(house: House, image: str) -> None:
    """126: a mode, a directory, a file that is no program; 127 where its interpreter is not there."""
    place = Path(os.fsdecode(house.place()))
    for name, content, mode in (
        ("plain", b"x", 0o644),
        ("junk", b"\x7fELFjunk", 0o755),
        ("script", b"#!/no/such\n", 0o755),
    ):
        (place / name).write_bytes(content)
        (place / name).chmod(mode)
    fails(house.run([image, "./plain"], cwd=place), 126, "not executable")
    fails(house.run([image, "./junk"], cwd=place), 126, "not a program of this machine")
    fails(house.run([image, "/bin"], cwd=place), 126, "/bin")
    fails(house.run([image, "./script"], cwd=place), 127, "interpreter")


def test_a_current_directory_that_is_gone(house: House, image: str) -> None:
    """It cannot be shown, so nothing runs."""
    place = house.place("gone")
    script = 'rmdir "$PWD" && exec "$0" run "$1" true'
    done = subprocess.run(
        ["sh", "-c", script, house.bin / "dx", image],
        env=house.env, cwd=place, capture_output=True, timeout=DEADLINE_S,
    )  # fmt: skip
    one_line(done, "the current directory is gone")


def test_a_current_directory_that_is_never_granted(house: House, image: str) -> None:
    """HOME as a whole and above it, keys, running state: refused with what to do instead."""
    (keys := house.home / ".ssh").mkdir(mode=0o700)
    for place, words in (
        (house.home, "home directory"),
        (house.root, "home directory"),
        (keys, "keys"),
        (house.runtime, "never granted unasked"),
        (house.runtime / "a", "never granted unasked"),
        (house.state, "never granted unasked"),
        (Path("/run"), "never granted unasked"),
    ):
        one_line(house.run([image, "true"], cwd=place), str(place), words, f"--mount {place}")
    assert house.run([f"--mount={house.home}", image, "pwd"], cwd=house.home).stdout == f"{house.home}\n".encode()


def test_a_mount_that_is_not_there(house: House, image: str) -> None:
    """By its path."""
    one_line(house.run(["--mount=/no/such", image, "true"]), "/no/such cannot be granted", "No such file")


@pytest.mark.parametrize("arguments", [["--nothing", "x"], ["-x"], ["--env"], ["--network", "moon", "busybox", "true"]])
def test_options_that_are_none(house: House, arguments: list[str]) -> None:
    """And where to read about those that are."""
    one_line(house.run(arguments))


def test_a_hundred_thousand_arguments(house: House, image: str) -> None:
    """Arrive as they are; what is too long for the wire is said to be."""
    many = ["x"] * 100_000
    assert house.run([image, "sh", "-c", "echo $#", "sh", *many]).stdout == b"100000\n"
    if (limit := os.sysconf("SC_ARG_MAX")) > 0:
        most = ["y" * 100_000] * (limit // 110_000)
        assert house.run([image, "sh", "-c", "echo $#", "sh", *most]).stdout == f"{len(most)}\n".encode()


def test_a_shim_whose_tool_is_gone(house: House) -> None:
    """It does not fall back to anything."""
    done = subprocess.run([house.shim("gone"), "x"], env=house.env, cwd=house.work, capture_output=True, timeout=60)
    one_line(done, "gone: no tool offers this command any more")


def test_a_shim_that_leads_back_to_itself(house: House) -> None:
    """Each run inside a run is counted in its environment, and the count has an end, so nothing multiplies."""
    shim = house.shim("busybox")
    done = subprocess.run([shim, "true"], **house.options({"env": {**house.env, "DX_DEPTH": "19"}}), timeout=DEADLINE_S)
    assert done.returncode == 0
    endless = {"env": {**house.env, "DX_DEPTH": "20"}, "capture_output": True}
    one_line(
        subprocess.run([shim, "true"], **house.options(endless), timeout=DEADLINE_S), "a shim seems to call itself"
    )


def test_a_full_scratch_layer(image: str) -> None:
    """The tool gets ENOSPC, and the next run has it empty again."""
    with House(ME) as house:
        house.define("[daemon]\nscratch_bytes = '1m'\n")
        for _ in range(2):
            done = house.run(
                [image, "sh", "-c", "dd if=/dev/zero of=/big bs=64k count=64; echo $?; ls -l /big | wc -l"]
            )
            assert done.stdout == b"1\n1\n"
            assert b"No space left on device" in done.stderr
        assert house.run([image, "sh", "-c", "dd if=/dev/zero of=/big bs=64k count=4"]).returncode == 0


def test_no_space_at_all(image: str) -> None:
    """Where not even one page may be written, a tool that writes nothing still runs."""
    with House(ME) as house:
        house.define("[daemon]\nscratch_bytes = 1\n")
        assert house.run([image, "sh", "-c", "exit 3"]).returncode == 3
        done = house.run([image, "sh", "-c", "dd if=/dev/zero of=/big bs=64k count=4"])
        assert b"No space left on device" in done.stderr


def test_a_broken_file(image: str) -> None:
    """The last good definitions serve, and the status says which file, line and key."""
    good = f'[tools.tool]\nimage = "{image}"\nentrypoint = ["echo", "good"]\n'
    with House(ME) as house:
        house.define(good)
        assert house.run(["tool"]).stdout == b"good\n"
        for broken, line in (
            (good + "[tools", 4),
            (good.replace("entrypoint", "entripoint"), 3),
            (good.replace('["echo", "good"]', "7"), 3),
        ):
            house.define(broken)
            assert house.run(["tool"]).stdout == b"good\n"
            problem = ask(house, "/v1/status")["problem"]
            assert str(house.file) in problem
            assert f"{line}" in problem
        house.define(good.replace("good", "better"))
        assert house.run(["tool"]).stdout == b"better\n"
        assert ask(house, "/v1/status")["problem"] is None


def test_a_file_that_is_broken_from_the_start(image: str) -> None:
    """What it defines is not there, and a run says why; images run all the same."""
    with House(ME) as house:
        house.define("[tools.tool]\nimage = 7\n")
        one_line(house.run(["tool"]), str(house.file), "2")
        assert house.run([image, "true"]).returncode == 0
