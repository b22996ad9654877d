"""The documentation against the code: what a page claims to list completely, it does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from dx.cli import ALIASES, MODULES, find
from dxd.api import errors as http_errors
from dxd.errors import DxError
from dxd.settings import Settings
from dxd.tools import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def codes(root: type[DxError]) -> set[str]:
    """The codes of an error and of all below it."""
    return {root.code}.union(*(codes(each) for each in root.__subclasses__()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    assert {page for page in PAGES[1:] if page != index} <= linked


@pytest.mark.parametrize("keys", [parse.KEYS, parse._BUILD_KEYS, parse._MOUNT_KEYS])
def test_every_key_of_a_tool_is_in_the_reference(keys: tuple[str, ...]) -> None:
    page = (REFERENCE / "dx-toml.md").read_text()
    assert [key for key in keys if f"\n| `{key}` |" not in page] == []


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    page = (REFERENCE / "dx-toml.md").read_text()
    rows = [
        f"\n| `{each.name}` | {each.default:g} |" if each.type is float else f"\n| `{each.name}` | {each.default} |"
        for each in fields(Settings)
    ]
    assert [row for row in rows if row not in page] == []


def test_every_constant_and_structure_of_the_wire_is_in_the_reference() -> None:
    header = (ROOT / "daemon" / "agent" / "wire.h").read_text()
    page = (REFERENCE / "wire.md").read_text()
    names = set(re.findall(r"\b(?:DX_[A-Z0-9_]+|struct dx_\w+)\b", header)) - {"DX_WIRE_H", "DX_Q_", "DX_A_"}
    assert len(names) > 60
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", page)) == []


def test_the_values_of_the_wire_are_those_of_the_header() -> None:
    header = (ROOT / "daemon" / "agent" / "wire.h").read_text()
    page = (REFERENCE / "wire.md").read_text()
    values = re.findall(r"^    (DX_\w+) = (\d+),", header, re.MULTILINE)
    assert len(values) > 40
    assert [f"{name} {value}" for name, value in values if f"\n| `{name}` | {value} |" not in page] == []


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    page = (REFERENCE / "exit-codes.md").read_text()
    pending = [DxError]
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        if error.__module__.startswith("dxd."):
            assert f"\n| `{error.code}` | {http_errors.status_of(error)} |" in page, error
    assert codes(DxError) <= set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))


def test_every_route_is_in_the_reference() -> None:
    page = (REFERENCE / "api.md").read_text()
    sources = "".join(file.read_text() for file in sorted((ROOT / "daemon" / "dxd" / "api").glob("*.py")))
    routes = re.findall(r'method="(\w+)",\s+path="([^"]+)"', sources)
    assert len(routes) > 10
    assert [f"{method} {path}" for method, path in routes if f"\n| `{method} {path}` |" not in page] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_verb_is_in_the_reference_with_its_options(name: str) -> None:
    page = (REFERENCE / "command-line.md").read_text()
    start = page.index(f"### dx {name}")
    section = page[start : page.find("\n##", start + 1)]
    options = {option for action in find(name).parser()._actions for option in action.option_strings}
    assert sorted(option for option in options - {"-h", "--help"} if f"`{option}" not in section) == []


def test_every_alias_is_in_the_reference() -> None:
    page = (REFERENCE / "command-line.md").read_text()
    assert [alias for alias in ALIASES if f"`{alias}`" not in page] == []


def test_every_variable_that_is_read_is_in_the_reference() -> None:
    page = (REFERENCE / "places.md").read_text()
    sources = [*(ROOT / "client").rglob("*.[ch]"), *(ROOT / "client").rglob("*.py"), *(ROOT / "daemon").rglob("*.py")]
    text = "".join(file.read_text() for file in [*sources, ROOT / "hatch_build.py"])
    read = set(re.findall(r'"((?:DX|DOCKER)_[A-Z_]+)"', text))
    assert {"DX_DEPTH", "DX_NO_START", "DOCKER_HOST"} <= read
    assert sorted(name for name in read if f"`{name}`" not in page) == []


def test_every_label_is_in_the_reference() -> None:
    page = (REFERENCE / "labels.md").read_text()
    text = "".join(file.read_text() for file in (ROOT / "daemon" / "dxd").rglob("*.py"))
    labels = set(re.findall(r'"(dev\.dx\.[a-z]+)"', text))
    assert len(labels) > 5
    assert sorted(label for label in labels if f"`{label}`" not in page) == []
