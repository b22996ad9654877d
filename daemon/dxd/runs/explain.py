"""What a run sees of the host and why, as lines for its caller: `dx run --explain`, and `DX_DEBUG=grants`."""

import os
from collections.abc import Iterable, Sequence

from dxd.runs.grants import Plan
from dxd.runs.inference import show
from dxd.warm.model import Key

EXPLAIN = "explain"
"""The option of `dx run`."""


def lines(plan: Plan, options: Sequence[tuple[str, str]], env: Iterable[bytes]) -> list[str]:
    """What the caller asked to be told; nothing, mostly."""
    if any(key == EXPLAIN for key, _ in options):
        return [*_granted(plan), *_rest(plan)]
    return _granted(plan) if any(b"grants" in each[9:].split(b",") for each in env if each[:9] == b"DX_DEBUG=") else []


def elsewhere(address: str, key: Key) -> list[str]:
    """What to know of a new container on an engine that may be on another machine; without an address it is not."""
    result: list[str] = []
    if not address:
        return result
    if key.binds:
        first, *rest = (show(os.fsencode(each.source)) for each in key.binds)
        what = f"{first} and {len(rest)} more" if rest else first
        result.append(f"the engine is at {address}: of {what} the run sees what is there")
    if key.ports:
        shown = ", ".join(each.shown for each in key.ports)
        result.append(f"the engine is at {address}: of its machine, not of this one, is {shown}")
    return result


def unseen(tool: str, paths: Sequence[str]) -> list[str]:
    """Of mounts that the container of a run is too old for."""
    what = ", ".join(paths)
    return [f"the container is older than what is mounted at {what}, and lacks it; run: dx stop {tool}"] if what else []


def _granted(plan: Plan) -> list[str]:
    result = []
    for each in plan.grants:
        place = show(each.source) + (f" at {show(each.target)}" if each.target != each.source else "")
        result.append(f"grant {place} ({'read-only' if each.readonly else 'read and write'}): {each.why}")
    for path, target in plan.links:
        what = f"link {show(path)} to {show(target)}" if target else f"directory {show(path)}"
        result.append(f"{what}: on the way to what is named")
    return result


def _rest(plan: Plan) -> list[str]:
    name = "" if plan.pwd == plan.cwd else f", by the name {show(plan.pwd)}"
    return [*(f"no grant for {each}" for each in plan.refused), f"it begins in {show(plan.cwd)}{name}"]
