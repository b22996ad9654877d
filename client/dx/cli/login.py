"""What starts the daemon when its user logs in, for services to come back after a reboot: systemd, or a line somewhere.

    dx daemon enable

links the two units in `dx/units` into the user's manager, with a drop-in that says what of this environment the daemon
needs. The units stay in the package, so an upgrade of dx brings its own.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dx.errors import ClientError
from dx.places import Places

UNITS = Path(__file__).parent.parent / "units"
SERVICE, SOCKET = "dx.service", "dx.socket"
LINE = "dx daemon start"
"""What starts it where systemd does not."""
START_UP_FILES = (".profile", ".bash_profile", ".bashrc", ".zprofile", ".zshrc", ".config/fish/config.fish")
PLACES = ("config_dir", "state_dir", "data_dir")
PASSED_ON = (
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DX_BUILDX"),
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""Variables that the user's manager may have otherwise, or not at all."""
NO_SYSTEMD = "no systemd looks after this user here"


def enable(places: Places, programs: Path) -> None:
    """Have systemd start the daemon that is in `programs`, now and at each login; none may be running.

    Raises `ClientError`.
    """
    path = _drop_in()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drop_in(os.environ, places, programs))
    _need("enable", "--now", str(UNITS / SOCKET), str(UNITS / SERVICE))


def disable() -> None:
    """End the daemon, and leave it to the first command again; raises `ClientError`."""
    _need("disable", "--now", SERVICE, SOCKET)
    _drop_in().unlink(missing_ok=True)
    _need("daemon-reload")


def check(places: Places) -> None:
    """Whether systemd could start it; raises `ClientError` with what else could."""
    if not _manager_answers():
        raise ClientError(NO_SYSTEMD, cure())
    theirs = f"{os.environ.get('XDG_RUNTIME_DIR', '')}/dx"
    if str(places.runtime_dir) != theirs:
        raise ClientError(
            f"systemd's socket is in {theirs}, and this dx looks for it in {places.runtime_dir}", "unset DX_RUNTIME_DIR"
        )


def starter() -> str:
    """What starts the daemon at login, as far as can be seen; nothing if nothing does."""
    if _systemctl("is-enabled", SERVICE) == "enabled":
        return f"systemd starts the daemon at {'boot' if lingers() else 'login'}"
    for name in START_UP_FILES:
        try:
            if LINE in Path.home().joinpath(name).read_text(errors="replace"):
                return f"~/{name} starts the daemon"
        except OSError:
            continue
    return "the crontab starts the daemon" if LINE in _output("crontab", "-l") else ""


def cure() -> str:
    """What the user can do so that something starts it."""
    if _manager_answers():
        return "dx daemon enable"
    return f"put into ~/.profile, or behind @reboot into the crontab: {LINE}"


def lingers() -> bool:
    """Whether the user's manager is there without a login: loginctl(1), enable-linger."""
    import pwd

    try:
        return Path("/var/lib/systemd/linger", pwd.getpwuid(os.getuid()).pw_name).exists()
    except KeyError:
        return False


def drop_in(environ: Mapping[str, str], places: Places, programs: Path) -> str:
    """The daemon's environment as a part of its unit; `programs` has dxd in it."""
    found = {"PATH": f"{programs}:{environ.get('PATH', os.defpath)}"}
    found |= {name: environ[name] for name in PASSED_ON if name in environ}
    found |= {f"DX_{name.upper()}": str(getattr(places, name)) for name in PLACES if f"DX_{name.upper()}" in environ}
    lines = "".join(f'Environment="{name}={_quoted(value)}"\n' for name, value in found.items())
    return f"# Made by dx daemon enable, from the environment that it had.\n[Service]\n{lines}"


def _quoted(value: str) -> str:
    """As systemd.syntax(7) has it, and systemd.unit(5) for what begins with a percent sign."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")


def _drop_in() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    above = Path(config) if config.startswith("/") else Path.home() / ".config"
    return above / "systemd" / "user" / f"{SERVICE}.d" / "environment.conf"


def _manager_answers() -> bool:
    return bool(_systemctl("show-environment"))


def _systemctl(*arguments: str) -> str:
    return _output("systemctl", "--user", *arguments)


def _output(*command: str) -> str:
    """What it prints, if it is there and ends well."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.decode(errors="replace").strip()


def _need(*arguments: str) -> None:
    """Have the user's manager do it; raises `ClientError` with its last words."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        raise ClientError(NO_SYSTEMD, cure()) from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ClientError(f"systemd refuses: {words}", f"see: systemctl --user status {SERVICE}")
