"""What Compose is told beside a project's own files, so that ports of services are others than they say.

Whoever calls Compose has the file kept, one for each project. Compose hashes what the files and this one say together.
So a plain `docker compose up` beside, which does not get this file, sees another hash, makes such a service's container
anew, and publishes the port that the project's files name. Fails with `OSError`, where the file cannot be written.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dxd.compose.model import Port, ProjectName, ServiceName
from dxd.kit import atomic


def override(ports: Mapping[ServiceName, Sequence[Port]]) -> str:
    """A compose file which gives these services these ports, instead of their own; none publishes nothing.

    Needs a Compose that knows `!override`; seen with 5.6.1.
    """
    lines = ["services:"]
    for name, every in ports.items():
        # JSON is YAML, and a name may be a word like `on`.
        lines += [f"  {_quoted(name)}:", f"    ports: !override [{', '.join(_entry(each) for each in every)}]"]
    return "\n".join([*lines, ""]) if ports else "services: {}\n"


def keep(directory: Path, name: ProjectName, ports: Mapping[ServiceName, Sequence[Port]]) -> Path:
    """The file of a project that says so; it is written where it says something else. Blocks."""
    file, text = directory / f"{name}.yaml", override(ports).encode()
    try:
        if file.read_bytes() == text:
            return file
    except FileNotFoundError:
        pass
    atomic.write(file, text)
    return file


def remove(directory: Path, name: ProjectName) -> None:
    """The file of a project that is not needed any more."""
    (directory / f"{name}.yaml").unlink(missing_ok=True)


def _entry(port: Port) -> str:
    values = {"target": port.target, "published": port.published, "host_ip": port.host_ip, "protocol": port.protocol}
    return _quoted({key: value for key, value in values.items() if value})


def _quoted(value: object) -> str:
    # A dollar would begin a variable.
    return json.dumps(value).replace("$", "$$")
