import os
from pathlib import Path

import pytest

from dxd.kit.directories import is_gone
from tests.house import ME, STRANGER


def test_what_is_no_directory_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [is_gone(f"{tmp_path}{each}") for each in ("", "/file", "/nothing", "/file/below")] == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.skipif(ME.uid != 0, reason="only root can become somebody else")
def test_what_may_not_be_looked_at_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    pid = os.fork()
    if pid == 0:
        os.setgid(STRANGER.gid)
        os.setuid(STRANGER.uid)
        os._exit(is_gone(f"{tmp_path}/closed/below"))
    assert os.waitpid(pid, 0)[1] == 0
