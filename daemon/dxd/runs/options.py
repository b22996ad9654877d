"""The options of one `dx run`, on top of what the tool's definition says."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dxd.errors import BadRequest
from dxd.runs.explain import EXPLAIN
from dxd.tools.model import Network, Share, Tool
from dxd.tools.parse import parse_tool

OPTIONS = ("env", "mount", "network", "port", "device", "share", "user", "paths", "git", "image", EXPLAIN)
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
    table |= {key: given_by[key][-1] for key in ("network", "user", "paths", "git") if given_by[key]}
    given = parse_tool("run", table, base=Path(os.fsdecode(cwd)))
    network = given.network if "network" in table else tool.network
    ports = (*tool.ports, *(each for each in given.ports if each not in tool.ports))
    if ports and network is not Network.BRIDGE:
        raise BadRequest(f"{tool.name} has ports, which need the network bridge", f"not {network.value}")
    if given_by["image"]:
        tool = replace(tool, image=given.image, build=None)
    return replace(
        tool,
        env=(*tool.env, *given.env),
        mounts=(*tool.mounts, *given.mounts),
        network=network,
        user=given.user if "user" in table else tool.user,
        paths=given.paths if "paths" in table else tool.paths,
        git=given.git if "git" in table else tool.git,
        ports=ports,
        devices=(*tool.devices, *(each for each in given.devices if each not in tool.devices)),
        share=tuple(each for each in Share if each in tool.share or each in given.share),
    )
