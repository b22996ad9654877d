"""A tool beside a project's services, read strictly: its network, and the services that it needs. Pure; `BadToml`."""

import re
from collections.abc import Sequence

from dxd.kit.toml import Spot, quote
from dxd.tools.model import DEFAULT_NETWORK, Network
from dxd.tools.names import did_you_mean

NETWORK = r"[a-zA-Z0-9._-]{1,200}"
"""A network's name in a compose file; a service's is of the same kind (compose-spec's schema)."""

_NAME = re.compile(NETWORK)


def read_network(text: str, spot: Spot) -> tuple[Network, str]:
    """`none`, `bridge`, `host`, `project` or `project:NAME`; the second is the project's network."""
    kind, colon, name = text.partition(":")
    if kind == Network.PROJECT and colon:
        if not _NAME.fullmatch(name):
            raise spot.bad(f"{quote(name)} is no network of a compose file", "write it like project:backend")
        return Network.PROJECT, name
    try:
        return Network(text), DEFAULT_NETWORK
    except ValueError:
        known = [each.value for each in Network]
        hint = did_you_mean(text, known) or f"write one of {', '.join(known)}"
        raise spot.bad(f"{quote(text)} is no network", hint) from None


def network_text(network: Network, name: str) -> str:
    """The inverse."""
    return network.value if network is not Network.PROJECT or name == DEFAULT_NETWORK else f"{network.value}:{name}"


def read_needs(texts: Sequence[str], spot: Spot) -> tuple[str, ...]:
    """Names of services, each once."""
    for index, each in enumerate(texts):
        if not _NAME.fullmatch(each):
            raise spot.at(index).bad(f"{quote(each)} is no name of a service", 'write it like ["db", "cache"]')
        if each in texts[:index]:
            raise spot.at(index).bad(f"{quote(each)} is there twice")
    return tuple(texts)
