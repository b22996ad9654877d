"""What a tool reaches outside of its container, as texts: ports, devices, GPUs and what it shares of the session.

Each pair of functions is inverse: what one writes the other reads as an equal value. Nothing here does I/O.
"""

import ipaddress
import os.path
import re
from collections.abc import Sequence

from dxd.kit.toml import Spot, quote
from dxd.tools.model import LOOPBACK, Device, Network, Port, Share
from dxd.tools.names import did_you_mean

_PORT = re.compile(
    r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|[0-9]+(?:\.[0-9]+){3}):)?(?P<host>[0-9]{1,5})(?::(?P<container>[0-9]{1,5}))?"
    r"(?:/(?P<protocol>tcp|udp))?",
    re.ASCII,
)
_MODES = ("r", "w", "rw")


def read_ports(texts: Sequence[str], spot: Spot) -> tuple[Port, ...]:
    """`[ADDRESS:]PORT[:PORT][/udp]` each; raises `BadToml`."""
    ports = tuple(_port(each, spot.at(index)) for index, each in enumerate(texts))
    for index, port in enumerate(ports):
        if any(port.clashes(each) for each in ports[:index]):
            raise spot.at(index).bad(f"{port.shown} of this machine is there twice")
    return ports


def port_text(port: Port) -> str:
    """The inverse, for one."""
    address = f"[{port.address}]" if ":" in port.address else port.address
    before = "" if port.address == LOOPBACK else f"{address}:"
    after = "" if port.protocol == "tcp" else f"/{port.protocol}"
    return f"{before}{port.host}:{port.container}{after}"


def check_ports(ports: Sequence[Port], network: Network, spot: Spot) -> None:
    """Raise `BadToml` where the network is one that nothing can be published from."""
    if ports and network is Network.NONE:
        raise spot.bad("there is nothing to publish without a network", 'use network = "bridge" with ports')
    if ports and network is Network.HOST:
        raise spot.bad("on the host's network each port is the host's already", "leave ports out, or use bridge")


def read_devices(texts: Sequence[str], spot: Spot) -> tuple[Device, ...]:
    """`/dev/X[:/dev/Y][:MODE]` each; raises `BadToml`."""
    devices = tuple(_device(each, spot.at(index)) for index, each in enumerate(texts))
    targets = [each.target for each in devices]
    for index, target in enumerate(targets):
        if target in targets[:index]:
            raise spot.at(index).bad(f"{quote(target)} is there twice")
    return devices


def device_text(device: Device) -> str:
    """The inverse, for one."""
    target = "" if device.target == device.source else f":{device.target}"
    return f"{device.source}{target}" + ("" if device.mode == "rw" else f":{device.mode}")


def read_gpus(texts: Sequence[str], spot: Spot) -> tuple[str, ...]:
    """The ids, or `all` alone; raises `BadToml`."""
    for index, each in enumerate(texts):
        if not each or any(c.isspace() or not c.isprintable() or c == "," for c in each):
            raise spot.at(index).bad(f"{quote(each)} is no GPU", 'write "all", or a list of numbers or ids as texts')
        if each == "all" and len(texts) > 1:
            raise spot.bad("all is all there are", 'write "all" alone')
    return tuple(dict.fromkeys(texts))


def gpus_value(gpus: Sequence[str]) -> str | list[str]:
    """The inverse."""
    return "all" if tuple(gpus) == ("all",) else list(gpus)


def read_share(texts: Sequence[str], spot: Spot) -> tuple[Share, ...]:
    """What of the session is shared, in the order of `Share`; raises `BadToml`."""
    known = [each.value for each in Share]
    for index, each in enumerate(texts):
        if each not in known:
            hint = did_you_mean(each, known) or f"write some of {', '.join(known)}"
            raise spot.at(index).bad(f"{quote(each)} cannot be shared", hint)
    return tuple(each for each in Share if each.value in texts)


def _port(text: str, spot: Spot) -> Port:
    found = _PORT.fullmatch(text)
    if found is None:
        hint = "write it like 8000, 8000:80, 0.0.0.0:8000:80 or 53:53/udp"
        raise spot.bad(f"{quote(text)} is no port", hint)
    address = (found["address"] or LOOPBACK).strip("[]")
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise spot.bad(f"{quote(address)} is no address of this machine", "write it like 0.0.0.0 or [::1]") from None
    host, container = int(found["host"]), int(found["container"] or found["host"])
    for number in (host, container):
        if not 1 <= number <= 65535:
            raise spot.bad(f"{number} is no port", "a port is from 1 to 65535")
    return Port(host, container, address, found["protocol"] or "tcp")


def _device(text: str, spot: Spot) -> Device:
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 1 and not parts[-1].startswith("/") else "rw"
    if mode not in _MODES:
        raise spot.bad(f"{quote(mode)} is no way to open a device", f"write one of {', '.join(_MODES)}")
    if len(parts) > 2:
        raise spot.bad(f"{quote(text)} has too many colons", "write it like /dev/ttyUSB0 or /dev/snd:/dev/snd:r")
    source, target = parts[0], parts[-1]
    for path in (source, target):
        if not path.startswith("/dev/") or os.path.normpath(path) != path:
            raise spot.bad(f"{quote(path)} is no device", "name something below /dev")
    return Device(source, target, mode)
