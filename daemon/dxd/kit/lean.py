"""Imports without what a library would load in passing, where that is large and of no use here.

Takes effect where the library is imported for the first time, and only where it can do without.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def without(module: str) -> Iterator[None]:
    """Until the block ends, importing this module fails as if it were not installed."""
    had = sys.modules.get(module)
    sys.modules[module] = cast("Any", None)
    try:
        yield
    finally:
        if had is None:
            del sys.modules[module]
        else:
            sys.modules[module] = had
