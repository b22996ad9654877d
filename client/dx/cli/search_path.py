"""PATH: whether the shims are on it, and who comes before them."""

import os
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


def directories() -> list[str]:
    """PATH's directories; an empty entry is the current one."""
    return [os.path.normpath(each or ".") for each in os.environ.get("PATH", os.defpath).split(":")]


def has(directory: str) -> bool:
    """Whether the directory is on PATH."""
    return os.path.normpath(directory) in directories()


def before(command: str, directory: str) -> str | None:
    """The program that PATH gives for the command before it comes to the directory."""
    for each in directories():
        if each == os.path.normpath(directory):
            return None
        path = Path(each, command)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def shell() -> str:
    """The user's shell if it is one that we know, else bash."""
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in SHELLS else "bash"


def activation() -> str:
    """The line that puts the shims on PATH, for the user's shell."""
    name = shell()
    return "dx activate fish | source" if name == "fish" else f'eval "$(dx activate {name})"'
