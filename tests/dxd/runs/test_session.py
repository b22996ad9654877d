"""What a run shares of its caller's session."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.runs.grants import PlacedGrant
from dxd.runs.session import variables, with_session
from dxd.tools.model import Share


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """The current directory, since paths of sockets are short: a socket `s`, a link `l` to it, and `.Xauthority`."""
    path = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("s")
        Path("l").symlink_to("s")
        Path(".Xauthority").touch()
        yield os.fsencode(path)


def planned(share: Share, *env: bytes, grants: tuple[PlacedGrant, ...] = (), home: bytes = b"/no") -> list[PlacedGrant]:
    return with_session(grants, [share], env, home=home)


def test_a_socket_is_at_its_own_path(here: bytes) -> None:
    """A link too: under the name that the variable has."""
    for name in (b"/s", b"/l"):
        path = here + name
        real = here + b"/s"
        assert planned(Share.SSH_AGENT, b"SSH_AUTH_SOCK=" + path) == [PlacedGrant(real, path, False, False)]


@pytest.mark.parametrize("value", [b"", b"s", b"/gone/s", b"/", b"/x\n", b"/etc/passwd"])
def test_what_is_no_socket_is_left_out(here: bytes, value: bytes) -> None:
    assert planned(Share.SSH_AGENT, b"SSH_AUTH_SOCK=" + value) == []
    assert planned(Share.SSH_AGENT) == []


def test_what_is_seen_anyway_is_not_granted_again(here: bytes) -> None:
    """It may lie in the project; a mount of the same name, or of another directory there, is another matter."""
    env = b"SSH_AUTH_SOCK=" + here + b"/s"
    project = PlacedGrant(here, here, False, True)
    same = PlacedGrant(b"/other", here + b"/s", False, False)
    other = PlacedGrant(b"/other", here, False, True)
    for grants, more in (((project,), 0), ((same,), 0), ((other,), 1)):
        assert len(planned(Share.SSH_AGENT, env, grants=grants)) == len(grants) + more


def test_parents_come_first(here: bytes) -> None:
    deep = PlacedGrant(b"/x", here + b"/deeper/than/that", False, True)
    whole = planned(Share.SSH_AGENT, b"SSH_AUTH_SOCK=" + here + b"/s", grants=(deep,))
    assert [each.target for each in whole] == [here + b"/s", deep.target]


def test_the_cookie_of_x11_is_read_only(here: bytes) -> None:
    """The variable's, else the one in HOME."""
    cookie = here + b"/.Xauthority"
    expected = [PlacedGrant(cookie, cookie, True, False)]
    assert planned(Share.X11, b"DISPLAY=elsewhere:0", home=here) == expected
    assert planned(Share.X11, b"DISPLAY=elsewhere:0", b"XAUTHORITY=" + cookie) == expected
    assert planned(Share.X11, b"XAUTHORITY=/gone", home=here) == []


def test_waylands_socket_is_in_its_directory_or_where_it_says(here: bytes) -> None:
    expected = [PlacedGrant(here + b"/s", here + b"/s", False, False)]
    assert planned(Share.WAYLAND, b"XDG_RUNTIME_DIR=" + here, b"WAYLAND_DISPLAY=s") == expected
    assert planned(Share.WAYLAND, b"WAYLAND_DISPLAY=" + here + b"/s") == expected
    assert planned(Share.WAYLAND, b"XDG_RUNTIME_DIR=" + here) == []
    assert planned(Share.WAYLAND) == []


def test_nothing_is_shared_unasked(here: bytes) -> None:
    assert with_session([], [], [b"SSH_AUTH_SOCK=" + here + b"/s"], home=here) == []
    assert variables([]) == ()
    assert variables([Share.SSH_AGENT, Share.X11]) == ("SSH_AUTH_SOCK", "DISPLAY", "XAUTHORITY")
