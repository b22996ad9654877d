"""What is executed, for each way to ask."""

import pytest

from dxd.errors import NoCommand
from dxd.runs.command import Command, choose


def chosen(
    *args: bytes, command: bytes | None = None, entrypoint: tuple[str, ...] = (), default: tuple[str, ...] = ()
) -> Command:
    return choose(command=command, entrypoint=entrypoint, default=default, args=args, name="tool")


def test_the_entrypoint_takes_the_arguments() -> None:
    """As bytes; its path is executed, its bare name is argv[0]."""
    assert chosen(b"\xff", b"", entrypoint=("/usr/bin/jq", "-r")) == Command(
        b"/usr/bin/jq", (b"jq", b"-r", b"\xff", b"")
    )


def test_the_images_own_command_is_for_no_arguments() -> None:
    """CMD gives way to the first argument, as the engine has it."""
    assert chosen(entrypoint=("sh",), default=("-c", "ls")).argv == (b"sh", b"-c", b"ls")
    assert chosen(b"x", entrypoint=("sh",), default=("-c", "ls")).argv == (b"sh", b"x")


def test_without_an_entrypoint_the_arguments_are_the_command() -> None:
    """`dx run IMAGE ls -l`."""
    assert chosen(b"ls", b"-l", default=("sh",)) == Command(b"ls", (b"ls", b"-l"))


def test_a_command_of_a_tool_is_looked_up_by_its_name() -> None:
    """The entrypoint is then only what the tool puts before it."""
    assert chosen(b"-v", command=b"cc") == Command(b"cc", (b"cc", b"-v"))
    assert chosen(b"-v", command=b"cc", entrypoint=("/bin/env",)) == Command(b"/bin/env", (b"env", b"cc", b"-v"))


def test_nothing_to_run() -> None:
    """No ENTRYPOINT, no CMD, no arguments; an empty word is nothing either."""
    with pytest.raises(NoCommand, match="no ENTRYPOINT") as error:
        chosen()
    assert "dx run tool COMMAND" in error.value.hint
    with pytest.raises(NoCommand):
        chosen(b"")
