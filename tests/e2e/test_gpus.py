"""GPUs, with an engine that has a driver for them: a stand-in that mounts what the real one would mount."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import one_line
from tests.fakes.private_engine import PrivateEngine
from tests.house import House

HOOK = Path(__file__).parents[1] / "fakes" / "gpu-hook"
TOOL = "[tools.{name}]\nimage = '{image}'\nentrypoint = ''\nnetwork = 'none'\ngpus = {gpus!r}\n"


@pytest.fixture(scope="module")
def engine(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """An engine that believes it can give GPUs."""
    programs = tmp_path_factory.mktemp("gpu")
    shutil.copy(HOOK, programs / "nvidia-container-runtime-hook")
    (programs / "driver").write_text("the driver\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with PrivateEngine() as engine:
            engine.load(image)
            yield engine


@pytest.fixture
def house(engine: PrivateEngine) -> Iterator[House]:
    """A dx with that engine."""
    with House(DOCKER_HOST=engine.address) as house:
        yield house


def test_the_drivers_files_are_in_every_run(house: House, image: str) -> None:
    """Those of the mounts, not what lies below them; they cannot be written to, and one run is as good as the next."""
    house.define(TOOL.format(name="train", image=image, gpus="all"))
    line = ["sh", "-c", "cat /opt/gpu/lib/libgpu.so '/opt/gpu/a driver'; echo x > /opt/gpu/lib/libgpu.so"]
    for _ in range(2):
        done = house.run(["train", *line])
        assert done.stdout == b"the driver\nthe driver\n", done
        assert b"Read-only file system" in done.stderr
    assert house.run(["--network=none", image, "ls", "/opt/gpu"]).returncode == 1


def test_some_gpus_are_asked_for_by_their_ids(engine: PrivateEngine, house: House, image: str) -> None:
    """Tools with other ones have other containers."""
    asking = {"one": ["0"], "two": ["1", "2"]}
    house.define("".join(TOOL.format(name=name, image=image, gpus=gpus) for name, gpus in asking.items()))
    for name in asking:
        assert house.run([name, "true"]).returncode == 0
    containers = engine.docker("ps", "--quiet", "--filter", f"label=dev.dx.instance={house.instance}").split()
    asked = "{{range .HostConfig.DeviceRequests}}{{.DeviceIDs}}{{end}}"
    assert {engine.docker("inspect", "--format", asked, each) for each in containers} == {"[0]", "[1 2]"}


def test_a_driver_that_fails(house: House, image: str, engine: PrivateEngine) -> None:
    """Its words are in the one line."""
    house.define(TOOL.format(name="train", image=image, gpus="all"))
    driver = Path(os.environ["PATH"].partition(":")[0], "driver")
    driver.rename(driver.with_name("gone"))
    try:
        one_line(house.run(["train", "true"]), "driver")
    finally:
        driver.with_name("gone").rename(driver)
