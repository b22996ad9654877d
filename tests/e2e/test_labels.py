"""Images that describe themselves, with the real daemon and engine."""

import json
import secrets
from collections.abc import Iterator

import pytest

from tests.house import House, docker


@pytest.fixture
def labelled(image: str) -> Iterator[str]:
    """An image whose labels offer two commands, and ask for a variable."""
    name = f"dx-test-labels:{secrets.token_hex(4)}"
    lines = (
        f"FROM {image}",
        """LABEL dev.dx.commands='["env", "cat"]' dev.dx.network=none dev.dx.memory=64m""",
        """LABEL io.whalebrew.config.environment='["LABEL_TEST=of the image"]'""",
    )
    docker("build", "--quiet", "--tag", name, "-", stdin="\n".join(lines).encode())
    yield name
    docker("image", "rm", "--force", name)


def test_an_image_that_describes_itself_is_a_tool(house: House, labelled: str) -> None:
    """What it asks for is refused without a terminal, and had with --yes; a later run has it, and no more."""
    refused = house.dx(["add", "both", labelled])
    assert refused.returncode == 125
    assert b'have LABEL_TEST set to "of the image"' in refused.stderr
    assert not house.file.exists()
    added = house.dx(["add", "both", labelled, "--yes"])
    assert added.returncode == 0, added.stderr
    assert added.stdout.splitlines()[0] == b"both is ready: env cat"
    assert 'memory = "64m"' in house.file.read_text()
    assert b"LABEL_TEST=of the image\n" in house.run(["env"]).stdout
    again = house.dx(["add", "both", labelled])
    assert again.returncode == 0, again.stderr


def test_a_run_of_an_image_grants_nothing(house: House, labelled: str) -> None:
    """Labels are read when a tool is added."""
    assert b"LABEL_TEST" not in house.run([labelled, "env"]).stdout


def test_an_exported_tool_is_the_same_on_another_machine(house: House, image: str) -> None:
    """Its home directory is another one; what the mounts and caches name is below it."""
    ours = f"{house.home}/.aws"
    options = ["--command", "env", "--command", "cat", "--entrypoint", "sh -c 'a \"b\" $C'", "--network", "host"]
    options += ["--env", 'A=$B "c" \\ \n', "--env", "AWS_*", "--mount", f"{ours}:{ours}:ro", "--cache", "/var/cache"]
    options += ["--cache", "~/.cache", "--memory", "64m", "--cpus", "1.5", "--pids", "9", "--ulimit", "nofile=9:99"]
    options += ["--git", "write", "--paths", "project", "--scratch-size", "64m", "--share", "x11", "--user", "image"]
    added = house.dx(["add", "both", image, *options])
    assert added.returncode == 0, added.stderr
    lines = house.dx(["export", "both"]).stdout
    name = f"dx-test-labels:{secrets.token_hex(4)}"
    docker("build", "--quiet", "--tag", name, "-", stdin=f"FROM {image}\n".encode() + lines)
    try:
        with House() as other:
            done = other.dx(["add", "both", name, "--yes", "--json"])
            assert done.returncode == 0, done.stderr
            there = json.loads(other.dx(["show", "both", "--json"]).stdout)
            here = json.loads(house.dx(["show", "both", "--json"]).stdout.replace(bytes(house.home), bytes(other.home)))
            assert there == {**here, "image": name}
    finally:
        docker("image", "rm", "--force", name)


def test_a_package_of_whalebrew_is_a_tool(house: House, image: str) -> None:
    """With the home that packages count on; what it asks for is refused without a terminal."""
    (house.home / ".it").mkdir()
    (house.home / ".it" / "config").write_text("mine\n")
    file = house.work / "cat"
    file.write_text(f"#!/usr/bin/env whalebrew\nimage: {image}\nentrypoint: [cat]\nvolumes:\n- ~/.it:/.it:ro\n")
    refused = house.dx(["import", file])
    assert refused.returncode == 125
    assert b"the package asks to" in refused.stderr
    done = house.dx(["import", file, "--yes"])
    assert done.returncode == 0, done.stderr
    assert house.run(["cat", "/.it/config"]).stdout == b"mine\n"
    assert 'env = ["HOME=/"]' in house.file.read_text()
