"""Lengths of time as Compose writes them: `1m30s`, `500ms`, `1h0m0s`."""

import re

_PART = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d|w)")
_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> float:
    """The seconds that `text` says; raises `ValueError`."""
    at = 0
    seconds = 0.0
    for part in _PART.finditer(text):
        if part.start() != at:
            break
        at = part.end()
        seconds += float(part[1]) * _UNITS[part[2]]
    if not text or at != len(text):
        raise ValueError(f"not a length of time: {text!r}")
    return seconds
