"""What a run reaches outside of its container: networks, ports, devices, and sockets of its caller's session."""

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hatch_build
from tests.e2e.rig import live, one_line, warm
from tests.house import DEADLINE_S, PEOPLE, House
from tests.waiting import until

EVERYBODY = pytest.mark.parametrize("house", PEOPLE, ids=lambda person: person.name, indirect=True)
SERVE = ("httpd", "-f", "-p", "8000", "-h", ".")
"""The image's web server, of the current directory, on all addresses of its network."""


@pytest.fixture
def talker(house: House) -> Path:
    """The program of talker.c, in a directory of its own."""
    program = Path(os.fsdecode(house.place()), "talker")
    command = [*hatch_build.compiler(os.uname().machine), "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, Path(__file__).with_name("talker.c"), "-o", program], check=True, timeout=DEADLINE_S)
    return program


@contextmanager
def greeter(address: str | tuple[str, int]) -> Iterator[socket.socket]:
    """A server that says `hello` to whoever connects: at a path, or at an address and port."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as server:
        server.bind(address)
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # it is shut down
                    return
                with connection:
                    connection.sendall(b"hello\n")

        thread = threading.Thread(target=serve, name="greeter")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_S)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody listens on."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def fetched(port: int, name: str = "page") -> bytes:
    """What a web server of this machine's loopback answers; empty where there is none yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
            sock.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
            return b"".join(iter(lambda: sock.recv(4096), b"")).rpartition(b"\r\n\r\n")[2]
    except ConnectionError:
        return b""


@contextmanager
def serving(house: House, *line: str, place: bytes | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A run of the web server, told to end at the end."""
    place = place or house.place()
    page = Path(os.fsdecode(place), "page")
    page.write_bytes(b"from inside\n")
    house.own(page)
    with house.popen(["run", *line, *SERVE], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE_S)


@EVERYBODY
def test_a_server_on_the_hosts_loopback(house: House, image: str) -> None:
    """`host` reaches it; neither a bridge nor no network does."""
    with greeter(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        ask = ["nc", "-w", "2", "127.0.0.1", port]
        done = house.run(["--network", "host", image, *ask])
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
        for network in ("bridge", "none"):
            done = house.run(["--network", network, image, *ask])
            assert done.returncode == 1
            assert b"refused" in done.stderr


@EVERYBODY
def test_the_interfaces_of_a_network(house: House, image: str) -> None:
    """None is its own loopback alone, a bridge one more, and the host's are the host's."""
    list_them = ["sh", "-c", "ls /sys/class/net; exit 0"]
    found = {
        network: set(house.run(["--network", network, image, *list_them]).stdout.decode().split())
        for network in ("none", "bridge", "host")
    }
    assert found["none"] == {"lo"}
    assert len(found["bridge"]) == 2
    assert found["host"] == set(os.listdir("/sys/class/net"))


@EVERYBODY
def test_a_port_leads_to_a_run_and_is_free_when_that_has_ended(house: House, image: str) -> None:
    """Once more at once, too: the next run waits until the engine has let go of it."""
    port = free_port()
    house.define(f"[tools.web]\nimage = '{image}'\nentrypoint = ''\nports = ['{port}:8000']\n")
    for _ in range(2):
        with serving(house, "web"):
            until(lambda: fetched(port) == b"from inside\n", "the server answers through its port")
    until(lambda: not house.containers(), "the container is gone")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections there were
        sock.bind(("127.0.0.1", port))


def test_a_port_of_one_run(house: House, image: str) -> None:
    """As an option, on the loopback only."""
    port = free_port()
    with serving(house, "--port", f"{port}:8000", image):
        until(lambda: fetched(port) == b"from inside\n", "the server answers through its port")
        listening = Path("/proc/net/tcp").read_text(encoding="ascii") + Path("/proc/net/tcp6").read_text("ascii")
        rows = [line.split()[1] for line in listening.splitlines() if line.split()[3] == "0A"]
        assert [row for row in rows if row.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_datagram_port(house: House, image: str, talker: Path) -> None:
    """UDP has ports of its own."""
    port = free_port(socket.SOCK_DGRAM)
    line = ["run", f"--port={port}:9000/udp", image, "./talker", "-u", "9000"]
    with house.popen(line, cwd=talker.parent, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello\n", ("127.0.0.1", port))
        assert process.stdout.readline() == b"hello\n"


def test_runs_of_one_tool_share_its_ports(house: House, image: str) -> None:
    """They are on one network; the second server on the same port gets what it would get natively."""
    port = free_port()
    house.define(f"[tools.web]\nimage = '{image}'\nentrypoint = ''\nports = ['{port}:8000']\n")
    with serving(house, "web"):
        until(lambda: fetched(port), "the server answers through its port")
        assert house.run(["web", "wget", "-qO-", "http://127.0.0.1:8000/page"]).stdout == b"from inside\n"
        done = house.run(["web", *SERVE])
        assert done.returncode == 1
        assert b"Address already in use" in done.stderr
        assert fetched(port) == b"from inside\n"
        assert len(warm(house)) == 1


def test_a_port_that_another_program_has(house: House, image: str) -> None:
    """One line with the port; nothing stays behind, and the next try works when the port is free."""
    with greeter(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        option = f"--port={port}:8000"
        one_line(house.run([option, image, "true"]), f"port 127.0.0.1:{port}", "taken by another program", "ss -lntup")
        assert warm(house) == []
    assert house.run([option, image, "echo", "free"]).stdout == b"free\n"


def test_a_port_that_a_run_has(house: House, image: str) -> None:
    """One line with the port and the tool of the run that has it."""
    port = free_port()
    house.define(
        f"[tools.one]\nimage = '{image}'\nentrypoint = ''\nports = ['{port}:8000']\n"
        f"[tools.two]\nimage = '{image}'\nentrypoint = ''\nports = ['0.0.0.0:{port}:8001']\n"
    )
    with serving(house, "one"):
        until(lambda: fetched(port), "the server answers through its port")
        one_line(house.run(["two", "true"]), f"port 0.0.0.0:{port}", "taken by a run of one", "dx ps")
        assert fetched(port) == b"from inside\n"
    assert house.run(["two", "echo", "mine"]).stdout == b"mine\n"


def test_a_port_outlives_the_daemon_with_its_run(house: House, image: str) -> None:
    """The next daemon finds the run, and lets go of the port when it ends."""
    port = free_port()
    with serving(house, f"--port={port}:8000", image):
        until(lambda: fetched(port), "the server answers through its port")
        house.stop()
        house.start()
        until(lambda: len(live(house)) == 1, "the run is known again")
        assert fetched(port) == b"from inside\n"
    until(lambda: not house.containers(), "the container is gone")
    assert fetched(port) == b""


@pytest.mark.parametrize("network", ["none", "host"])
def test_ports_need_a_bridge(house: House, image: str, network: str) -> None:
    """Both said at once makes no sense, so nothing runs."""
    one_line(house.run(["--port=8000", f"--network={network}", image, "true"]), "ports")


@EVERYBODY
def test_a_device(house: House, image: str) -> None:
    """It is there under its name, with its number, mode and owner, and only where it was asked for."""
    device = next(path for path in map(Path, ("/dev/kmsg", "/dev/fuse", "/dev/net/tun")) if path.is_char_device())
    status = device.stat()
    look = ["stat", "-c", "%F %t %T %a %u", str(device)]
    done = house.run([f"--device={device}:r", image, *look])
    number = f"{os.major(status.st_rdev):x} {os.minor(status.st_rdev):x}"
    what = f"character special file {number} {stat.S_IMODE(status.st_mode):o} {status.st_uid}\n"
    assert done.stdout.decode() == what
    assert house.run([image, *look]).returncode == 1


def test_what_a_devices_mode_allows(house: House, image: str) -> None:
    """The cgroup holds, for root too."""
    line = ["sh", "-c", "head -c 0 < /dev/fuse && echo read; : >> /dev/fuse && echo written"]
    assert house.run(["--device=/dev/fuse", image, *line]).stdout == b"read\nwritten\n"
    done = house.run(["--device=/dev/fuse:r", image, *line])
    assert done.stdout == b"read\n"
    assert b"not permitted" in done.stderr


def test_what_is_no_device(house: House, image: str) -> None:
    """By its name, before anything starts."""
    one_line(house.run(["--device=/dev/nothing", image, "true"]), "/dev/nothing cannot be granted: No such file")
    one_line(house.run(["--device=/etc/passwd", image, "true"]), "/etc/passwd", "no device")
    assert house.containers() == []


def test_gpus_that_the_engine_cannot_give(house: House, image: str) -> None:
    """One line that says what is missing."""
    house.define(f"[tools.train]\nimage = '{image}'\nentrypoint = ''\ngpus = 'all'\n")
    one_line(house.run(["train", "true"]), "cannot give a GPU", "Container Toolkit")
    assert house.containers() == []


@EVERYBODY
def test_the_callers_ssh_agent(house: House, image: str) -> None:
    """A real one: its socket is there under its own name and can be connected to, by that variable, if it is shared."""
    place = Path(os.fsdecode(house.place()))
    path = place / "s" / "agent.1"
    path.parent.mkdir(mode=0o700)
    house.own(path.parent)
    elsewhere = house.place()
    line = ["sh", "-c", 'echo "$SSH_AUTH_SOCK"; test -S "$SSH_AUTH_SOCK" && test -w "$SSH_AUTH_SOCK" && echo there']
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, **house.person.options) as agent:
        try:
            until(path.exists, "the ssh-agent listens")
            env = {**house.env, "SSH_AUTH_SOCK": str(path)}
            done = house.run(["--share=ssh-agent", image, *line], env=env, cwd=elsewhere)
            assert done.stdout.decode() == f"{path}\nthere\n", done
            assert house.run([image, *line], env=env, cwd=elsewhere).stdout == b"\n"
        finally:
            agent.terminate()
            agent.wait(DEADLINE_S)


@EVERYBODY
def test_a_shared_socket_leads_to_its_server(house: House, image: str, talker: Path) -> None:
    """Bytes pass; where the socket lies in the project it is there anyway."""
    path = talker.parent / "agent"
    env = {**house.env, "SSH_AUTH_SOCK": str(path)}
    with greeter(str(path)):
        house.own(path)
        done = house.run(["--share=ssh-agent", image, "./talker", str(path)], env=env, cwd=talker.parent)
        assert (done.returncode, done.stdout) == (0, b"hello\n"), done
        elsewhere = ["--share=ssh-agent", f"--mount={talker}:/talker", image, "/talker", str(path)]
        done = house.run(elsewhere, env=env, cwd=house.place())
        assert (done.returncode, done.stdout) == (0, b"hello\n"), done


def test_a_session_that_is_not_there_is_not_missed(house: House, image: str) -> None:
    """The tool itself says what it misses, as it would natively."""
    line = ["sh", "-c", 'echo "${SSH_AUTH_SOCK-unset} ${DISPLAY-unset} ${WAYLAND_DISPLAY-unset}"']
    every = ["--share=ssh-agent", "--share=x11", "--share=wayland"]
    assert house.run([*every, image, *line]).stdout == b"unset unset unset\n"
    env = {**house.env, "SSH_AUTH_SOCK": "/gone", "DISPLAY": "elsewhere:0", "WAYLAND_DISPLAY": "no"}
    assert house.run([*every, image, *line], env=env).stdout == b"/gone elsewhere:0 no\n"


@EVERYBODY
def test_a_screen(house: House, image: str, talker: Path) -> None:
    """X11's socket and cookie with the machine's own name, Wayland's socket in its directory."""
    runtime = Path(os.fsdecode(house.place()))
    cookie = runtime / "cookie"
    cookie.write_bytes(b"secret")
    house.own(cookie)
    display = os.getpid()
    sockets = Path("/tmp/.X11-unix")  # where X servers have them
    sockets.mkdir(mode=0o1777, exist_ok=True)
    path = sockets / f"X{display}"
    env = {
        **house.env,
        "DISPLAY": f":{display}.0",
        "XAUTHORITY": str(cookie),
        "WAYLAND_DISPLAY": "wayland-7",
        "XDG_RUNTIME_DIR": str(runtime),
    }
    script = './talker "$0"; cat "$XAUTHORITY"; echo; hostname; ./talker "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY"'
    try:
        with greeter(str(path)), greeter(str(runtime / "wayland-7")):
            path.chmod(0o777)
            house.own(runtime / "wayland-7")
            line = ["--share=x11", "--share=wayland", image, "sh", "-c", script, str(path)]
            done = house.run(line, env=env, cwd=talker.parent)
            assert done.stdout.decode() == f"hello\nsecret\n{socket.gethostname()}\nhello\n", done
    finally:
        path.unlink(missing_ok=True)
