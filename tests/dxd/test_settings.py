"""The daemon's own table of dx.toml."""

import os
from pathlib import Path

import pytest

from dxd.errors import BadDefinition
from dxd.settings import Settings, load


def test_without_a_file_or_a_table_everything_is_the_default(tmp_path: Path) -> None:
    """Nobody has to write settings."""
    file = tmp_path / "dx.toml"
    assert load(file) == Settings()
    file.write_text("[tools.jq]\nimage = 'jq'\n")
    assert load(file) == Settings()


def test_settings_are_read_with_the_type_of_their_default(tmp_path: Path) -> None:
    """Seconds may be written as whole numbers, bytes as sizes."""
    file = tmp_path / "dx.toml"
    file.write_text("[daemon]\nidle_s = 5\nmax_warm = 3\nscratch_bytes = '64m'\nlog_bytes = '10m'\n")
    settings = load(file)
    assert (settings.idle_s, settings.max_warm, settings.scratch_bytes) == (5.0, 3, 64 << 20)
    assert settings.log_bytes == 10 << 20
    assert isinstance(settings.idle_s, float)


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("idle_s = -1", 2, "daemon.idle_s: must be from 0 to"),
        ("idle_s = nan", 2, "daemon.idle_s: must be from 0 to"),
        ("idle_s = inf", 2, "daemon.idle_s: must be from 0 to"),
        ("idle_s = true", 2, "daemon.idle_s: must be a number"),
        ("\nmax_warm = 1.5", 3, "daemon.max_warm: must be a whole number"),
        ("max_warm = 0", 2, "daemon.max_warm: must be from 1"),
        ("scratch_bytes = 'much'", 2, 'daemon.scratch_bytes: "much" is not a size'),
        ("idle = 1", 2, "daemon.idle: unknown key"),
    ],
)
def test_a_wrong_setting_is_never_a_default(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    """The message names file, line and key."""
    file = tmp_path / "dx.toml"
    file.write_text(f"[daemon]\n{text}\n")
    with pytest.raises(BadDefinition) as caught:
        load(file)
    assert caught.value.message.startswith(f"{file}:{line}: {complaint}")


def test_the_table_has_to_be_one(tmp_path: Path) -> None:
    """`daemon = 1` is a mistake."""
    file = tmp_path / "dx.toml"
    file.write_text("daemon = 1\n")
    with pytest.raises(BadDefinition, match="must be a table"):
        load(file)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A directory, a loop of symlinks, broken text."""
    with pytest.raises(BadDefinition, match="cannot be read"):
        load(tmp_path)
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(BadDefinition, match="cannot be read"):
        load(tmp_path / "loop")
    (tmp_path / "broken").write_text("[daemon\n")
    with pytest.raises(BadDefinition, match="broken:1:"):
        load(tmp_path / "broken")
