from pathlib import Path

import pytest

from dxd.compose.durations import parse_duration
from dxd.compose.files import directory_of, line_of


def test_the_directory_is_the_nearest_with_a_compose_file(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert directory_of(inner, (), {}) is None
    (tmp_path / "docker-compose.yml").touch()
    assert directory_of(inner, (), {}) == tmp_path
    (tmp_path / "a" / "compose.yaml").touch()
    assert directory_of(inner, (), {}) == tmp_path / "a"
    assert directory_of(inner, ("../../docker-compose.yml",), {}) == tmp_path
    assert directory_of(inner, (), {"COMPOSE_FILE": f"{tmp_path}/docker-compose.yml:other"}) == tmp_path
    assert directory_of(inner, ("gone.yaml",), {}) is None
    (inner / ".env").write_text("A=b\nCOMPOSE_FILE=x.yaml\n")
    assert directory_of(inner, (), {}) == inner


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("services", 2),
        ("services.db", 3),
        ("services.db.ports", 5),
        ("services.web.image", 7),
        ("services.web.gone", 7),
        ("services.deep.build.args", 9),
        ("volumes.db", 11),
        ("nothing", None),
    ],
)
def test_the_line_of_a_key(tmp_path: Path, keys: str, line: int | None) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        "# services\nservices:\n  db:\n    image: x  # ports: none\n    ports:\n      - '1:2'\n"
        "  web: {image: y, command: z}\n  deep:\n    build: {context: ., args: {A: b}}\n"
        "volumes:\n  db: {}\n"
    )
    found = line_of(keys.split("."), [tmp_path / "gone.yaml", file])
    assert (None if found is None else found[1]) == line


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m30s", 90), ("500ms", 0.5), ("1h0m0s", 3600), ("1.5s", 1.5), ("0s", 0)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1m x", "soon", "1 m", "-1s"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(text)
