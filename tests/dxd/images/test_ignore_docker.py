"""What Docker's own command line sends of a context, compared with what we would."""

import io
import os
import socketserver
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dxd.images.ignore import BadPattern, Ignore
from tests.dxd.images.test_ignore import BAD, FILES, IGNORED, ignored
from tests.fakes.real_buildx import PROGRAM

MORE = (
    "a[/b]", "! a.txt", "a**b", "**a", "dir**/b.log", "***", "****/a.txt", "**/**/a.log", "dir/***", "!*\n",
    "[[:alpha:]].txt", "[[:^alpha:]]*", "[a[:digit:]].txt", "?", "??", "*.?", "**/?.log", "docs\n!docs\ndocs/x.md",
    "*\n!dir\ndir/sub\n!dir/sub/keep.log", "**/.*", "foo/**", "foo/**/", "**/foo/", "/**", "/**/b.log", "./dir/./sub",
    "dir/sub/..", "a\\.txt", "dir\\/a.txt", "{a,b}.txt", "{a,b}.*", "a.txt|b.log", "a|b*", "(a).txt", "(a)*.txt",
    "lib(1)/*", "a+b", "c++/*.o", "$", "[$]*", "^a.txt", "^a*", "x^y*", "[a-b].*", "[^a-b].*", "[^-]*", "[\\]a].txt",
    "  #hash", "\t.hidden\t", "!!bang", "!\\!bang", "back\\\\slash", "..", "../..", "/..", "dir/../../a.txt", "*/",
    "*/*", "*/*/*", "**/*.md\n!docs/README.md", "src/*\n!src/main.?", "src/main.[^o]", "keep*\n!dir/**/keep*",
    "foo/bar/baz/", "foo/bar/baz/x", "a.txt/", "é", "\n\n a.txt \n\n", "a.txt # comment", "x[?]y", "x[*]y", "[.].txt",
    "dir[/]a.txt", "dir[^a]a.txt", "[a||b].txt", "[a.]*", "a]b", "a]*", "a{1}*", "a{*", "a}*", "a{,2}*.txt", "**sub",
    "**/s?b", "a**", "a**b**", "**/*", "**/?*", "*/**/*.log", "dir/**/**", "**/**",
    "**/{2}",
    # Letters after a backslash mean what they mean in Go's regular expressions.
    "\\a.txt", "[\\a].txt", "\\w.txt", "\\D.txt", "\\S.log", "[\\w].txt", "[\\w-z].txt", "[^\\W].txt", "\\x61.txt",
    "obj\\Debug", "src\\*", "dir\\a.txt", "\\d.log", "[^\\n].log", "[a\\-z].txt",
)  # fmt: skip
CASES = (*IGNORED, *BAD, *MORE)


class Taker(BaseHTTPRequestHandler):
    """An engine that takes a context and has nothing to say of it."""

    protocol_version = "HTTP/1.1"
    server: "Taking"

    def do_HEAD(self) -> None:
        """A ping."""
        self._answer(b"")

    do_GET = do_HEAD

    def do_POST(self) -> None:
        """A build."""
        archive = bytearray()
        while size := int(self.rfile.readline(), 16):
            archive += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.taken = bytes(archive)
        self._answer(b'{"stream": "taken"}\n')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("API-Version", "1.41")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """There is none on a Unix socket."""
        return "client"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Be silent."""


class Taking(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Keeps what the last build sent."""

    daemon_threads = True
    taken = b""


def files_in(archive: bytes) -> set[str]:
    """The files of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name for member in tar if not member.isdir()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A context of the files that the patterns are about."""
    root = tmp_path / "context"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    return root


Send = Callable[[Path], set[str] | None]
"""What of a context is sent; None where its .dockerignore is refused."""


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Send]:
    """The command line itself, for the classic builder."""
    with Taking(str(tmp_path / "e"), Taker) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def send(root: Path) -> set[str] | None:
            environ = {"DOCKER_HOST": f"unix://{tmp_path}/e", "DOCKER_BUILDKIT": "0"}
            done = ran(["docker", "build", "--quiet", str(root)], environ)
            return files_in(server.taken) if done is not None else None

        yield send
        server.shutdown()
        thread.join()


def by_buildx(root: Path) -> set[str] | None:
    """What the plugin has the engine's own BuildKit fetch."""
    output = "type=tar,dest=-"
    done = ran([str(PROGRAM), "build", "--builder", "default", "--quiet", "--output", output, str(root)], {})
    return files_in(done) if done is not None else None


def ran(argv: list[str], environ: Mapping[str, str]) -> bytes | None:
    """What a program prints; None where it refuses a pattern, and nothing else may be wrong."""
    done = subprocess.run(argv, env=os.environ | environ, capture_output=True, timeout=60)
    refused = b"syntax error in pattern" in done.stderr or b"illegal exclusion pattern" in done.stderr
    assert (done.returncode == 0) != refused, done.stderr
    return None if refused else done.stdout


def ours(patterns: str) -> list[str] | None:
    """What we leave out."""
    try:
        return ignored(Ignore(patterns.split("\n")))
    except BadPattern:
        return None


def difference(patterns: str, root: Path, send: Send) -> object:
    """What is left out there and here, where that is not the same."""
    (root / ".dockerignore").write_text(patterns)
    sent = send(root)
    theirs = None if sent is None else [each for each in FILES if each not in sent]
    recorded = IGNORED.get(patterns, theirs)
    return (patterns, theirs, ours(patterns), recorded) if not theirs == ours(patterns) == recorded else None


def test_the_command_line_leaves_out_the_same(root: Path, classic: Send) -> None:
    assert [each for case in CASES if (each := difference(case, root, classic))] == []


@pytest.mark.timeout(240)
def test_buildx_leaves_out_the_same(root: Path) -> None:
    """Of one case in four: each is a build."""
    assert [each for case in CASES[::4] if (each := difference(case, root, by_buildx))] == []
