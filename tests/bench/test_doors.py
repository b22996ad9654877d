"""What a door of the proxy costs, beside a port that Docker publishes on 127.0.0.1, and the container's own address.

Prints medians of interleaved rounds, and the ratio of the first two: above 1 the door is better. Nothing fails by time.
"""

import asyncio
import socket
import statistics
import subprocess
from pathlib import Path

from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy

HOST = "127.0.0.1"
NAME = "dx-bench-doors"
ROUNDS = 9
WORK = {
    "send, MB/s": ("d", 600_000_000, 0),
    "receive, MB/s": ("u", 600_000_000, 0),
    "100 bytes there and back, us": ("e", 2000, 100),
    "8,000 bytes there and back, us": ("e", 1500, 8000),
    "60,000 bytes there and back, us": ("e", 1000, 60000),
    "a new connection, us": ("c", 500, 0),
}


def free_port() -> int:
    """Where nobody listens."""
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


def docker(*arguments: str) -> str:
    """What the command line prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def start(directory: Path, published: int) -> str:
    """A container with the server; its address on the bridge."""
    source = Path(__file__).with_name("traffic.c")
    subprocess.run(["gcc", "-O2", "-static", "-o", directory / "traffic", source], check=True)
    (directory / "Dockerfile").write_text(
        'FROM scratch\nCOPY traffic /traffic\nENTRYPOINT ["/traffic", "serve", "7000"]\n'
    )
    docker("build", "--quiet", "--tag", NAME, str(directory))
    docker("run", "--detach", "--rm", "--name", NAME, "--publish", f"{HOST}:{published}:7000", NAME)
    return docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", NAME)


async def measure(directory: Path) -> None:
    """Print a line for each kind of work."""
    published, door = free_port(), free_port()
    address = start(directory, published)

    async def wake() -> Place:
        return Place(address, 7000)

    proxy = Proxy(directory)
    job = asyncio.create_task(proxy.run())
    await proxy.listen(NAME, Place(HOST, door), wake)
    ways = {"door": (HOST, door), "published": (HOST, published), "bridge": (address, 7000)}
    for title, (kind, count, size) in WORK.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, (host, port) in ways.items():
                command = [str(directory / "traffic"), kind, host, str(port), str(count), str(size)]
                process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
                printed, _ = await process.communicate()
                took[way].append(float(printed))
        medians = {way: statistics.median(each) for way, each in took.items()}
        ratio = medians["door"] / medians["published"]
        ratio = ratio if title.endswith("MB/s") else 1 / ratio
        print(title, *(f"{way} {each:.0f}" for way, each in medians.items()), f"ratio {ratio:.2f}", sep="  ")
    await proxy.shut(NAME)
    job.cancel()
    await proxy.close()


def test_doors_beside_published_ports(tmp_path: Path) -> None:
    """Both ways, there and back, and new connections."""
    print()
    try:
        asyncio.run(measure(tmp_path))
    finally:
        subprocess.run(["docker", "rm", "--force", NAME], capture_output=True)
        subprocess.run(["docker", "rmi", NAME], capture_output=True)
