"""A port of the machine leads to one container at a time: which ones exclude each other. Pure."""

from dxd.tools.model import Port
from dxd.warm.model import Key


def clash(one: Key, other: Key) -> Port | None:
    """The first port of `one` that cannot be published while `other` is there; None if both can be."""
    return next((port for port in one.ports if any(port.clashes(each) for each in other.ports)), None)
