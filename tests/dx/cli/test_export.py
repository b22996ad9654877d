"""dx export."""

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State


def test_what_is_not_the_default_is_a_label(dx: Dx, daemon: State) -> None:
    """Quoted for a Dockerfile; paths of the home directory with ~, others of this machine left out."""
    daemon.tools["x"] = {
        "name": "x",
        **TOOL_DEFAULTS,
        "image": "x",
        "entrypoint": [],
        "network": "none",
        "env": ['A=$B "c" \\ \n', "AWS_*"],
        "mounts": [
            f"{dx.root}/.aws:{dx.root}/.aws:ro",
            "/srv/data:/data",
            {"source": f"{dx.root}/a:b", "target": "/x", "readonly": True},
        ],
        "caches": [f"{dx.root}/.cache", "/var/cache"],
        "cpus": 1.5,
        "gpus": "all",
    }
    done = dx("export", "x")
    assert done.status == 0
    assert done.out.splitlines() == [
        'LABEL dev.dx.entrypoint="[]"',
        'LABEL dev.dx.network="none"',
        'LABEL dev.dx.env="[\\"A=\\$B \\\\\\"c\\\\\\" \\\\\\\\ \\\\n\\", \\"AWS_*\\"]"',
        (
            'LABEL dev.dx.mounts="[\\"~/.aws:~/.aws:ro\\", '
            '{\\"source\\": \\"~/a:b\\", \\"target\\": \\"/x\\", \\"readonly\\": true}]"'
        ),
        'LABEL dev.dx.caches="[\\"~/.cache\\", \\"/var/cache\\"]"',
        'LABEL dev.dx.cpus="1.5"',
        'LABEL dev.dx.gpus="all"',
        "# without a mount of this machine: /srv/data",
    ]
    assert done.err == "dx: whoever has the image can read the value of A\n"


def test_a_tool_of_defaults_has_no_labels(dx: Dx, daemon: State) -> None:
    """And that is said."""
    daemon.tools["x"] = {"name": "x", **TOOL_DEFAULTS, "image": "x"}
    done = dx("export", "x")
    assert (done.status, done.out) == (0, "")
    assert "nothing but defaults" in done.err


def test_a_tool_that_is_unknown(dx: Dx, daemon: State) -> None:
    """As everywhere."""
    assert dx("export", "x").status == 125


def test_the_daemon_reads_the_same_keys() -> None:
    """One list is the client's, one the daemon's."""
    from dx.cli import export
    from dxd.tools import labels

    assert (export.PREFIX, export.KEYS) == (labels.PREFIX, labels.KEYS)
