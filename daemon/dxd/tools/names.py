"""Which texts may name tools, commands and images. Every entry (API, dx.toml, shims) asks here, and only here."""

import hashlib
import re

from dxd.errors import BadName
from dxd.kit.nearest import did_you_mean, nearest
from dxd.kit.toml import quote
from dxd.tools.model import MARK, ToolName

__all__ = ["RESERVED", "check_name", "check_tool", "did_you_mean", "is_image", "is_name", "mark_of", "nearest"]

RESERVED = frozenset({"dx", "dxd", "dx-cli"})
"""dx's own programs; a shim of this name would hide them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)
_PROJECT = re.compile(r"[0-9a-f]{6}", re.ASCII)
TOOL_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}(@[0-9a-f]{6})?$"
"""What `check_tool` takes, for schemas."""

# The grammar of github.com/distribution/reference, regexp.go. `sha256:<hex>` is a name and a tag to it.
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[A-Fa-f0-9:]+\])"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[A-Fa-f0-9]{32,128})?",
    re.ASCII,
)
_MAX_IMAGE = 512


def is_name(text: str) -> bool:
    """Whether a tool or a command may be called that."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


def check_name(text: str) -> ToolName:
    """The text as a name; raises `BadName`."""
    if text in RESERVED:
        raise BadName(f"{text} is the name of a program of dx", "choose another name")
    if not _NAME.fullmatch(text):
        raise BadName(
            f"{quote(text)} cannot be a name",
            "a name has up to 128 of A-Z a-z 0-9 . _ + - and begins with a letter or a digit",
        )
    return ToolName(text)


def check_tool(text: str) -> ToolName:
    """The text as the name of a tool that is there, which may be a project's; raises `BadName`."""
    word, mark, project = text.partition(MARK)
    if mark and not _PROJECT.fullmatch(project):
        raise BadName(f"{quote(text)} is no tool's name", "a project's tool is NAME@ and six digits; see: dx ls")
    return ToolName(check_name(word) + mark + project)


def mark_of(project: str) -> str:
    """Which project it is, in its tools' names."""
    return hashlib.sha256(project.encode(errors="surrogateescape")).hexdigest()[:6]


def is_image(text: str) -> bool:
    """Whether the text can refer to an image: `jq`, `jq:1.7`, `registry:5000/team/jq@sha256:...`, or an image's id."""
    return len(text) <= _MAX_IMAGE and _IMAGE.fullmatch(text) is not None
