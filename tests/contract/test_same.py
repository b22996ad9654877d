"""A native run and one through dx, which nobody can tell apart by what they leave behind."""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.twin import Argument, Twin


@dataclass(frozen=True)
class Case:
    """A command and its circumstances; `how` is for `Twin.perform`."""

    name: str
    argv: list[Argument]
    how: dict[str, Any] = field(default_factory=dict)


def case(name: str, *argv: Argument, **how: Any) -> Any:
    """A case as pytest's parameter."""
    return pytest.param(Case(name, list(argv), how), id=name)


def sh(name: str, line: str, *argv: Argument, **how: Any) -> Any:
    """A case in the shell of the image."""
    return case(name, "sh", "-c", line, *argv, **how)


def files(**content: bytes) -> Callable[[bytes], None]:
    """A `prepare` that writes files."""

    def write(place: bytes) -> None:
        for name, data in content.items():
            (Path(os.fsdecode(place)) / name).write_bytes(data)

    return write


EACH_ARGUMENT = 'for each; do printf "<%s>" "$each"; done'
ODD: list[Argument] = [
    "",
    "a b",
    "",
    "\n",
    "\n\n",
    "tab\t",
    "'",
    '"',
    "$H",
    "`id`",
    "\\",
    "*",
    "-",
    "--",
    "--help",
    "é",
    b"\xff\xfe\x80",
]
RANDOM = random.Random(1).randbytes(3 << 20)

ARGUMENTS = [
    sh("odd arguments", EACH_ARGUMENT, "sh", *ODD),
    sh("only empty arguments", EACH_ARGUMENT, "", "", ""),
    case("options that dx has too", "echo", "--help", "--env", "A=B", "--network", "none", "--"),
    sh("no arguments", 'echo "$#"'),
    sh("its own name", 'echo "$0"'),
    case("its command line", "cat", "/proc/self/cmdline"),
    sh("a hundred thousand arguments", 'echo "$#"; echo "$*" | cksum', "sh", *map(str, range(100_000))),
    sh(
        "as many as the kernel takes", 'echo "$#"', "sh", script='ulimit -s unlimited; exec "$@" $(/usr/bin/seq 350000)'
    ),
    sh("one argument of 128 KiB", 'echo "${#1}"', "sh", "x" * 131_071),
    case("every byte in an argument", "printf", "%s", bytes(range(1, 256))),
]

STREAMS = [
    case("binary through", "cat", feed=RANDOM),
    case("every byte", "cat", feed=bytes(range(256))),
    case("nothing on stdin", "wc", "-c"),
    sh("two streams", "echo out; echo err >&2; echo out; exit 3"),
    sh("no newline at the end", "printf out; printf err >&2"),
    case("stdin partly read", "head", "-c", "10", feed=RANDOM),
    case("stdin not read", "true", feed=RANDOM[:1000]),
    case("a file on stdin", "cat", script='"$@" < in', prepare=files(**{"in": RANDOM})),
    case(
        "the offset of stdin",
        "dd",
        "bs=1",
        "count=4",
        script='{ read -r line; "$@" 2>/dev/null; /bin/cat; } < in',
        prepare=files(**{"in": b"line\nfour and the rest\n"}),
    ),
    case("the offset of stdout", "echo", "middle", script='{ echo before; "$@"; echo after; } > out'),
    case("stdout appends", "echo", "more", script='"$@" >> log', prepare=files(log=b"first\n")),
    case("flags of appending", "grep", "flags", "/proc/self/fdinfo/1", script='"$@" >> log', prepare=files(log=b"1\n")),
    case("flags of reading", "grep", "flags", "/proc/self/fdinfo/0", script='"$@" < in', prepare=files(**{"in": b""})),
    case("flags of both ways", "grep", "flags", "/proc/self/fdinfo/0", script='"$@" <> new'),
    sh(
        "one file for stdout and stderr",
        "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done",
        script='"$@" > both 2>&1',
    ),
    sh("stdout truncated by another", "echo one; : > out; echo two", script='"$@" >> out'),
    case("nowhere", "wc", "-c", script='"$@" < /dev/null > /dev/null 2> /dev/null'),
    case("from nowhere", "wc", "-c", script='"$@" < /dev/null'),
    case("no space", "echo", "lost", script='"$@" > /dev/full'),
    case("no stdin", "cat", script='"$@" <&-'),
    case("no stdout", "echo", "lost", script='"$@" >&-'),
    sh("no stderr", "echo out; echo lost >&2; echo $?", script='"$@" 2>&-'),
    sh("no stream at all", "ls /proc/self/fd > seen", script='"$@" <&- >&- 2>&-'),
    sh("no stdin and no stderr", "ls /proc/self/fd > seen", script='"$@" <&- 2>&-'),
    case("stdin for writing only", "cat", script='"$@" 0> out'),
    case("stdout for reading only", "echo", "lost", script='"$@" 1< in', prepare=files(**{"in": b"kept"})),
    case("the reader goes", "yes", script='{ "$@"; echo "$?" >&2; } | /usr/bin/head -n 1'),
    case("SIGPIPE ignored", "yes", script='trap "" PIPE; { "$@"; echo "$?" >&2; } | /usr/bin/head -n 1'),
    case("stdin by its name", "cat", "/dev/stdin", feed=b"by name\n"),
    case("stderr by its name", "tee", "/dev/stderr", feed=b"to both\n"),
    case("a file on stdin by its name", "wc", "-c", "/dev/fd/0", script='"$@" < in', prepare=files(**{"in": RANDOM})),
    case("itself", "grep", "-c", "Name", "/proc/self/status"),
    case("a pipeline", "sort", "-r", script='/usr/bin/seq 1000 | "$@" | "$@" | /usr/bin/cksum'),
]

DESCRIPTORS = [
    sh("open descriptors", "ls /proc/self/fd"),
    sh("open descriptors beside a file", "ls /proc/self/fd", script='"$@" < /dev/null > out 2>&1'),
    case("process substitution", "cat", script='"$@" <(echo one) <(echo two)'),
    sh("to a process substitution", 'echo hello > "$1"', "sh", script='"$@" >(/bin/cat >&2) | /bin/cat'),
    sh("descriptor 9", "cat <&9; ls /proc/self/fd", script='"$@" 9< in', prepare=files(**{"in": b"nine"})),
    sh("descriptor 62", "echo here >&62", script='"$@" 62> out'),
    sh("descriptors out of order", "cat <&4; cat <&7; cat <&5; ls /proc/self/fd", script='"$@" 7<<<7 4<<<4 5<<<5'),
    sh("descriptor 5 for both", "cat <&5; echo more >&5", script='"$@" 5<> in', prepare=files(**{"in": b"five\n"})),
    sh("stdio swapped", "echo out; echo err >&2", script='"$@" 3>&1 1>&2 2>&3 3>&-'),
]

STATE = [
    case("limits of files", "sh", "-c", "ulimit -n; ulimit -Hn", script='ulimit -Sn 99; "$@"'),
    sh("hard limits of files", "ulimit -n; ulimit -Hn", script='ulimit -n 77; exec "$@"'),
    sh("limits", "ulimit -f; ulimit -c; ulimit -s; ulimit -t", script='ulimit -f 80 -c 0 -t 900; ulimit -s 4096; "$@"'),
    case("a limit that kills", "dd", "if=/dev/zero", "of=big", "bs=1k", "count=99", script='ulimit -f 8; exec "$@"'),
    case("nice", "cut", "-d", " ", "-f", "19", "/proc/self/stat", script='exec /usr/bin/nice -n 5 "$@"'),
    sh("nohup", "kill -HUP $$; echo lives", script='exec /usr/bin/nohup "$@"'),
    sh("ignored signals", "kill -INT $$; kill -USR1 $$; echo lives", script='trap "" INT USR1 TERM; exec "$@"'),
    case("signals", "grep", "-E", "Sig(Ign|Blk|Cgt):", "/proc/self/status"),
    case("signals, some ignored", "grep", "SigIgn", "/proc/self/status", script='trap "" INT QUIT PIPE HUP; exec "$@"'),
    *(sh(f"umask {mask:04o}", "umask; echo > f; mkdir d", umask=mask) for mask in (0o000, 0o022, 0o027, 0o077, 0o111)),
]

FILES = [
    sh("make files", "echo hi > f; mkdir d; ln -s f l; ln f h; mkfifo p; cp f d/g; : > d/empty"),
    sh("make files with modes", "echo hi > f; chmod 750 f; mkdir -m 1777 d; cp f g; chmod 4755 g; mkdir -m 2775 s"),
    sh(
        "change files",
        "sed -i s/old/new/ f; echo more >> g; mv h i; rm j; touch -d @1000000000 f; stat -c %Y f",
        prepare=files(f=b"old\n", g=b"g\n", h=b"h\n", j=b"j\n"),
    ),
    sh("names", "echo > 'new\nline'; echo > ' '; echo > -x; echo > \"$(printf '\\377')\"; ls -A"),
    sh("what is not there", "cat nothing; ls nothing; echo > nothing/x; cd nothing"),
    sh("a lock", "flock f echo locked"),
    sh("a big file", "dd if=/dev/zero of=f bs=1M count=64 2>/dev/null; stat -c '%s' f; rm f"),
]

ENDS = [
    case("true", "true"),
    case("false", "false"),
    case("a failing applet", "ls", "/nothing"),
    case("a usage error", "cp"),
    sh("a status of a child", "(exit 9)"),
    sh("an exec", "exec sh -c 'exit 42'"),
    sh("not found by the shell", "nothing-like-this"),
    sh("a signal in a child", "sh -c 'kill -KILL $$'; echo $?"),
]

IDENTITY = [
    case("id", "id", "-u"),
    case("group", "id", "-g"),
    sh("groups", "id -G | tr ' ' '\\n' | sort -u"),
    sh("ids of the process", "grep -E '^(Uid|Gid):' /proc/self/status"),
    sh("processes of its own making", "sh -c 'sh -c \"echo deep\"' & wait; echo done"),
]


@pytest.mark.parametrize("each", [*ARGUMENTS, *STREAMS, *DESCRIPTORS, *STATE, *FILES, *ENDS, *IDENTITY])
def test_nobody_could_tell(twin: Twin, each: Case) -> None:
    """Status, both streams, and files with mode, owner and content are the same."""
    twin.same(each.argv, **each.how)


STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
ENDING = sorted({*range(1, 65)} - {32, 33} - STOPPING)
"""Two are the C library's own; to stop is another test's matter."""


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with space",
        "new\nline",
        b"\xff\xfe\x80",
        "-dash",
        "--",
        "ünï",
        "'\"$x`",
        "x" * 255,
        ".hidden",
        "a:b,c",
    ],
    ids=repr,
)
def test_the_current_directory_keeps_its_name(twin: Twin, name: str | bytes) -> None:
    """The same absolute path, byte for byte, and what is made in it is made there."""
    place = twin.house.place(name)
    seen = twin.same(["sh", "-c", "pwd; readlink /proc/self/cwd; echo > made; ls ..; ls"], place=place)
    assert seen.out.startswith(place + b"\n" + place + b"\n")


@pytest.mark.parametrize("number", ENDING, ids=lambda number: f"signal {number}")
def test_a_command_that_ends_by_a_signal(twin: Twin, number: int) -> None:
    """The launcher dies by it too, or not at all where the signal kills nobody."""
    twin.same(["sh", "-c", f"kill -{number} $$; echo lives"], script='ulimit -c 0; exec "$@"')


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 13, 15])
def test_the_shell_sees_how_it_ended(twin: Twin, number: int) -> None:
    """128 and the signal, and no more words than for a native command."""
    seen = twin.same(["sh", "-c", f"kill -{number} $$"], script='exec 2>/dev/null; ulimit -c 0; "$@"; echo $?')
    assert seen.out == f"{128 + number}\n".encode()
