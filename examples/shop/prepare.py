#!/usr/bin/env python3
"""Make the images of the example shop from Debian's packages, so that no image registry is needed.

    examples/shop/prepare.py

One root file system of PostgreSQL, Redis, nginx and Python becomes `dx-shop/base`, and four small images on top of it,
`dx-shop/postgres`, `redis`, `nginx` and `python`, which behave as those of the same names do elsewhere, as far as the
shop asks. The packages are those that this machine's apt has; they are unpacked, never installed. It is done once
for each set of packages and each state of this file: what they amount to is a label of the images.

Needs apt-get and dpkg-deb, and a Docker Engine that answers; no root. Fails with a line that says what is missing.
"""

import fcntl
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

PACKAGES = ("postgresql", "redis-server", "nginx-light", "python3-psycopg2", "python3-redis", "busybox-static")
LEFT_OUT = tuple(
    """
    adduser debconf dpkg gcc- init-system-helpers iproute2 libbpf libc-l10n libcap2-bin libdb5 libelf libgdbm
    libjson-perl libllvm libpam-modules libperl libsemanage libsepol libxtables libz3 locales lsb-base openssl perl
    postgresql-client-common postgresql-common sensible-utils ssl-cert sysvinit-utils tar_ ucf usrmerge
    """.split()
)
"""Packages whose names begin so: what others need to be installed, and PostgreSQL's compiler, which is switched off."""
LEFT_OUT_PATHS = tuple(
    """
    etc/init.d/ etc/systemd/ usr/include/ usr/lib/systemd/ usr/share/bash-completion/ usr/share/doc/ usr/share/info/
    usr/share/lintian/ usr/share/locale/ usr/share/man/ usr/share/perl5/
    """.split()
)
LEFT_OUT_PARTS = ("/llvmjit", "/bitcode/", "/__pycache__/", "/ensurepip/", "/idlelib/", "/lib2to3/", "/gconv/")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Links into /usr."""
APPLETS = "sh cat date env kill ls mkdir rm sleep stat test touch wget".split()
USERS = {"root": 0, "www-data": 33, "nobody": 65534, "postgres": 999, "redis": 998, "nginx": 101}
DIRECTORIES = {
    "data": "redis",
    "run": "root",
    "run/lock": "root",
    "run/postgresql": "postgres",
    "tmp": "root",
    "var/lib/nginx": "root",
    "var/lib/postgresql": "postgres",
    "var/lib/postgresql/data": "postgres",
    "var/log/nginx": "root",
}
"""Whose each is; a volume that is mounted there for the first time belongs to the same."""
ENTRYPOINT = """#!/bin/sh
# As the well-known image does: a database of the name, user and password that the environment says, made once.
set -eu
case ${1:-postgres} in postgres) [ $# = 0 ] || shift ;; -*) ;; *) exec "$@" ;; esac
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    printf '%s\\n' "${POSTGRES_PASSWORD:?say which password the database shall have}" >/tmp/password
    initdb --username "$user" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 \\
        --encoding UTF8 --locale C --no-sync >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    database=${POSTGRES_DB:-$user}
    [ "$database" = postgres ] || echo "CREATE DATABASE \\"$database\\"" | postgres --single -j postgres >/dev/null
fi
exec postgres -c listen_addresses='*' -c jit=off "$@"
"""
IMAGES = {
    "postgres": "ENV PGDATA=/var/lib/postgresql/data\nUSER postgres\nSTOPSIGNAL SIGINT\n"
    'ENTRYPOINT ["postgres-entrypoint"]\n',
    "redis": 'WORKDIR /data\nUSER redis\nENTRYPOINT ["redis-server", "--protected-mode", "no"]\n',
    "nginx": 'STOPSIGNAL SIGQUIT\nCMD ["nginx", "-g", "daemon off;"]\n',
    # Compiled once here, not at each start.
    "python": 'ENV PYTHONUNBUFFERED=1\nRUN ["python3", "-c", "import http.server, json, psycopg2, redis"]\n',
}
LABEL = "dev.dx.example.shop"
APT_S, ENGINE_S = 300, 300


def main() -> None:
    """See that all images are there."""
    with tempfile.TemporaryDirectory(prefix="dx-shop-") as place, alone():
        packages = find(Path(place))
        content = hashlib.sha256("\n".join([*sorted(packages), Path(__file__).read_text()]).encode()).hexdigest()[:16]
        if all(label_of(f"dx-shop/{name}") == content for name in IMAGES):
            return
        say("fetching packages")
        fetch(Path(place))
        debs = [each for each in sorted((Path(place) / "archives").glob("*.deb")) if not each.name.startswith(LEFT_OUT)]
        say(f"making images of {len(debs)} packages")
        with (Path(place) / "root.tar").open("w+b") as file:
            write(debs, file)
            file.seek(0)
            settings = ["-c", "ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin", "-c", f"LABEL {LABEL}={content}"]
            docker("import", *settings, "-", "dx-shop/base", stdin=file)
        for name, lines in IMAGES.items():
            docker("build", "--tag", f"dx-shop/{name}", "-", text=f"FROM dx-shop/base\n{lines}")
        # Those whose names are others' now, unless a container has one.
        docker("image", "prune", "--force", "--filter", f"label={LABEL}")


@contextmanager
def alone() -> Iterator[None]:
    """Only one at a time makes them; others find them made."""
    with (Path(tempfile.gettempdir()) / f"dx-shop-{os.geteuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find(place: Path) -> list[str]:
    """The file names of all packages that are wanted, with their versions; with lists of its own if apt has none."""
    (place / "archives" / "partial").mkdir(parents=True)
    (place / "nothing").touch()
    done = apt(place, "--print-uris", "install", *PACKAGES)
    if done.returncode:
        (place / "lists" / "partial").mkdir(parents=True)
        apt(place, "update")
        done = apt(place, "--print-uris", "install", *PACKAGES)
    if done.returncode:
        fail(f"apt-get does not know the packages: {done.stderr.strip()}")
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("'")]


def fetch(place: Path) -> None:
    """Have them in archives/. A package that has gone from the mirror meanwhile makes the lists old ones."""
    done = apt(place, "--download-only", "install", *PACKAGES)
    if done.returncode:
        (place / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        apt(place, "update")
        done = apt(place, "--download-only", "install", *PACKAGES)
    if done.returncode:
        fail(f"apt-get cannot fetch the packages: {done.stderr.strip()}")


def apt(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`apt-get` for a machine on which nothing is installed, so that it names whatever is needed."""
    lists = [f"Dir::State::Lists={place}/lists"] if (place / "lists").exists() else []
    options = [
        f"Dir::State::status={place}/nothing",
        f"Dir::Cache::archives={place}/archives",
        f"Dir::Cache::pkgcache={place}/pkgcache.bin",
        f"Dir::Cache::srcpkgcache={place}/srcpkgcache.bin",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=root",
        *lists,
    ]
    command = ["apt-get", "-qq", "--yes", "--no-install-recommends", *(f"-o{each}" for each in options), *arguments]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=APT_S)
    except FileNotFoundError:
        fail("no apt-get here: the images are made of packages of Debian or Ubuntu")


def write(debs: list[Path], file: IO[bytes]) -> None:
    """The root file system, as a tar archive."""
    seen: set[str] = set()
    with tarfile.open(fileobj=file, mode="w") as root:

        def put(info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
            if info.name not in seen:
                seen.add(info.name)
                root.addfile(info, content)

        for name in MERGED:
            put(link(name, f"usr/{name}"))
        for name, user in DIRECTORIES.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            info.uid = info.gid = USERS[user]
            put(info)
        for deb in debs:
            for info, content in unpacked(deb):
                put(info, content)
        put(link("var/run", "/run"))
        put(link("var/lock", "/run/lock"))
        for each in [each for each in sorted(seen) if each.startswith("usr/lib/postgresql/") and "/bin/" in each]:
            put(link(f"usr/local/bin/{Path(each).name}", f"/{each}"))
        busybox = next(f"/{each}" for each in seen if each.endswith("/busybox") and "bin/" in each)
        for name in APPLETS:
            put(link(f"usr/bin/{name}", busybox))
        passwd = "".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in USERS.items())
        groups = "".join(f"{name}:x:{uid}:\n" for name, uid in [*USERS.items(), ("nogroup", 65533)])
        texts = {"etc/passwd": passwd, "etc/group": groups, "usr/local/bin/postgres-entrypoint": ENTRYPOINT}
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755 if text is ENTRYPOINT else 0o644
            put(info, io.BytesIO(text.encode()))


def unpacked(deb: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What a package puts where, and its content; what no program of the shop reads is left out."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as package,
    ):
        for info in package:
            info.name = merged(info.name)
            if info.islnk():
                info.linkname = merged(info.linkname)
            if info.name and info.name not in MERGED and not is_left_out(info.name):
                yield info, package.extractfile(info) if info.isfile() else None


def merged(name: str) -> str:
    """The path in a root whose /bin and /lib are in /usr, relative to it."""
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if "/" in path and path.partition("/")[0] in MERGED else path.removeprefix(".")


def is_left_out(name: str) -> bool:
    """Whether no program of the shop reads it."""
    return name.startswith(LEFT_OUT_PATHS) or any(part in f"/{name}/" for part in LEFT_OUT_PARTS)


def link(name: str, target: str) -> tarfile.TarInfo:
    """A symbolic link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info


def label_of(image: str) -> str:
    """What an image was made from; nothing where there is none."""
    command = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=ENGINE_S).stdout.strip()


def docker(*arguments: str, stdin: IO[bytes] | None = None, text: str | None = None) -> None:
    """`docker` with a file, or a text, as its input."""
    given = {"stdin": stdin} if text is None else {"input": text.encode()}
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, timeout=ENGINE_S, **given)
    if done.returncode:
        fail(f"docker {arguments[0]}: {os.fsdecode(done.stderr).strip()}")


def say(text: str) -> None:
    """A line about what goes on."""
    print(f"examples/shop/prepare.py: {text}", file=sys.stderr)


def fail(text: str) -> NoReturn:
    """End with that line."""
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    main()
