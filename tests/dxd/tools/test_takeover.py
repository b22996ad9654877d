"""What becomes of a definition when the image under it says something else."""

from pathlib import Path

import pytest

from dxd.errors import BadDefinition
from dxd.tools.parse import parse_tool, to_table
from dxd.tools.takeover import takeover


def after(table: dict[str, object], old: dict[str, str], new: dict[str, str]) -> tuple[dict[str, object], list[str]]:
    """The keys that became others, as dx.toml has them, None for the default; and what is asked."""
    tool = parse_tool("it", {"image": "it:1", **table}, base=Path("/"))
    found = takeover(tool, *({f"dev.dx.{key}": value for key, value in each.items()} for each in (old, new)))
    written = to_table(found.tool)
    return {key: written.get(key) for key in found.changed}, [each.text for each in found.asks]


def test_what_still_is_as_the_image_said_follows_it() -> None:
    """Nothing is asked where no more is wanted, be it other or less."""
    assert after({"commands": ["a"]}, {"commands": '["a"]'}, {"commands": '["a", "b"]'}) == (
        {"commands": ["a", "b"]},
        [],
    )
    assert after({"network": "host"}, {"network": "host"}, {}) == ({"network": None}, [])
    assert after({"env": ["A", "B"]}, {"env": '["A", "B"]'}, {"env": '["B"]'}) == ({"env": ["B"]}, [])
    assert after({}, {}, {"memory": "8m"}) == ({"memory": "8m"}, [])


def test_what_the_user_has_set_stays() -> None:
    """Whatever images say, before and after."""
    assert after({"network": "none"}, {"network": "host"}, {"network": "bridge"}) == ({}, [])
    assert after({"network": "none"}, {}, {"network": "host"}) == ({}, [])
    assert after({"env": ["A"]}, {"env": '["A", "B"]'}, {"env": '["C"]'}) == ({}, [])


def test_more_than_was_allowed_is_asked_for() -> None:
    """Only what is new of it."""
    network = after({}, {}, {"network": "host"})
    assert network[1] == ["use the host's network"]
    assert after({"env": ["A"]}, {"env": '["A"]'}, {"env": '["A", "B"]'})[1] == ["see your variables B"]
    mounts = after({"mounts": ["/a:/a:ro"]}, {"mounts": '["/a:/a:ro"]'}, {"mounts": '["/a:/a"]'})
    assert mounts[1] == ["read and write /a"]


def test_labels_that_are_wrong() -> None:
    """New ones are an error, old ones were never read; so are those that do not go with what the user has set."""
    with pytest.raises(BadDefinition, match="network"):
        after({}, {}, {"network": "any"})
    assert after({}, {"network": "any"}, {"network": "host"}) == ({}, [])
    with pytest.raises(BadDefinition, match="publish"):
        after({"network": "none"}, {}, {"ports": '["8000"]'})
