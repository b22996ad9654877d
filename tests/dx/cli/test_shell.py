"""dx activate, completions and reshim, in the shells themselves."""

import json
import subprocess

import pexpect
import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import TOOL_DEFAULTS, State

POSIX = ["bash", "zsh"]


def sh(dx: Dx, shell: str, script: str, **environ: str) -> str:
    """What the shell prints; it must not complain."""
    flags = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", script],
        env={**dx.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        cwd=dx.root,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", POSIX)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/bin:/usr/bin", "@:/bin:/usr/bin"),
        ("@:/bin:/usr/bin", "@:/bin:/usr/bin"),
        ("/bin:@:/usr/bin:@", "@:/bin:/usr/bin"),
        ("@:@:/bin", "@:/bin"),
        ("@", "@"),
        ("/bin::/usr/bin", "@:/bin::/usr/bin"),
        ("/bin:", "@:/bin:"),
        ("/bin:@x:/@", "@:/bin:@x:/@"),
    ],
)
def test_activate_puts_the_shims_first_on_path_once(dx: Dx, shell: str, before: str, after: str) -> None:
    """However often; the rest stays as it is, even where options make the shell strict."""
    shims = str(dx.root / "data" / "shims")
    code = dx("activate", shell).out
    script = f"set -eu; PATH='{before.replace('@', shims)}'\n{code}\n{code}\nprintf %s \"$PATH\""
    assert sh(dx, shell, script) == after.replace("@", shims)


@pytest.mark.parametrize("shell", POSIX)
def test_activate_takes_any_name_of_a_directory(dx: Dx, shell: str) -> None:
    """Nothing in it is for the shell."""
    odd = str(dx.root / "a b'c\"d$(e)*[f]\\")
    code = dx("activate", shell, DX_DATA_DIR=odd).out
    assert sh(dx, shell, f'PATH=/bin:/usr/bin\n{code}{code}printf %s "$PATH"') == f"{odd}/shims:/bin:/usr/bin"


def test_activate_for_fish(dx: Dx) -> None:
    """The same."""
    odd = str(dx.root / "a b'c\"d$(e)*[f]\\")
    code = dx("activate", "fish", DX_DATA_DIR=odd).out
    script = f"{code}\n{code}\nstring join : $PATH"
    assert sh(dx, "fish", script, PATH=f"/bin:{odd}/shims:/usr/bin") == f"{odd}/shims:/bin:/usr/bin\n"


def test_activate_in_the_documented_way(dx: Dx) -> None:
    """With eval; $SHELL says whose code."""
    assert sh(dx, "bash", 'eval "$(dx-cli activate)"; echo "${PATH%%:*}"', SHELL="/x/bash").endswith("/data/shims\n")
    assert sh(dx, "fish", "dx-cli activate | source; echo $PATH[1]", SHELL="/x/fish").endswith("/data/shims\n")


def test_a_colon_cannot_be_on_path(dx: Dx) -> None:
    """So it says what to set instead."""
    done = dx("activate", "bash", DX_DATA_DIR="/a:b")
    assert (done.status, done.out) == (125, "")
    assert "DX_DATA_DIR" in done.err


def complete_bash(dx: Dx, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    dx.script("dx", f'#!/bin/sh\nexec {dx.program} "$@"\n')
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        'eval "$(dx completions bash)"; compopt() { :; }\n'
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _dx\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return sh(dx, "bash", script).split()


def test_completion_in_bash(dx: Dx, daemon: State) -> None:
    """Verbs, tools, options, and their values."""
    daemon.tools = {name: {"name": name, **TOOL_DEFAULTS} for name in ("jq", "json2csv", "gcc")}
    assert complete_bash(dx, "dx", "sh") == ["show", "shell"]
    assert complete_bash(dx, "dx", "show", "j") == ["jq", "json2csv"]
    assert complete_bash(dx, "dx", "run", "g") == ["gcc"]
    assert complete_bash(dx, "dx", "run", "--network", "none", "g") == ["gcc"]
    assert complete_bash(dx, "dx", "run", "gcc", "g") == []
    assert complete_bash(dx, "dx", "ls", "--") == ["--help", "--names", "--commands", "--all", "--json"]
    assert complete_bash(dx, "dx", "add", "x", "--network", "") == ["none", "bridge", "host", "project"]
    assert complete_bash(dx, "dx", "add", "x", "--build", "da") == ["data"]
    assert complete_bash(dx, "dx", "daemon", "st") == ["start", "stop"]
    assert "--follow" in complete_bash(dx, "dx", "daemon", "logs", "--f")
    assert complete_bash(dx, "dx", "activate", "") == ["bash", "zsh", "fish"]
    assert complete_bash(dx, "dx", "builds", "") == ["log", "jq", "json2csv", "gcc"]


def test_completion_in_fish(dx: Dx, daemon: State) -> None:
    """The same, with what each is for."""
    daemon.tools = {"jq": {"name": "jq", **TOOL_DEFAULTS}}
    dx.script("dx", f'#!/bin/sh\nexec {dx.program} "$@"\n')

    def complete(line: str) -> list[str]:
        out = sh(dx, "fish", f"dx completions fish | source; complete -C '{line}'")
        return [each.split("\t")[0] for each in out.splitlines()]

    assert set(complete("dx sh")) == {"show", "shell"}
    assert complete("dx show ") == ["jq"]
    assert set(complete("dx builds ")) == {"jq", "log"}
    assert "jq" in complete("dx run ")
    assert set(complete("dx add x --network ")) == {"none", "bridge", "host", "project"}
    assert "--names" in complete("dx ls --")
    assert set(complete("dx daemon st")) == {"start", "stop"}


def test_completion_in_zsh(dx: Dx, daemon: State) -> None:
    """On a terminal: zsh completes nowhere else."""
    daemon.tools = {"jsontool": {"name": "jsontool", **TOOL_DEFAULTS}}
    dx.script("dx", f'#!/bin/sh\nexec {dx.program} "$@"\n')
    environ = {**dx.environ, "TERM": "dumb", "PS1": "ready> "}
    zsh = pexpect.spawn("zsh", ["-f", "-i"], env=environ, timeout=20, cwd=dx.root)
    try:
        zsh.expect("ready> ")
        zsh.sendline('autoload -Uz compinit && compinit -u -D; eval "$(dx completions zsh)"; echo loa""ded')
        zsh.expect("loaded\r\n")
        for typed, shown in (
            ("dx sho\t", "dx show "),
            ("dx show js\t", "dx show jsontool"),
            ("dx run js\t", "jsontool"),
            ("dx builds js\t", "dx builds jsontool"),
            ("dx builds lo\t", "dx builds log"),
            ("dx ls --na\t", "dx ls --names"),
            ("dx activate f\t", "activate fish"),
        ):
            zsh.send(typed)
            zsh.expect_exact(shown)
            zsh.send("\x15")
    finally:
        zsh.close(force=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_is_valid(dx: Dx, shell: str) -> None:
    """In the words of the shell that is to read it."""
    code = dx("completions", shell).out
    script = dx.root / "code"
    script.write_text(code)
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_reshim_says_what_changed(dx: Dx, daemon: State) -> None:
    """A file in the way is a failure: one shim is missing."""
    daemon.tools = {"jq": {"name": "jq", **TOOL_DEFAULTS}}
    assert dx("reshim").out == "1 shim in /shims\n"
    daemon.foreign = ["jq"]
    done = dx("reshim")
    assert done.status == 125
    assert done.err == "dx: /shims/jq is not dx's own; remove it, then: dx reshim\n"
    daemon.answers["POST /v1/shims"] = (
        200,
        json.dumps({"directory": "/s", "added": ["a"], "removed": ["b"], "foreign": [], "kept": ["c"]}).encode(),
    )
    done = dx("reshim")
    assert (done.status, done.out) == (0, "+ a\n- b\n2 shims in /s\n")
    assert json.loads(dx("reshim", "--json").out)["kept"] == ["c"]
