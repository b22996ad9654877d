"""The environment of a run: the image's, then what passes of the caller's, then what the tool sets."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

PASSED = frozenset(
    b"TERM COLORTERM NO_COLOR FORCE_COLOR CLICOLOR CLICOLOR_FORCE COLUMNS LINES LANG LANGUAGE TZ CI "
    b"SOURCE_DATE_EPOCH USER LOGNAME HOME".split()
)
"""Names that every run gets of its caller, beside `LC_*`: how to speak to a person, and who that is."""

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The engine's own, for images whose ENV has no PATH."""


def compose(
    image: Iterable[str], caller: Iterable[bytes], wanted: Iterable[str], *, cwd: bytes, home: bytes
) -> tuple[bytes, ...]:
    """The variables as `K=V`.

    `wanted` are a tool's entries: `K=V` sets, anything else is a pattern over the caller's names. PATH, HOME and
    `DX_*` of the caller never match a pattern: the first is the image's, the others are dx's business.
    """
    result: dict[bytes, bytes] = {b"PATH": DEFAULT_PATH}
    for variable in image:
        name, _, value = variable.encode(errors="surrogateescape").partition(b"=")
        result[name] = value
    entries = [item.encode(errors="surrogateescape") for item in wanted]
    patterns = [each for each in entries if b"=" not in each]
    for entry in caller:
        name, separator, value = entry.partition(b"=")
        if (
            separator
            and name
            and (
                name in PASSED
                or name.startswith(b"LC_")
                or (patterns and _may_pass(name) and any(fnmatchcase(name, each) for each in patterns))
            )
        ):
            result[name] = value
    if home:
        result[b"HOME"] = home
    result[b"PWD"] = cwd
    for each in entries:
        name, separator, value = each.partition(b"=")
        if separator:
            result[name] = value
    return tuple(name + b"=" + value for name, value in result.items())


def _may_pass(name: bytes) -> bool:
    return name not in (b"PATH", b"HOME", b"PWD", b"OLDPWD") and not name.startswith(b"DX_")


def texts(env: Iterable[bytes]) -> dict[str, str]:
    """The caller's variables that are text, for programs that know no others."""
    found = {}
    for each in env:
        try:
            name, equals, value = each.decode().partition("=")
        except UnicodeDecodeError:
            continue
        if equals and name:
            found[name] = value
    return found
