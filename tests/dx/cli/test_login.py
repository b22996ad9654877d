"""What starts the daemon at login; tests/e2e/test_login.py has a real systemd."""

import json
from pathlib import Path

import pytest

from dx.cli.login import drop_in
from dx.places import Places
from tests.dx.cli.test_doctor import findings
from tests.dx.installed import Dx
from tests.fakes.daemon import State

WITHOUT = '#!/bin/sh\necho "Failed to connect to bus: No medium found" >&2\nexit 1\n'
WITH = '#!/bin/sh\n[ "$2" != is-enabled ] && echo "HOME=/root"\n'


def keep(daemon: State, wanted: str) -> None:
    """Have a project with one service, which is wanted so."""
    projects = [{"name": "shop", "services": [{"name": "web", "wanted": wanted}]}]
    daemon.answers["GET /v1/projects"] = (200, json.dumps({"projects": projects}).encode())


@pytest.mark.parametrize("wanted", ["up", "asleep"])
def test_doctor_warns_where_nothing_brings_services_back(dx: Dx, daemon: State, wanted: str) -> None:
    dx.script("crontab", "#!/bin/sh\nexit 1\n")
    for systemctl, cure in (
        (WITH, "dx daemon enable"),
        (WITHOUT, "put into ~/.profile, or behind @reboot into the crontab: dx daemon start"),
    ):
        dx.script("systemctl", systemctl)
        keep(daemon, wanted)
        state, detail, said = findings(dx)["login"]
        assert (state, said) == ("warn", cure)
        assert "after a reboot" in detail
        keep(daemon, "down")
        assert "login" not in findings(dx)


def test_doctor_knows_a_line_that_starts_it(dx: Dx, daemon: State) -> None:
    """In a start-up file, or the crontab."""
    keep(daemon, "up")
    dx.script("systemctl", WITHOUT)
    dx.script("crontab", "#!/bin/sh\necho '@reboot /home/me/.local/bin/dx daemon start'\n")
    assert findings(dx)["login"] == ("ok", "the crontab starts the daemon", "")
    (dx.root / ".zprofile").write_text("umask 022\ndx daemon start >/dev/null\n")
    assert findings(dx)["login"] == ("ok", "~/.zprofile starts the daemon", "")


def test_a_socket_elsewhere_cannot_be_systemds(dx: Dx, daemon: State) -> None:
    """Nothing is touched then, the daemon neither."""
    dx.script("systemctl", WITH)
    done = dx("daemon", "enable", XDG_RUNTIME_DIR="/run/user/1")
    assert (done.status, done.err) == (
        125,
        f"dx: systemd's socket is in /run/user/1/dx, and this dx looks for it in {dx.root}/run; unset DX_RUNTIME_DIR\n",
    )
    assert not daemon.asked
    assert not (dx.root / ".config").exists()


def test_what_systemd_says_is_told(dx: Dx) -> None:
    """As where units that were copied there by hand are in the way."""
    dx.script(
        "systemctl", '#!/bin/sh\n[ "$2" != enable ] && exec echo fine\necho "File dx.socket exists" >&2\nexit 1\n'
    )
    done = dx("daemon", "enable", DX_RUNTIME_DIR="", XDG_RUNTIME_DIR=str(dx.root))
    assert done.status == 125
    assert done.err.startswith("dx: systemd refuses: File dx.socket exists; ")


def test_the_drop_in_has_the_places_whole(tmp_path: Path) -> None:
    environ = {"HOME": "/home/me", "PATH": "/bin", "DX_STATE_DIR": "state", "DX_DEPTH": "1"}
    text = drop_in(environ, Places.of(environ), tmp_path)
    assert text.splitlines()[1:] == [
        "[Service]",
        f'Environment="PATH={tmp_path}:/bin"',
        f'Environment="DX_STATE_DIR={Path("state").absolute()}"',
    ]
