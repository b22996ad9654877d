"""The options of one `dx run`, on top of what the tool's definition says."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dxd.errors import BadRequest
from dxd.runs.explain import EXPLAIN
from dxd.tools.model import Network, Share, Tool
from dxd.tools.parse import parse_tool

UP = "up"
"""Services that are to be ready first, with commas between them."""
OPTIONS = ("env", "mount", "network", "port", "device", "share", "user", "paths", "git", "image", UP, EXPLAIN)
"""Of `dx run`, before the tool's name."""


def with_options(tool: Tool, options: Sequence[tuple[str, str]], cwd: bytes) -> Tool:
    """The tool with them on top; read as the same keys of dx.toml are. Raises `BadRequest`, `BadDefinition`."""
    given_by = {key: [value for name, value in options if name == key] for key in OPTIONS}
    if unknown := {key for key, _ in options} - given_by.keys():
        raise BadRequest(f"dx run has no option {min(unknown)!r}", "see: dx run --help")
    lists = {"env": "env", "mount": "mounts", "port": "ports", "device": "devices", "share": "share"}
    table: dict[str, object] = {
        "image": (given_by["image"] or ["any"])[-1],
        **{key: given_by[option] for option, key in lists.items()},
    }
    if given_by[UP]:
        table["needs"] = services(options)
    table |= {key: given_by[key][-1] for key in ("network", "user", "paths", "git") if given_by[key]}
    given = parse_tool("run", table, base=Path(os.fsdecode(cwd)))
    network, network_name = tool.network, tool.network_name
    if "network" in table:
        network, network_name = given.network, given.network_name
        if network is not Network.PROJECT:  # on another one it does without the services of the project
            tool = replace(tool, needs=())
    elif given_by[UP] and network is Network.BRIDGE:
        # Whoever has a service started wants to reach it, and loses nothing that the bridge has.
        network = Network.PROJECT
    ports = (*tool.ports, *(each for each in given.ports if each not in tool.ports))
    if ports and network not in (Network.BRIDGE, Network.PROJECT):
        raise BadRequest(f"{tool.name} has ports, which need the network bridge or project", f"not {network.value}")
    if given_by["image"]:
        tool = replace(tool, image=given.image, build=None)
    return replace(
        tool,
        env=(*tool.env, *given.env),
        mounts=(*tool.mounts, *given.mounts),
        network=network,
        network_name=network_name,
        needs=(*tool.needs, *(each for each in given.needs if each not in tool.needs)),
        user=given.user if "user" in table else tool.user,
        paths=given.paths if "paths" in table else tool.paths,
        git=given.git if "git" in table else tool.git,
        ports=ports,
        devices=(*tool.devices, *(each for each in given.devices if each not in tool.devices)),
        share=tuple(each for each in Share if each in tool.share or each in given.share),
    )


def services(options: Sequence[tuple[str, str]]) -> list[str]:
    """Those that `--up` names, each once."""
    named = [each.strip() for key, value in options if key == UP for each in value.split(",")]
    return [*dict.fromkeys(named)]
