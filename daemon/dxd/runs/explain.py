"""What a run sees of the host and why, as lines for its caller: `dx run --explain`, and `DX_DEBUG=grants`."""

from collections.abc import Iterable, Sequence

from dxd.runs.grants import Plan
from dxd.runs.inference import show

EXPLAIN = "explain"
"""The option of `dx run`."""


def lines(plan: Plan, options: Sequence[tuple[str, str]], env: Iterable[bytes]) -> list[str]:
    """What the caller asked to be told; nothing, mostly."""
    if any(key == EXPLAIN for key, _ in options):
        return [*_granted(plan), *_rest(plan)]
    return _granted(plan) if any(b"grants" in each[9:].split(b",") for each in env if each[:9] == b"DX_DEBUG=") else []


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
