"""Which texts may name tools, commands and images. Every entry (API, dx.toml, shims) asks here, and only here."""

import re

from dxd.errors import BadName
from dxd.kit.nearest import did_you_mean, nearest
from dxd.kit.toml import quote
from dxd.tools.model import ToolName

__all__ = ["RESERVED", "check_name", "did_you_mean", "is_image", "is_name", "nearest"]

RESERVED = frozenset({"dx", "dxd", "dx-cli"})
"""dx's own programs; a shim of this name would hide them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)

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


def is_image(text: str) -> bool:
    """Whether the text can refer to an image: `jq`, `jq:1.7`, `registry:5000/team/jq@sha256:...`, or an image's id."""
    return len(text) <= _MAX_IMAGE and _IMAGE.fullmatch(text) is not None
