"""Socket activation for real: `systemd-socket-activate` holds the socket, the first run starts the daemon."""

import subprocess
import time

from tests.house import DEADLINE_S, House
from tests.waiting import until


def test_first_run_on_a_cold_socket(house: House, image: str) -> None:
    """The launcher only connects; the daemon takes the descriptor that it is passed, and answers on it."""
    argv = ["systemd-socket-activate", "--fdname=dxd", f"--listen={house.socket}"]
    argv += [f"--setenv={name}={value}" for name, value in house.env.items()]
    with subprocess.Popen([*argv, str(house.bin / "dxd")], env=house.env, stderr=subprocess.PIPE) as systemd:
        try:
            until(house.socket.exists, "the socket is there")
            assert not house.log  # nothing runs yet
            begun = time.perf_counter()
            done = house.run([image, "echo", "hello"], env={**house.env, "DX_NO_START": "1"})
            took = time.perf_counter() - begun
            assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
            print(f"first run on a cold socket, daemon and container included: {took:.2f} s")
            again = house.run([image, "true"], env={**house.env, "DX_NO_START": "1"})
            assert again.returncode == 0
        finally:
            systemd.terminate()
            assert systemd.stderr is not None
            said = systemd.stderr.read().decode()
            systemd.wait(DEADLINE_S)
    assert '"inherited": true' in said, said
