"""dx cache."""

import json

from tests.dx.installed import Dx
from tests.fakes.daemon import State


def cache(tool: str, path: str) -> dict[str, str]:
    """As the API has it."""
    return {"tool": tool, "path": path, "volume": f"dx-cache-{tool}"}


def test_ls_shows_whose_and_where(dx: Dx, daemon: State) -> None:
    """A line each, or JSON."""
    assert dx("cache", "ls").err.startswith("There are no caches")
    daemon.caches = [cache("pip", "/c/pip"), cache("npm", "/c/npm")]
    lines = [line.split() for line in dx("cache", "ls").out.splitlines()]
    assert lines == [["TOOL", "PATH", "VOLUME"], ["pip", "/c/pip", "dx-cache-pip"], ["npm", "/c/npm", "dx-cache-npm"]]
    assert json.loads(dx("cache", "ls", "--json").out) == {"caches": daemon.caches}


def test_rm_takes_a_tools_caches_or_some_of_them(dx: Dx, daemon: State) -> None:
    """`~` is the home directory; one that is not there does not keep the others."""
    daemon.caches = [cache("pip", "/a b"), cache("pip", f"{dx.root}/b"), cache("pip", "/c"), cache("npm", "/c")]
    done = dx("cache", "rm", "pip", "/a b", "/x", "~/b")
    assert (done.status, done.err) == (125, "dx: pip has no cache; see: dx cache ls\n")
    assert done.out == f"pip begins anew at /a b\npip begins anew at {dx.root}/b\n"
    assert json.loads(dx("cache", "rm", "pip", "--json").out) == {"dropped": [cache("pip", "/c")]}
    assert daemon.caches == [cache("npm", "/c")]
    assert dx("cache", "rm").status == 125


def test_reset_empties_a_kept_root(dx: Dx, daemon: State) -> None:
    """And says so where there is none."""
    daemon.kept = {"debian": 2}
    assert dx("reset", "debian").out == "debian begins anew\n"
    assert dx("reset", "debian").out == "debian has nothing kept\n"
    assert json.loads(dx("reset", "debian", "--json").out) == {"dropped": 0}
