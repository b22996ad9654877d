from typing import Any

import pytest

from dxd.errors import BadRequest
from dxd.runs.options import services, with_options
from dxd.tools.model import Network, Port, Tool, ToolName


def given(*options: tuple[str, str], **tool: Any) -> Tool:
    return with_options(Tool(ToolName("x"), image="i", **tool), options, b"/")


def test_up_names_services_and_puts_the_run_on_their_network() -> None:
    """Each once, in any number of options; beside what the tool needs anyway."""
    tool = given(("up", "db, cache"), ("up", "db"), needs=("mail", "cache"))
    assert (tool.network, tool.network_name) == (Network.PROJECT, "default")
    assert tool.needs == ("mail", "cache", "db")
    assert services([("up", "db,cache"), ("env", "A=1"), ("up", "db")]) == ["db", "cache"]


@pytest.mark.parametrize("network", [Network.NONE, Network.HOST])
def test_up_leaves_a_network_that_was_chosen(network: Network) -> None:
    assert given(("up", "db"), network=network).network is network
    assert given(("up", "db"), ("network", network.value)).network is network
    assert given(("up", "db"), ("network", "bridge")).network is Network.BRIDGE


def test_up_leaves_the_network_of_the_project_that_the_tool_is_on() -> None:
    tool = given(("up", "db"), network=Network.PROJECT, network_name="backend")
    assert (tool.network, tool.network_name) == (Network.PROJECT, "backend")


def test_on_another_network_a_run_does_without_what_its_tool_needs() -> None:
    tool = given(("network", "bridge"), ("up", "db"), network=Network.PROJECT, needs=("mail",))
    assert (tool.network, tool.needs) == (Network.BRIDGE, ("db",))
    assert given(("network", "project:front"), needs=("mail",)).needs == ("mail",)


def test_ports_are_published_from_a_projects_network_too() -> None:
    port = Port(80, 80)
    assert given(("network", "project"), ports=(port,)).ports == (port,)
    with pytest.raises(BadRequest, match="which need the network bridge or project"):
        given(("network", "host"), ports=(port,))
