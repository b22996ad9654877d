"""`dx edit`: change dx.toml in an editor; what is wrong never gets into place.

The editor has a copy. The daemon reads it first, or tomllib where there is no daemon to ask, and only then it takes the
file's place, unless somebody else changed that meanwhile.
"""

import os
import subprocess
import sys
from pathlib import Path

from dx.cli import link, screen
from dx.cli.verb import EXIT_DX, Namespace, Parser, UsageError, Verb
from dx.errors import ApiError, ClientError, Unreachable

NEW = """\
# The tools of dx. `dx help tools` says what can stand here.
#
# [tools.jq]
# image = "jqlang/jq"

"""


def _arguments(parser: Parser) -> None:
    parser.add_argument("--path", action="store_true", help="print where dx.toml is, and do nothing")


def edit(given: Namespace) -> int:
    """Edit until it is right, or until the user gives up."""
    import tempfile

    file = link.places().tools_file
    if given.path:
        print(file)
        return 0
    if not screen.is_terminal(sys.stdin) and not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise UsageError(f"there is no terminal for an editor; set EDITOR, or change {file} yourself")
    before = _read(file)
    copy = Path(tempfile.mkdtemp(prefix="dx-edit-")) / "dx.toml"
    copy.touch(mode=0o600)
    copy.write_bytes(NEW.encode() if before is None else before)
    try:
        text = _ask_editor(copy)
        while text != (NEW.encode() if before is None else before) and (error := _complaint(text, file)):
            screen.complain(error.message, error.hint)
            if not screen.ask("Edit it again?"):
                screen.say(f"dx.toml is as it was; your text is in {copy}")
                return EXIT_DX
            text = _ask_editor(copy)
        if text == (NEW.encode() if before is None else before):
            screen.say("dx.toml is as it was")
        else:
            _put_into_place(file, text, before)
    except (OSError, ClientError) as error:
        reason = error.message if isinstance(error, ClientError) else f"{error.filename}: {error.strerror}"
        screen.complain(reason, f"your text is in {copy}")
        return EXIT_DX
    copy.unlink()
    copy.parent.rmdir()
    return _reshim()


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}") from error


def _ask_editor(copy: Path) -> bytes:
    """Run the editor on the copy, as git does it: the setting is shell, so that it may have options."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _an_editor()
    done = subprocess.run(["sh", "-c", f'{editor} "$@"', editor, copy], check=False)
    if done.returncode:
        raise ClientError(f"the editor ended with status {done.returncode}: {editor}", "set EDITOR to another one")
    return copy.read_bytes()


def _an_editor() -> str:
    for name in ("editor", "nano", "vim", "vi"):
        for directory in os.environ.get("PATH", os.defpath).split(":"):
            if os.access(Path(directory, name), os.X_OK):
                return name
    raise ClientError("there is no editor", "set EDITOR to one")


def _complaint(text: bytes, file: Path) -> ClientError | None:
    """What is wrong with the text as dx.toml."""
    try:
        link.client().check(text.decode())
    except UnicodeDecodeError:
        return ClientError(f"{file}: not UTF-8", "save it as UTF-8")
    except ApiError as error:
        if error.status == 422:
            return error
        return _syntax_error(text, file)
    except Unreachable:
        return _syntax_error(text, file)
    except ClientError as error:
        screen.say(f"dx: only the syntax is checked, because {error.message}")
        return _syntax_error(text, file)
    return None


def _syntax_error(text: bytes, file: Path) -> ClientError | None:
    import tomllib

    try:
        tomllib.loads(text.decode())
    except ValueError as error:
        return ClientError(f"{file}: {error}")
    except RecursionError:
        return ClientError(f"{file}: nested too deeply")
    return None


def _put_into_place(file: Path, text: bytes, before: bytes | None) -> None:
    """Replace the file, whole and durably, if it is still what it was; a symlink stays one."""
    import fcntl
    import secrets

    real = file.resolve()
    real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fresh = real.with_name(f".{real.name}.{secrets.token_hex(6)}")
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # the daemon takes it too when it writes
        if _read(file) != before:
            raise ClientError(f"{file} was changed by somebody else meanwhile", "edit it again")
        fresh.touch(mode=0o600, exist_ok=False)
        if before is not None:
            status = real.stat()
            fresh.chmod(status.st_mode & 0o7777)
            if status.st_uid != os.geteuid():
                os.chown(fresh, status.st_uid, status.st_gid)
        with fresh.open("wb") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(real)
        os.fsync(directory)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(directory)


def _reshim() -> int:
    """The edit may have added commands and removed some."""
    try:
        changes = link.client().reshim()
    except ClientError as error:
        screen.complain(error.message, error.hint or "then: dx reshim")
        return EXIT_DX
    for sign, names in (("+", changes["added"]), ("-", changes["removed"])):
        for name in names:
            print(f"{sign} {name}")
    return 0


VERBS = (
    Verb(
        "edit",
        "Edit dx.toml, and check it before it counts",
        edit,
        _arguments,
        description="Opens $VISUAL, else $EDITOR, on a copy.",
        examples="dx edit\nEDITOR='code --wait' dx edit",
    ),
)
