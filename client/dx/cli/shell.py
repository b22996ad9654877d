"""`dx activate` and `dx reshim`: how the commands get on PATH."""

from pathlib import Path

from dx.cli import link, screen, search_path
from dx.cli.verb import EXIT_DX, Namespace, Parser, Verb, add_json
from dx.errors import ClientError

# The shell's own words only, so that a start of the shell waits for this program and no other. Each takes the directory
# off PATH wherever it is and puts it first; empty entries, which mean the current directory, stay where they are.
_POSIX = """\
__dx_shims={directory}
__dx_path=":${{PATH-}}:"
while case "$__dx_path" in *":$__dx_shims:"*) true ;; *) false ;; esac; do
  __dx_path="${{__dx_path%%":$__dx_shims:"*}}:${{__dx_path#*":$__dx_shims:"}}"
done
__dx_path="${{__dx_path#:}}"
__dx_path="${{__dx_path%:}}"
export PATH="$__dx_shims${{__dx_path:+:$__dx_path}}"
unset __dx_shims __dx_path
hash -r 2>/dev/null || true
"""
_FISH = """\
set -l __dx_shims {directory}
set -l __dx_path
for __dx_each in $PATH
    test "$__dx_each" = "$__dx_shims"; or set -a __dx_path $__dx_each
end
set -gx PATH $__dx_shims $__dx_path
"""


def _activate_arguments(parser: Parser) -> None:
    parser.add_argument("shell", choices=search_path.SHELLS, nargs="?", help="whose code to print (default: $SHELL's)")


def activate(given: Namespace) -> int:
    """Print code for the shell to evaluate; asks nobody, so it is fast and works without the daemon."""
    directory = str(link.places().shims_dir)
    if ":" in directory:
        raise ClientError(f"{directory} has a colon in it, so it cannot be on PATH", "set DX_DATA_DIR to another place")
    if (given.shell or search_path.shell()) == "fish":
        quoted = "'" + directory.replace("\\", "\\\\").replace("'", "\\'") + "'"
        print(_FISH.format(directory=quoted), end="")
    else:
        quoted = "'" + directory.replace("'", "'\\''") + "'"
        print(_POSIX.format(directory=quoted), end="")
    return 0


def reshim(given: Namespace) -> int:
    """Make the shims agree with dx.toml."""
    changes = link.client().reshim()
    if given.json:
        screen.print_json(changes)
        return EXIT_DX if changes["foreign"] else 0
    for sign, names in (("+", changes["added"]), ("-", changes["removed"])):
        for name in names:
            print(f"{sign} {name}")
    count = len(changes["added"]) + len(changes["kept"])
    print(f"{count} shim{'s' * (count != 1)} in {screen.clean(changes['directory'])}")
    for name in changes["foreign"]:
        path = Path(changes["directory"], name)
        screen.complain(f"{path} is not dx's own", "remove it, then: dx reshim")
    return EXIT_DX if changes["foreign"] else 0


VERBS = (
    Verb(
        "activate",
        "Print shell code that puts the tools' commands on PATH",
        activate,
        _activate_arguments,
        description="Put the line for your shell at the end of its start-up file.",
        examples="""
eval "$(dx activate bash)"      # ~/.bashrc
eval "$(dx activate zsh)"       # ~/.zshrc
dx activate fish | source       # ~/.config/fish/config.fish
""",
    ),
    Verb(
        "reshim",
        "Make the shims agree with dx.toml",
        reshim,
        add_json,
        description="`dx add`, `dx rm` and `dx edit` do it by themselves.",
        examples="dx reshim",
    ),
)
