"""dx doctor."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.dx.installed import Dx
from tests.fakes.daemon import State


def findings(dx: Dx, **environ: str) -> dict[str, tuple[str, str, str]]:
    """State, detail and cure, by the name of the check; of several the worst."""
    checks = json.loads(dx("doctor", "--json", **environ).out)["checks"]
    order = sorted(checks, key=lambda check: ["ok", "warn", "fail"].index(check["state"]))
    return {check["name"]: (check["state"], check["detail"], check["cure"]) for check in order}


def with_agent(dx: Dx) -> dict[str, str]:
    """An environment in which the daemon's package has an agent."""
    package = dx.root / "packages" / "dxd"
    agent = package / "agent-bin" / os.uname().machine / "agent"
    agent.parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    agent.touch(mode=0o755)
    return {"PYTHONPATH": os.pathsep.join([str(dx.root / "packages"), *sys.path])}


def test_where_all_is_well_it_is_0(dx: Dx, daemon: State) -> None:
    """Each check says what it found."""
    shims = dx.root / "data" / "shims"
    shims.mkdir()
    environ = {**with_agent(dx), "PATH": f"{shims}:{dx.environ['PATH']}"}
    done = dx("doctor", **environ)
    assert done.status == 0, done.out
    assert {line.split()[0] for line in done.out.splitlines()} == {"ok"}
    found = findings(dx, **environ)
    assert {
        "launcher",
        "runtime",
        "daemon",
        "engine",
        "dx.toml",
        "agent",
        "root",
        "grants",
        "reach",
        "shims",
    } <= found.keys()
    assert found["engine"][1] == "version 20.10.24 at unix:///e.sock"
    assert found["launcher"][1] == str(dx.bin / "dx")


def test_every_finding_has_its_cure(dx: Dx, daemon: State) -> None:
    """What fails makes it 125."""
    daemon.engine = {"state": "down", "address": None, "version": None, "reason": "no access to it; join group docker"}
    daemon.problem = "dx.toml:3: broken"
    done = dx("doctor")
    assert done.status == 125
    found = findings(dx)
    assert found["engine"] == ("fail", "no access to it", "join group docker")
    assert found["dx.toml"] == ("fail", "dx.toml:3: broken", "dx edit")
    assert found["shims"][0] == "warn"
    assert "dx activate" in found["shims"][2]
    assert all(cure for state, _, cure in found.values() if state != "ok")
    assert "cure: join group docker" in done.out


def test_builds_that_fail_and_trees_that_are_polled(dx: Dx, daemon: State) -> None:
    """`dx status` says so too, and neither is a failure of dx."""
    daemon.failed_builds = {"lint": "lint: its new build failed"}
    daemon.unwatched = [{"message": "changes of /c are found late", "cure": "raise the limit"}]
    found = findings(dx)
    assert found["watching"] == ("warn", "changes of /c are found late", "raise the limit")
    assert found["build"][:2] == ("warn", "lint: its new build failed")
    done = dx("doctor")
    assert "cure: raise the limit" in done.out
    shown = dx("status")
    assert (shown.status, shown.err) == (0, "")
    assert {"lint: its new build failed", "changes of /c are found late"} <= {
        line.partition(" ")[2].strip() for line in shown.out.splitlines()
    }


def test_a_runtime_directory_that_others_can_enter(dx: Dx, daemon: State) -> None:
    """chmod is the cure."""
    (dx.root / "run").chmod(0o755)
    assert findings(dx)["runtime"] == ("fail", f"{dx.root}/run is open to others", f"chmod 700 {dx.root}/run")


def test_a_runtime_directory_of_somebody_else(dx: Dx) -> None:
    """Only root can bring this about here."""
    if os.geteuid() == 0:
        os.chown(dx.root / "run", 1234, 1234)
        assert "belongs to uid 1234" in findings(dx, FAKE_START_FAILS="no")["runtime"][1]


def test_something_else_in_the_sockets_place(dx: Dx) -> None:
    """The daemon is unreachable then, which is told as well."""
    dx.socket.write_text("")
    found = findings(dx, FAKE_START_FAILS="cannot connect; remove it")
    assert found["runtime"][0] == "fail"
    assert found["daemon"] == ("fail", "cannot connect", "remove it")


def test_a_daemon_of_another_version(dx: Dx, daemon: State) -> None:
    """Restarting is the cure."""
    daemon.version = "9.0.0"
    daemon.headers = {"Dx-Version": "9.0.0"}
    assert findings(dx)["daemon"][::2] == ("fail", "dx daemon restart")


def test_no_agent_for_this_machine(dx: Dx, daemon: State) -> None:
    """The package is there, the program is not."""
    environ = with_agent(dx)
    agent = Path(dx.root / "packages" / "dxd" / "agent-bin" / os.uname().machine / "agent")
    assert findings(dx, **environ)["agent"] == ("ok", str(agent), "")
    agent.chmod(0o644)
    assert findings(dx, **environ)["agent"] == ("fail", f"{agent} is not executable", f"chmod +x {agent}")
    agent.unlink()
    assert findings(dx, **environ)["agent"][0] == "fail"


def test_shims_that_are_hidden_or_lead_nowhere(dx: Dx, daemon: State) -> None:
    """By a program of the same name; to a launcher that is gone."""
    shims = dx.root / "data" / "shims"
    shims.mkdir()
    (shims / "jq").symlink_to(dx.bin / "dx")
    dx.script("jq", "#!/bin/sh\n")
    path = f"{dx.environ['PATH']}:{shims}"
    assert findings(dx, PATH=path)["PATH"][:2] == ("warn", f"these come before dx's: {dx.bin / 'jq'}")
    (shims / "yq").symlink_to("/gone/dx")
    assert findings(dx, PATH=path)["shims"] == ("fail", "these lead nowhere: yq", "dx reshim")


def test_what_is_refused_is_named_with_its_cure(dx: Dx, daemon: State) -> None:
    """A step that is done another way works, so it is no failure."""
    daemon.ladder[0] = {"step": "root", "way": "single-use", "reason": "it is refused", "cure": "allow it"}
    daemon.ladder[2] = {"step": "reach", "way": "portable", "reason": "it is far away", "cure": "come nearer"}
    found = findings(dx)
    assert found["root"] == ("warn", "single-use: it is refused", "allow it")
    assert found["reach"] == ("warn", "portable: it is far away", "come nearer")
    steps = {each["step"]: each for each in json.loads(dx("doctor", "--json").out)["ladder"]}
    assert steps["launcher"]["way"] == "python"
    assert steps["root"] == daemon.ladder[0]
    daemon.ladder[0]["way"] = daemon.ladder[0]["reason"] = ""
    assert findings(dx)["root"] == ("ok", "not tried yet; the first run does", "")


def test_user_namespaces_are_tried(dx: Dx) -> None:
    """As a user who is not root, whatever the answer is on this machine."""
    script = (
        "import ctypes, os; from dx.cli.doctor import ladder;"
        "steps = [dict(step=each, way='mounts', reason='', cure='') for each in ('root', 'grants', 'reach')];"
        "print(ladder({'ladder': steps})[1]['way'])"
    )
    if os.geteuid() == 0:
        assert subprocess.check_output([sys.executable, "-c", script], env=dx.environ, text=True) == "mounts\n"
        script = script.replace("print", "os.setgid(65534); os.setuid(65534); print")
    out = subprocess.check_output([sys.executable, "-c", script], env=dx.environ, text=True)
    assert out in {"mounts\n", "bind\n"}
