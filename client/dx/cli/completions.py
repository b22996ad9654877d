"""`dx completions`: completion for the shells, made from the parsers, so that it knows what they know.

Names of tools come from `dx ls --names`, those of services from `dx services --names`, at the moment of asking.
"""

import argparse
from typing import NamedTuple

from dx.cli import search_path
from dx.cli.verb import Namespace, Parser, Verb

TOOLS = "dx ls --names 2>/dev/null"
SERVICES = "dx services --names 2>/dev/null"


class Option(NamedTuple):
    """An option of a verb."""

    flags: tuple[str, ...]
    help: str
    value: str | None
    """What it takes: `directory`, `file`, `text`, words to choose from, or None for nothing."""


class Words(NamedTuple):
    """What can stand after a verb."""

    name: str
    summary: str
    options: tuple[Option, ...]
    tools: bool
    """Whether its arguments are tools."""
    choices: tuple[str, ...]
    """Or one of these."""
    services: bool = False
    """Whether they are services of a project."""


def all_words() -> list[Words]:
    """Of every verb, `run` too."""
    from dx.cli import MODULES, find

    env = Option(("--env",), "set or pass a variable", "text")
    mount = Option(("--mount",), "show a path of the host", "file")
    network = Option(("--network",), "another network than the tool's", "none bridge host project")
    up = Option(("--up",), "services to have ready first", "text")
    user = Option(("--user",), "another user than the tool's", "me root image")
    port = Option(("--port",), "a port of this machine that leads to the run", "text")
    device = Option(("--device",), "a device that it may open", "file")
    share = Option(("--share",), "use that of your session", "ssh-agent x11 wayland")
    paths = Option(("--paths",), "what it sees of your files", "auto project none")
    git = Option(("--git",), "what it may do to hooks and config", "read write")
    image = Option(("--image",), "another image than the tool's", "text")
    explain = Option(("--explain",), "say what it sees of your files, and why", None)
    of_run = (env, mount, network, user, port, device, share, paths, git, image, up, explain)
    words = [Words("run", find("run").summary, of_run, tools=True, choices=())]
    for name in MODULES:
        verb = find(name)
        words.append(_words(verb.name, verb.summary, verb.parser()))
    return words


def _words(name: str, summary: str, parser: argparse.ArgumentParser) -> Words:
    from dx.cli import MODULES

    options: list[Option] = []
    tools = services = False
    choices: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.option_strings:
            options.append(Option(tuple(action.option_strings), action.help or "", _value(action)))
        elif action.choices is not None:
            choices += [str(each) for each in action.choices]
            if isinstance(action.choices, dict):
                for inner in action.choices.values():
                    found = _words(name, summary, inner)
                    options += found.options
                    services = services or found.services
        elif action.metavar == "SERVICE":
            services = True
        elif "NAME" in (alternatives := str(action.metavar).split("|")):
            tools = True
            choices += alternatives[1:]
        elif action.dest == "topic":
            choices += ["run", *MODULES]
    unique = {option.flags: option for option in options}
    return Words(name, summary, tuple(unique.values()), tools, tuple(choices), services)


def _value(action: argparse.Action) -> str | None:
    if action.nargs == 0:
        return None
    if action.choices is not None:
        return " ".join(str(each) for each in action.choices)
    return {"DIR": "directory", "FILE": "file", "SRC[:DST][:ro]": "file"}.get(str(action.metavar), "text")


def bash(every: list[Words]) -> str:
    """For bash 4 and later; files are completed where nothing else fits, so the arguments of `run` are too."""
    cases = []
    for words in every:
        values = "".join(
            f"        {'|'.join(option.flags)}) {_bash_value(option.value)}; return ;;\n"
            for option in words.options
            if option.value
        )
        flags = " ".join(flag for option in words.options for flag in option.flags)
        others = " ".join([*words.choices, *[f"$({TOOLS})"] * words.tools, *[f"$({SERVICES})"] * words.services])
        cases.append(
            f"    {words.name})\n"
            + (f'        case "$before" in\n{values}        esac\n' if values else "")
            + f'        flags="{flags}"\n        others="{others}" ;;\n'
        )
    run = next(words for words in every if words.name == "run")
    valued = "|".join(flag for option in run.options if option.value for flag in option.flags)
    return (
        _BASH.replace("@VALUED@", valued)
        .replace("@VERBS@", " ".join(words.name for words in every))
        .replace("@CASES@", "".join(cases))
    )


def _bash_value(value: str | None) -> str:
    match value:
        case "directory":
            return 'COMPREPLY=($(compgen -d -- "$word"))'
        case "file":
            return 'COMPREPLY=($(compgen -f -- "$word"))'
        case "text":
            return "compopt +o default"
        case _:
            return f'COMPREPLY=($(compgen -W "{value}" -- "$word"))'


_BASH = """\
_dx() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} flags others IFS=$' \\t\\n'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "@VERBS@" -- "$word"))
        return
    fi
    if [[ ${COMP_WORDS[1]} == run ]]; then
        local at
        for ((at = 2; at < COMP_CWORD; at++)); do
            case ${COMP_WORDS[at]} in
                @VALUED@) ((at++)) ;;
                -*) ;;
                *) return ;;
            esac
        done
    fi
    case "${COMP_WORDS[1]}" in
@CASES@    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$word"))
    elif [[ -n $others ]]; then
        COMPREPLY=($(compgen -W "$others" -- "$word"))
    fi
}
complete -o default -F _dx dx
"""


def zsh(every: list[Words]) -> str:
    """For zsh 5 and later."""
    cases = []
    for words in every:
        specs = [_zsh_option(option) for option in words.options]
        if words.name == "run":
            specs += ["'1:tool:_dx_tools'", "'*::argument:_files'"]
        elif words.tools:
            specs.append(f"'*:tool:{' '.join(['_dx_tools', *words.choices])}'")
        elif words.services:
            specs.append(f"'*:service:{' '.join(['_dx_services', *words.choices])}'")
        elif words.choices:
            specs.append(f"'1:what:({' '.join(words.choices)})'")
        cases.append(f"    {words.name}) _arguments -S {' '.join(specs)} ;;\n")
    verbs = "\n".join(f"    {_zsh_quote(f'{words.name}:{words.summary}')}" for words in every)
    return _ZSH.replace("@VERBS@", verbs).replace("@CASES@", "".join(cases))


def _zsh_option(option: Option) -> str:
    about = option.help.translate(str.maketrans(":[]", " ()"))
    kind = {None: "", "directory": ":directory:_files -/", "file": ":file:_files", "text": ":value: "}.get(
        option.value, f":what:({option.value})"
    )
    flags = option.flags[0] if len(option.flags) == 1 else "{" + ",".join(option.flags) + "}"
    rest = _zsh_quote(f"[{about}]{kind}")
    return f"'*'{flags}{rest}"


def _zsh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_ZSH = """\
#compdef dx
_dx_tools() {
    local -a tools
    tools=(${(f)"$(dx ls --names 2>/dev/null)"})
    compadd -a tools
    compadd -- ${@:#-*}
}
_dx_services() {
    local -a services
    services=(${(f)"$(dx services --names 2>/dev/null)"})
    compadd -a services
    compadd -- ${@:#-*}
}
_dx() {
    local -a verbs
    verbs=(
@VERBS@
    )
    if ((CURRENT == 2)); then
        _describe -V verb verbs
        return
    fi
    local verb=$words[2]
    shift words
    ((CURRENT--))
    case $verb in
@CASES@    esac
}
if [[ $funcstack[1] == _dx ]]; then
    _dx "$@"
else
    (($+functions[compdef])) || { autoload -Uz compinit && compinit; }
    compdef _dx dx
fi
"""


def fish(every: list[Words]) -> str:
    """For fish 3 and later."""
    lines = ["complete -c dx -e", "complete -c dx -n __fish_use_subcommand -f"]
    for words in every:
        lines.append(f"complete -c dx -n __fish_use_subcommand -f -a {words.name} -d {_fish_quote(words.summary)}")
    for words in every:
        seen = f"complete -c dx -n '__fish_seen_subcommand_from {words.name}'"
        if words.tools:
            also = "".join(f"{each} " for each in words.choices)
            lines.append(f"{seen} {'' if words.name == 'run' else '-f '}-a '{also}({TOOLS})'")
        elif words.services:
            lines.append(f"{seen} -f -a '{''.join(f'{each} ' for each in words.choices)}({SERVICES})'")
        elif words.choices:
            lines.append(f"{seen} -f -a {_fish_quote(' '.join(words.choices))}")
        else:
            lines.append(f"{seen} -f")
        lines += [f"{seen} {_fish_option(option)}" for option in words.options]
    return "\n".join([*lines, ""])


def _fish_option(option: Option) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    kind = {
        None: "",
        "directory": " -x -a '(__fish_complete_directories)'",
        "file": " -r -F",
        "text": " -x",
    }.get(option.value, f" -x -a {_fish_quote(option.value or '')}")
    return f"{flags}{kind} -d {_fish_quote(option.help)}"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _arguments(parser: Parser) -> None:
    parser.add_argument("shell", choices=search_path.SHELLS, nargs="?", help="whose code to print (default: $SHELL's)")


def completions(given: Namespace) -> int:
    """Print code for the shell to evaluate."""
    write = {"bash": bash, "zsh": zsh, "fish": fish}[given.shell or search_path.shell()]
    print(write(all_words()), end="")
    return 0


VERBS = (
    Verb(
        "completions",
        "Print shell code that completes verbs, options and tools",
        completions,
        _arguments,
        examples="""
eval "$(dx completions bash)"   # ~/.bashrc
eval "$(dx completions zsh)"    # ~/.zshrc
dx completions fish | source    # ~/.config/fish/config.fish
""",
    ),
)
