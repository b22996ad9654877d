"""A folder of compose files with every key there is: what dx makes of each is what the real Compose makes of it.

`made` are those that any engine carries out, `read` those that need what an engine, or a machine, need not have, and
`refused` those that Compose itself does not take.
"""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dxd.compose import extras, program
from dxd.compose.compose import Compose
from dxd.compose.model import Condition, Project, RestartKind, ServiceName, Source, order
from dxd.errors import DxError
from dxd.services import swap
from dxd.services.model import Phase
from tests.dxd.compose import specification
from tests.dxd.services.world import World
from tests.fakes.proxy import ENGINE
from tests.house import docker

CORPUS = Path(__file__).parent / "corpus"
MADE = sorted(each.stem for each in (CORPUS / "made").glob("*.yaml"))
STARTED = ["data", "hooks", "include", "network", "order"]
"""Those whose services all run here."""
READ = sorted(each.stem for each in (CORPUS / "read").glob("*.yaml"))
REFUSED = {
    "image": ("volume with type=image require Docker Engine v28 or later", (28, 0)),
    "interface": ("interface_name requires Docker Engine v28.1 or later", (28, 1)),
    "secret-driver": ("Docker Compose does not support secrets.*.driver", None),
    "schedule": ("scheduled jobs are not supported in this version: nightly", None),
    "secret-template": ("Docker Compose does not support secrets.*.template_driver", None),
    "template": ("Docker Compose does not support configs.*.template_driver", None),
}
"""In Compose's own words, and by which engines it is taken, if by any."""
COMPOSE = "com.docker.compose"


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    async def address() -> str:
        return f"unix://{ENGINE}"

    return Compose(address, overrides=tmp_path / "overrides")


@pytest.fixture
def place(tmp_path: Path, image: str) -> Iterator[Source]:
    """A copy of the corpus with what its files refer to, under a name of its own; what was made of it is removed."""
    root = tmp_path / "corpus"
    for each in CORPUS.iterdir():
        shutil.copytree(each, root, dirs_exist_ok=True)
    (root / "here").mkdir()
    for name, text in (
        ("env", "B=c\n"),
        ("env2", "INCLUDED=yes\n"),
        ("labels", "of.file=yes\n"),
        ("config", "x"),
        ("secret", "y"),
        ("main.c", ""),
    ):
        (root / name).write_text(text)
    name = f"dxt{secrets.token_hex(4)}"
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "IMAGE": image,
        "NAME": name,
        "NET": f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}",
        "SECRET": "s",
    }
    yield Source(root, name=name, environ=environ)
    remove(name)
    # The classic builder gives them no such label, and an id may be another image's, too.
    if found := docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{name}-*").split():
        docker("image", "rm", "--force", *found)


def remove(name: str) -> None:
    """All that there is of a project but its images."""
    for what, how in (("container", "rm --force --volumes"), ("network", "rm"), ("volume", "rm")):
        if found := listed(what, name):
            docker(what, *how.split(), *found)


def listed(what: str, name: str) -> list[str]:
    """The ids of what a project has of a kind."""
    every = ["--all"] if what == "container" else []
    label = f"label={COMPOSE}.project={name}"
    return [*dict.fromkeys(docker(what, "ls", *every, "--quiet", "--filter", label).split())]


def inspected(what: str, name: str) -> list[dict[str, Any]]:
    """All that there is of a kind, as the engine shows it."""
    ids = listed(what, name)
    found: list[dict[str, Any]] = json.loads(docker(what, "inspect", *ids)) if ids else []
    return found


def named(place: Source, file: str) -> Source:
    return replace(place, files=(str(place.directory / f"{file}.yaml"),))


async def plain(source: Source, *arguments: str) -> tuple[int, str]:
    """Compose as somebody calls it who has never heard of dx: its status, and what it says."""
    found = await program.find()
    environ = {**source.environ, "DOCKER_HOST": f"unix://{ENGINE}"}
    argv = [*found.argv, "--project-name", source.name or "", "--file", source.files[0], *arguments]
    done = subprocess.run(argv, cwd=source.directory, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def all_of(name: str) -> str:
    """Containers, networks and volumes, with all that is not another one each time they are made: as text."""
    containers = inspected("container", name)
    of_container = ("Name", "Config", "HostConfig", "Mounts")
    of_network = ("Name", "Labels", "Driver", "Options", "Internal", "Attachable", "EnableIPv6")
    of_volume = ("Name", "Labels", "Driver", "Options")
    every = [
        *({key: each[key] for key in of_container} for each in containers),
        *(
            {key: each[key] for key in of_network} | {"IPAM": addresses(each["IPAM"])}
            for each in inspected("network", name)
        ),
        *({key: each[key] for key in of_volume} for each in inspected("volume", name)),
    ]
    text = json.dumps(in_order(every), indent=1)
    for each in containers:
        host = each["HostConfig"]
        if host["VolumesFrom"] or any(
            str(host[key]).startswith("container:") for key in ("NetworkMode", "PidMode", "IpcMode")
        ):
            text = text.replace(each["Config"]["Labels"][f"{COMPOSE}.config-hash"], "with an id")
        text = text.replace(each["Id"], each["Name"]).replace(each["Id"][:12], each["Name"])
    return text


def addresses(ipam: dict[str, Any]) -> dict[str, Any]:
    """Those that the file gives; others are of the engine's choice."""
    return {**ipam, "Config": [each for each in ipam["Config"] or () if each["Subnet"].startswith("198.")]}


def in_order(value: Any) -> Any:
    """Lists sorted, in labels too, since Compose itself does not always write them in one order."""
    if isinstance(value, dict):
        return {key: in_order(each) for key, each in value.items()}
    if isinstance(value, str) and ":service_" in value:
        return sorted(value.split(","))
    if isinstance(value, list):
        return sorted((in_order(each) for each in value), key=json.dumps)
    return value


def by_service(containers: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in containers:
        found.setdefault(each["Config"]["Labels"][f"{COMPOSE}.service"], []).append(each)
    return found


@pytest.mark.parametrize("file", MADE)
async def test_what_dx_makes_is_what_compose_makes(compose: Compose, place: Source, file: str) -> None:
    """Down to each label and hash; what dx has read says what there is then, and it starts it in the same order."""
    source = named(place, file)
    status, said = await plain(source, "create")
    assert status == 0, said
    by_itself = all_of(source.name or "")
    remove(source.name or "")
    project, _ = await compose.read(source)
    await compose.create(source, project.name)
    assert all_of(project.name) == by_itself
    check(project, await compose.hashes(source))
    before = sorted(listed("container", project.name))
    docker("update", "--restart", "no", *before)  # as dx does with what it looks after
    await compose.create(source, project.name)
    assert sorted(listed("container", project.name)) == before, "dx makes it again, though nothing has changed"
    status, said = await plain(source, *(("up", "--detach") if file in STARTED else ("create",)))
    assert status == 0, said
    assert sorted(listed("container", project.name)) == before, "Compose makes it again, though nothing has changed"
    if file in STARTED:
        check_started(project)


def check(project: Project, hashes: dict[ServiceName, str]) -> None:
    """What there is of a project against what dx has read of it."""
    containers = by_service(inspected("container", project.name))
    networks = {each["Name"]: each["Labels"][f"{COMPOSE}.network"] for each in inspected("network", project.name)}
    volumes = {each["Name"]: each["Labels"][f"{COMPOSE}.volume"] for each in inspected("volume", project.name)}
    assert containers.keys() == project.services.keys() == hashes.keys()
    assert {volumes[each]: each for each in volumes} == project.volumes
    for name, service in project.services.items():
        every = containers[name]
        numbers = sorted(int(each["Config"]["Labels"][f"{COMPOSE}.container-number"]) for each in every)
        assert numbers == list(range(1, service.replicas + 1)), name
        for each in every:
            labels = each["Config"]["Labels"]
            assert labels[f"{COMPOSE}.project"] == project.name
            assert (labels[f"{COMPOSE}.config-hash"] == hashes[name]) is not swap.labelled_by_ids(service), name
            given = service.raw.get("container_name") or "-".join(
                (project.name, name, labels[f"{COMPOSE}.container-number"])
            )
            assert each["Name"] == f"/{given}"
            joined = {networks[other] for other in each["NetworkSettings"]["Networks"] if other in networks}
            assert joined == set(service.networks), name
            if "volumes_from" not in service.raw:
                mounted = {volumes[other["Name"]] for other in each["Mounts"] if other["Type"] == "volume"}
                assert mounted == set(service.volumes), name
            check_container(project, name, each)
    check_order(project, containers)


def check_container(project: Project, name: ServiceName, container: dict[str, Any]) -> None:
    """One container against what dx has read of its service."""
    service = project.services[name]
    config, host = container["Config"], container["HostConfig"]
    kind = "no" if service.restart.kind is RestartKind.UNSET else str(service.restart.kind)
    policy = host["RestartPolicy"]
    assert (policy["Name"] or "no", policy["MaximumRetryCount"] or None) == (kind, service.restart.attempts), name
    if "stop_grace_period" in service.raw:
        assert config["StopTimeout"] == service.stop_grace_s
    assert service.stop_signal in (None, config.get("StopSignal"))
    if service.command is not None:
        assert tuple(config["Cmd"]) == service.command
    assert {f"{key}={value}" for key, value in service.environment.items()} <= set(config["Env"])
    bound = {(port, each["HostIp"]) for port, some in (host["PortBindings"] or {}).items() for each in some}
    assert bound == {(f"{each.target}/{each.protocol}", each.host_ip) for each in service.ports}
    if service.healthcheck is not None and service.healthcheck.test is not None:
        assert tuple(config["Healthcheck"]["Test"]) == service.healthcheck.test
        assert config["Healthcheck"].get("Interval", 0) == (service.healthcheck.interval_s or 0) * 1e9


def check_order(project: Project, containers: dict[str, list[dict[str, Any]]]) -> None:
    """What waits for what, as the labels say it; and dx's order holds to it."""
    position = {name: at for at, name in enumerate(order(project.services))}
    for name, service in project.services.items():
        entries = edges(containers[name][0])
        planned = {(each.service, str(each.condition), str(each.restart).lower()) for each in service.depends_on}
        assert entries == planned, name
        assert all(position[each.service] < position[name] for each in service.depends_on)


def edges(container: dict[str, Any]) -> set[tuple[str, ...]]:
    """What a container's service waits for, for what of it, and whether it is restarted with it."""
    written = container["Config"]["Labels"][f"{COMPOSE}.depends_on"]
    return {tuple(each.split(":")) for each in written.split(",") if each}


def check_started(project: Project) -> None:
    """The same ones, and each after the same: in Compose's case by the engine's clock, in dx's by that of its world."""
    containers = by_service(inspected("container", project.name))
    by_compose = {name: moments(some) for name, some in containers.items()}
    by_dx = Planned(project).moments()
    assert by_dx.keys() == by_compose.keys()
    for name, some in containers.items():
        for other, condition, _ in edges(some[0]):
            for timeline in (by_compose, by_dx):
                assert timeline[other][Condition(condition)] <= timeline[name][Condition.STARTED], (name, timeline)


def moments(containers: list[dict[str, Any]]) -> dict[Condition, Any]:
    """When the engine says that a service was as others may wait for it to be."""
    found: dict[Condition, Any] = {Condition.STARTED: min(each["State"]["StartedAt"] for each in containers)}
    for each in (one["State"] for one in containers):
        good = [test["End"] for test in each.get("Health", {}).get("Log", []) if test["ExitCode"] == 0]
        if good:
            found[Condition.HEALTHY] = min(good)
        if each["Status"] == "exited" and each["ExitCode"] == 0:
            found[Condition.COMPLETED] = each["FinishedAt"]
    return found


class Planned(World):
    """What dx plans for a project, where starts, tests and ends take time and no engine."""

    def __init__(self, project: Project) -> None:
        services = [*project.services.values()]
        checked = {each.name for each in services if each.healthcheck and each.healthcheck.test != ("NONE",)}
        self.found: dict[str, dict[Condition, Any]] = {}
        super().__init__(services, seed=1, checked=frozenset(checked))

    def act(self) -> None:
        """Note what has become of services before others are started because of that."""
        for name, phase in self.shown().items():
            if condition := {Phase.READY: Condition.HEALTHY, Phase.DONE: Condition.COMPLETED}.get(phase):
                self.found.setdefault(name, {}).setdefault(condition, self.now)
        super().act()

    def moments(self) -> dict[str, dict[Condition, Any]]:
        """When each service is as others may wait for it to be, and when it is started."""
        self.run(60)
        for at, name in reversed(self.started):
            self.found.setdefault(name, {})[Condition.STARTED] = at
        return self.found


@pytest.mark.parametrize("file", READ)
async def test_what_this_engine_need_not_have_is_read(compose: Compose, place: Source, file: str) -> None:
    source = named(place, file)
    project, _ = await compose.read(source)
    assert (await compose.hashes(source)).keys() == project.services.keys()
    assert len(order(project.services)) == len(project.services)


async def test_what_is_others_to_start_is_known(compose: Compose, place: Source) -> None:
    project, _ = await compose.read(named(place, "elsewhere"))
    services = project.services
    assert services[ServiceName("provided")].provider == "dx"
    assert services[ServiceName("gpu")].by_compose
    assert [each.service for each in services[ServiceName("user")].depends_on] == ["provided"]


@pytest.mark.parametrize("file", REFUSED)
async def test_what_compose_refuses_dx_refuses_in_its_words(compose: Compose, place: Source, file: str) -> None:
    """Where the engine is new enough, both take what only old ones have not."""
    words, since = REFUSED[file]
    source = named(place, file)
    numbers = docker("version", "--format", "{{.Server.Version}}").split(".")
    taken = since is not None and tuple(map(int, numbers[:2])) >= since
    try:
        project, _ = await compose.read(source)
        await compose.create(source, project.name)
        line = ""
    except DxError as error:
        line = error.line()
    assert line == "" if taken else words in line


async def test_every_key_is_in_the_corpus() -> None:
    """Of the specification, as the Compose that is used has it; and of dx's own."""
    found = await program.find()
    wanted = specification.places(specification.schema(specification.program(found.argv)))
    assert len(wanted) > 300
    own = [("services", "*", "x-dx", key) for key in extras.KEYS]
    documents = [yaml.safe_load(each.read_text()) for each in CORPUS.rglob("*.yaml")]
    gone = specification.missing([*wanted, *own], documents)
    assert not gone, f"no file of the corpus has {', '.join(gone)}"


def test_a_program_without_the_specification_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "docker-compose").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(AssertionError, match="has no schema"):
        specification.schema(tmp_path / "docker-compose")
