"""Who a run is: you, root, or the image's USER; and that what it writes to your files is yours all the same."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import one_line, processes
from tests.house import DEADLINE_S, ME, PEOPLE, House, Person, docker
from tests.waiting import until

STRANGERS = 4999
"""A uid that is nobody's here."""
SMALL = 0xFB
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: their numbers in linux/capability.h as bits."""

needs_root = pytest.mark.skipif(ME.uid != 0, reason="files of another user are root's to make")


@pytest.fixture(scope="module", params=PEOPLE, ids=lambda person: person.name)
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx of each person, with a tool that is root."""
    person: Person = request.param
    with House(person) as made:
        made.define(f'[tools.rooted]\nimage = "{image}"\nuser = "root"\n')
        yield made


@pytest.fixture(scope="module")
def described(image: str) -> Iterator[str]:
    """An image with a USER by name and users of its own."""
    name = "dx-test-user:latest"
    lines = [
        f"FROM {image}",
        "RUN echo app:x:77:88::/srv:/bin/sh > /etc/passwd && echo appgroup:x:99: > /etc/group",
        "USER app",
    ]
    docker("build", "--quiet", "--tag", name, "-", stdin="\n".join(lines).encode())
    yield name
    docker("image", "rm", "--force", name)


def shell(house: House, name: str, script: str, **options: Any) -> str:
    """What a script in the tool or image prints; it has to succeed without a complaint."""
    done = house.run([*options.pop("before", ()), name, "sh", "-ec", script], **options)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def owner(path: Path) -> tuple[int, int]:
    """Whose a file is on the disk."""
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_root_may_do_to_its_root_what_root_does(house: House) -> None:
    """Write, give away, read what is another's, become another and end what that one started; and all is gone after."""
    script = """
    id -u; id -g; id -un; id -gn
    echo x > /etc/new; mkdir -p /usr/lib/x; cp -a /bin/busybox /usr/lib/x; chown 5:6 /etc/new; chmod 600 /etc/new
    cat /etc/new; stat -c '%u %g %a' /etc/new
    echo app:x:5:6::/:/bin/sh >> /etc/passwd
    su app -c 'id -u; sleep 1000 & echo $!' > /tmp/told
    set -- $(cat /tmp/told); echo $1; kill $2
    """
    assert shell(house, "rooted", script) == "0\n0\nroot\nroot\nx\n5 6 600\n5\n"
    assert house.run(["rooted", "ls", "/etc/new"]).returncode == 1


def test_roots_power_ends_at_its_root(house: House) -> None:
    """The few capabilities that package managers need, and never another."""
    out = shell(house, "rooted", "grep -E '^(Cap|NoNewPrivs)' /proc/self/status")
    values = {name: int(value, 16) for name, value in (line.split(":\t") for line in out.splitlines())}
    empty = {"CapInh": 0, "CapAmb": 0, "NoNewPrivs": 1}
    assert values == {**empty, "CapPrm": SMALL, "CapEff": SMALL, "CapBnd": SMALL}


@pytest.mark.parametrize(
    "attempt",
    [
        "mknod dev c 1 3",
        "mknod /tmp/dev b 8 0",
        "chroot / true",
        "mount -t tmpfs x /tmp",
        "umount /proc",
        "hostname other",
        "unshare -m true",
        "echo x > /proc/sys/kernel/domainname",
        "cat /proc/1/environ",
        "ls /proc/1/root/",
        "echo -1000 > /proc/self/oom_score_adj",
        "nice -n -5 true",
        "ip link set lo mtu 1000",
        "mkdir /sys/fs/cgroup/x",
        "rm /dev/null",
        "ls /.dx/",
    ],
)
def test_what_no_root_may_do(house: House, attempt: str) -> None:
    """Each of these would reach past its own run."""
    done = house.run(["rooted", "sh", "-c", f"({attempt}) > /dev/null 2>&1"], cwd=house.place())
    assert done.returncode not in (0, 125), done


def test_what_root_writes_is_yours(house: House) -> None:
    """Files, directories, links, and what was there before; they look like root's inside."""
    place = Path(os.fsdecode(house.place()))
    (place / "mine").write_text("mine")
    house.own(place / "mine")
    (place / "mine").chmod(0o600)
    script = """
    cat mine; echo more >> mine; mkdir d; echo x > d/f; ln -s f d/l; ln mine d/h; mv mine moved
    stat -c %u:%g . d/* moved
    """
    assert shell(house, "rooted", script, cwd=place) == "mine" + "0:0\n" * 5
    person = house.person
    for name in ("moved", "d", "d/f", "d/l", "d/h"):
        assert owner(place / name) == (person.uid, person.gid), name
    assert (place / "moved").read_text() == "minemore\n"


@needs_root
def test_root_has_no_right_to_files_that_are_not_yours(house: House) -> None:
    """In a grant the modes hold for it as they hold for you, though its capabilities would do without."""
    if house.person.uid == 0:
        return  # root outside as well: nothing is another's
    place = Path(os.fsdecode(house.place()))
    for name, mode in (("closed", 0o600), ("open", 0o644), ("wide", 0o666)):
        (place / name).write_text(name)
        os.chown(place / name, STRANGERS, STRANGERS)
        (place / name).chmod(mode)
    script = """
    for each in closed open wide; do cat $each; echo x >> $each; chown 0 $each; chmod 777 $each; done; chown 5 .
    """
    done = house.run(["rooted", "sh", "-c", script], cwd=place)
    assert done.stdout == b"openwide"
    assert [(place / name).read_text() for name in ("closed", "open", "wide")] == ["closed", "open", "wide"]
    assert [oct((place / name).stat().st_mode)[-3:] for name in ("closed", "open", "wide")] == ["600", "644", "666"]
    assert {owner(place / name) for name in ("closed", "open", "wide")} == {(STRANGERS, STRANGERS)}
    assert owner(place) == (house.person.uid, house.person.gid)


REDIRECTED = [
    ('"$@" cat < in > out', ""),
    ('"$@" cat < in >> out', "before\n"),
    ('"$@" sh -c "seq 500 | while read i; do echo out \\$i; echo err \\$i >&2; done" > out 2>&1', ""),
    ('"$@" sh -c "echo 1; echo 2 >&2" 2> out', ""),
    ('{ echo 0; "$@" echo 1; echo 2; } > out', ""),
    ('{ "$@" sh -c "read it; echo \\$it"; read it; echo $it; "$@" cat; } < in > out', ""),
    ('while read it; do "$@" echo got $it; done < in > out', ""),
    ('"$@" sh -c "cat; cat" < in | cat > out', ""),
    ('"$@" sh -c "cat <&5; cat <&6; echo also >&7" 5< in 6< in 7>> out', "before\n"),
    ('"$@" sh -c "cat <&5; cat" < in 5<&0 > out', ""),
    ('"$@" cat 0<> in 1<> out', "before, and more than what comes\n"),
    ('"$@" sh -c "exec <&-; echo 1" < in > out', ""),
    ('"$@" sh -c "exec >&-; exit 3" > out; echo $? > out', ""),
]


@pytest.mark.parametrize(("script", "before"), REDIRECTED, ids=[each[0] for each in REDIRECTED])
def test_redirections_of_root_are_as_yours(house: House, image: str, script: str, before: str) -> None:
    """What comes and goes is the same, and so is where the files' offsets are in the end."""
    seen = []
    for user in ("me", "root"):
        place = Path(os.fsdecode(house.place()))
        for name, text in (("in", "one\ntwo\nthree\n"), ("out", before)):
            (place / name).write_text(text)
            house.own(place / name)
        line = ["/bin/sh", "-c", script, "sh", str(house.bin / "dx"), "run", "--user", user, image]
        done = subprocess.run(line, capture_output=True, timeout=DEADLINE_S, **house.options({"cwd": place}))
        assert b"dx: " not in done.stderr
        assert owner(place / "out") == (house.person.uid, house.person.gid)
        seen.append(
            (done.returncode, done.stdout, done.stderr, (place / "in").read_text(), (place / "out").read_text())
        )
    assert seen[0] == seen[1]


def test_much_through_redirections_of_root(house: House) -> None:
    """All of it arrives, as it is."""
    place = Path(os.fsdecode(house.place()))
    data = os.urandom(5_000_001)
    with (place / "in").open("w+b") as source, (place / "out").open("w+b") as target:
        source.write(data)
        source.seek(1)
        done = house.run(["rooted", "cat"], cwd=place, stdin=source, stdout=target)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (source.tell(), target.tell()) == (len(data), len(data) - 1)
        target.seek(0)
        assert target.read() == data[1:]


def test_a_file_is_no_descriptor_of_root(house: House) -> None:
    """It could be given away, and made a program that is root outside; root itself has nothing to gain."""
    place = Path(os.fsdecode(house.place()))
    path = place / "file"
    path.write_text("content\n")
    path.chmod(0o4755)
    house.own(path)
    path.chmod(0o4755)
    script = """
    chmod 4777 /proc/self/fd/1; chown 5 /proc/self/fd/1; echo more >> /proc/self/fd/1
    for each in /proc/1/fd/*; do if (: < $each) 2> /dev/null; then echo $each; fi; done
    """
    with path.open("ab") as file:
        done = house.run(["rooted", "sh", "-c", script], cwd="/", stdout=file)
        assert (done.returncode, done.stderr) == (0, b"")
    if house.person.uid != 0:
        assert owner(path) == (house.person.uid, house.person.gid)
        assert path.stat().st_mode & 0o7777 == 0o755, "the bit goes when the caller writes, as ever"
    assert path.read_text() == "content\nmore\n"


def test_a_file_for_both_is_refused_to_root(house: House) -> None:
    """But as stdin, where it is read, and stdout and stderr, where it is written."""
    if house.person.uid == 0:
        return  # root itself is handed it
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        assert "is a file open for both reading and writing" in one_line(
            house.run(["rooted", "true"], pass_fds=[file.fileno()])
        )


@needs_root
def test_a_full_disk_of_root(house: House) -> None:
    """A tool that still writes gets SIGPIPE, one that has ended well is no success, and both are told of."""
    if house.person.uid == 0:
        return
    place = Path(os.fsdecode(house.place()))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=64k,mode=755,uid={house.person.uid}", "none", str(place)], check=True
    )
    try:
        for script, status in (("yes", -signal.SIGPIPE), ("echo text", 125)):
            with (place / "file").open("ab") as file:
                done = house.run(["rooted", "sh", "-c", f"exec {script}"], cwd="/", stdout=file)
            assert (done.returncode, done.stderr) == (
                status,
                b"dx: cannot write to descriptor 1: No space left on device\n",
            )
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_redirected_run_ends_with_its_launcher(house: House) -> None:
    """Though it goes on writing, and does not hear."""
    path = Path(os.fsdecode(house.place())) / "file"
    with path.open("wb") as file:
        script = "trap '' HUP TERM; while :; do echo still; done"
        process = house.popen(["run", "rooted", "sh", "-c", script], stdout=file)
        until(lambda: path.stat().st_size > 0, "it writes")
        process.kill()
        process.wait(DEADLINE_S)
    until(lambda: not any(processes(each) for each in house.containers()), "the run is gone", deadline_s=6)


@pytest.mark.parametrize("user", ["me", "root"])
def test_root_gets_devices_of_its_own(house: House, image: str, user: str) -> None:
    """What it does to /dev/null is not done to the machine's, whoever the caller is."""
    before = Path("/dev/null").stat()
    script = "chmod 600 /proc/self/fd/0; chown 5 /proc/self/fd/0; cat; echo x > /proc/self/fd/0"
    done = house.run(["--user", user, image, "sh", "-c", script])
    after = Path("/dev/null").stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    assert done.stdout == b""


def test_a_file_system_without_mapped_ids_is_named(house: House) -> None:
    """Not a run whose files belong to the wrong user. Root needs no map."""
    done = house.run(["--mount", "/sys/kernel:/mnt:ro", "rooted", "ls", "/mnt"])
    if house.person.uid == 0:
        assert done.returncode == 0
    else:
        assert "/mnt cannot be granted: its file system, sysfs, cannot map ids" in one_line(done, "user to me")


def test_a_tool_is_root_in_its_caches_too(house: House, image: str) -> None:
    """And at home."""
    house.define(f'[tools.rooted]\nimage = "{image}"\nuser = "root"\ncaches = ["~/.cache/x"]\n')
    script = "cd ~; touch f .cache/x/f; stat -c %u . .cache/x .cache/x/f f"
    for _ in range(2):
        assert shell(house, "rooted", script) == "0\n" * 4


def test_the_images_user_by_name(house: House, described: str) -> None:
    """With the group of its entry and a home of its own; what it writes to your files is yours."""
    place = Path(os.fsdecode(house.place()))
    before = {"before": ["--user", "image"], "cwd": place}
    script = "id -u; id -g; id -un; > new; stat -c %u:%g new; touch ~/f; stat -c %u ~; grep CapEff /proc/self/status"
    out = shell(house, described, script, **before)
    assert out == "77\n88\napp\n77:88\n77\nCapEff:\t0000000000000000\n"
    assert owner(place / "new") == (house.person.uid, house.person.gid)
    assert shell(house, described, "id -u", cwd=place) == f"{house.person.uid}\n"


FORMS = {"5:6": "5:6", "5": "5:0", "77:appgroup": "77:99", "0:6": "0:6", "app:5": "77:5"}


@pytest.mark.parametrize(("user", "ids"), FORMS.items(), ids=list(FORMS))
def test_the_images_user_in_every_form(house: House, described: str, user: str, ids: str) -> None:
    """As the engine reads them."""
    name = "dx-test-user-form:latest"
    docker("build", "--quiet", "--tag", name, "-", stdin=f"FROM {described}\nUSER {user}\n".encode())
    try:
        out = shell(house, name, "echo $(id -u):$(id -g)", before=["--user", "image"])
        assert out == f"{ids}\n"
    finally:
        docker("image", "rm", "--force", name)


def test_an_image_whose_user_it_does_not_know(house: House, image: str) -> None:
    """The image is at fault, and it is said."""
    name = "dx-test-user-unknown:latest"
    docker("build", "--quiet", "--tag", name, "-", stdin=f"FROM {image}\nUSER nobody-there\n".encode())
    try:
        assert "USER is nobody-there" in one_line(house.run(["--user", "image", name, "true"]))
        assert house.run([name, "true"]).returncode == 0
        assert 'user: "you" is no user' in one_line(house.run(["--user", "you", name, "true"]))
    finally:
        docker("image", "rm", "--force", name)
