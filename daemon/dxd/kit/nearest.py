"""What somebody may have meant who wrote a name that does not exist."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names that are much like `name`, the likeliest first."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed where something went wrong

    by_folded = {each.casefold(): each for each in sorted(known, reverse=True)}
    close = get_close_matches(name.casefold()[:128], sorted(by_folded), n=count, cutoff=0.6 if len(name) > 3 else 0.5)
    return [by_folded[each] for each in close]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names them (`did you mean jq or yq?`), or nothing."""
    close = nearest(name, known)
    return f"did you mean {' or '.join(close)}?" if close else ""
