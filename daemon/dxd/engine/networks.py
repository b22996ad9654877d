"""Networks that somebody else made: found by their labels, and containers put on them and taken off.

Used by `services`. Holds nothing. Raises what `Engine` raises; what is there or gone already is fine.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from dxd.engine.answer import Answer
from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.errors import EngineTrouble


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """A network that the engine has."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Networks:
    """Those of the engine."""

    def __init__(self, engine: Engine) -> None:
        self._reach = engine.reach

    async def all(self, labels: Mapping[str, str]) -> list[NetworkSeen]:
        """Every one that has all these labels."""
        filters = json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})
        async with self._reach.deadline():
            connection = await self._reach.found()
            with self._reach.noting():
                found = await connection.get("networks", {"filters": filters})
        return [NetworkSeen(str(each["Id"]), str(each["Name"]), dict(each.get("Labels") or {})) for each in found]

    async def users(self, network: str) -> list[str]:
        """The names of the containers that are on it, and run; none where it is gone."""
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    found = await connection.get(f"networks/{network}", {})
        except Answer as answer:
            if answer.status == 404:
                return []
            raise
        return [str(each.get("Name") or id_) for id_, each in (found.get("Containers") or {}).items()]

    async def direct(self) -> bool:
        """Whether this machine reaches containers at their addresses: the engine's bridges are its own.

        An engine in a virtual machine or another network namespace, as a rootless one, has them elsewhere. Without any
        bridge, or without an engine, it is supposed.
        """
        filters = json.dumps({"driver": ["bridge"]})
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    found = await connection.get("networks", {"filters": filters})
        except EngineTrouble:
            return True
        configs = [config for each in found for config in (each.get("IPAM") or {}).get("Config") or ()]
        gateways = list(filter(None, map(_gateway, configs)))
        return not gateways or any(_is_here(each) for each in gateways)

    async def connect(self, network: str, container: ContainerId, *, alias: str) -> None:
        """Put a container on it, where it has that name too."""
        body = {"Container": container, "EndpointConfig": {"Aliases": [alias]}}
        await self._tell(f"networks/{network}/connect", body)

    async def disconnect(self, network: str, container: ContainerId) -> None:
        """Take a container off it."""
        await self._tell(f"networks/{network}/disconnect", {"Container": container, "Force": True})

    async def _tell(self, path: str, body: object) -> None:
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    await connection.tell(path, body)
        except Answer as answer:
            # Network or container is gone, or it is on it already, or not: the engine says each in its own way.
            gone = answer.status == 404
            known = "already exists in network" in answer.reason or "is not connected to" in answer.reason
            if not gone and not known:
                raise


def _gateway(config: Mapping[str, Any]) -> str | None:
    """The IPv4 address of a bridge; None where there is none.

    An engine that has just made its first bridge tells of the subnet alone, of which it takes the first address.
    """
    try:
        if gateway := config.get("Gateway"):
            return str(IPv4Address(str(gateway)))
        return str(IPv4Network(str(config.get("Subnet")))[1])
    except (ValueError, IndexError):
        return None


def _is_here(address: str) -> bool:
    """Whether it is an address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
