"""A folder of compose files: what dx reads of each is what the real Compose makes of it."""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dxd.compose.compose import Compose
from dxd.compose.model import Project, ProjectName, RestartKind, ServiceName, Source, order
from tests.fakes.proxy import ENGINE
from tests.house import docker

CORPUS = Path(__file__).parent / "corpus"
MADE = ["order", "data", "container", "hooks"]
COMPOSE = "com.docker.compose"
KEYS = """
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name
    cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset
    credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname
    entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck
    hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit
    platform ports post_start pre_start pre_stop privileged profiles provider pull_policy read_only restart
    runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls
    tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir include services name
    condition required mode replicas restart_policy update_config rollback_config placement endpoint_mode
    resources max_attempts disable interval retries start_interval start_period test timeout watch action path
    target ignore initial_sync attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam
    content file idle lazy ready restart-unhealthy seed
""".split()
"""Of the specification, as Compose 5.6 has it, and dx's own."""


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    async def address() -> str:
        return f"unix://{ENGINE}"

    return Compose(address, overrides=tmp_path / "overrides")


@pytest.fixture
def place(tmp_path: Path, image: str) -> Iterator[Source]:
    """A copy of the corpus with what its files refer to, under a name of its own; what was made of it is removed."""
    root = tmp_path / "corpus"
    shutil.copytree(CORPUS / "made", root)
    for name in ("here", "src"):
        (root / name).mkdir()
    for name, text in (
        ("env", "B=c\n"),
        ("labels", "of.file=yes\n"),
        ("config", "x"),
        ("secret", "y"),
        ("main.c", ""),
        ("src/Dockerfile", "ARG IMAGE\nFROM ${IMAGE}\n"),
    ):
        (root / name).write_text(text)
    name = f"dxt{secrets.token_hex(4)}"
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "IMAGE": image, "NAME": name, "SECRET": "s"}
    yield Source(root, name=name, environ=environ)
    label = f"label={COMPOSE}.project={name}"
    for what, remove in (("container", "rm --force --volumes"), ("network", "rm"), ("volume", "rm")):
        listing = ["--all"] if what == "container" else []
        if found := docker(what, "ls", *listing, "--quiet", "--filter", label).split():
            docker(what, *remove.split(), *dict.fromkeys(found))
    # The classic builder gives them no such label, and an id may be another image's, too.
    if found := docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{name}-*").split():
        docker("image", "rm", "--force", *found)


def made(name: str) -> dict[str, list[dict[str, Any]]]:
    """The containers of the project, by service."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label={COMPOSE}.project={name}").split()
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(docker("inspect", *ids)) if ids else []:
        found.setdefault(each["Config"]["Labels"][f"{COMPOSE}.service"], []).append(each)
    return found


@pytest.mark.parametrize("file", MADE)
async def test_what_dx_reads_is_what_compose_makes(compose: Compose, place: Source, file: str) -> None:
    source = replace(place, files=(str(place.directory / f"{file}.yaml"),))
    project, warnings = await compose.read(source)
    assert [each for each in warnings if "attribute" in each] == []
    await compose.create(source, project.name)
    containers = made(project.name)
    assert containers.keys() == project.services.keys()
    for name, service in project.services.items():
        every = containers[name]
        numbers = sorted(int(each["Config"]["Labels"][f"{COMPOSE}.container-number"]) for each in every)
        assert numbers == list(range(1, service.replicas + 1)), name
        for each in every:
            check_container(project, name, each)
    check_order(project, containers)


def check_container(project: Project, name: ServiceName, container: dict[str, Any]) -> None:
    """One container against what dx has read of its service."""
    service = project.services[name]
    labels, config, host = container["Config"]["Labels"], container["Config"], container["HostConfig"]
    number = labels[f"{COMPOSE}.container-number"]
    given = str(service.raw.get("container_name") or f"{project.name}-{name}-{number}")
    assert container["Name"] == f"/{given}"
    kind = "no" if service.restart.kind is RestartKind.UNSET else str(service.restart.kind)
    attempts = service.restart.attempts or 0
    policy = host["RestartPolicy"]
    assert (policy["Name"] or "no", policy["MaximumRetryCount"]) == (kind, attempts), name
    if "stop_grace_period" in service.raw:
        assert config["StopTimeout"] == service.stop_grace_s
    assert service.stop_signal in (None, config.get("StopSignal"))
    if service.command is not None:
        assert tuple(config["Cmd"]) == service.command
    assert {f"{key}={value}" for key, value in service.environment.items()} <= set(config["Env"])
    volumes = {each["Name"] for each in container["Mounts"] if each["Type"] == "volume"}
    defined = (
        json.loads(docker("volume", "inspect", *volumes))
        if service.volumes and "volumes_from" not in service.raw
        else []
    )
    assert {each["Labels"][f"{COMPOSE}.volume"] for each in defined if each["Labels"]} == set(service.volumes)
    bound = {(port, each["HostIp"]) for port, some in (host["PortBindings"] or {}).items() for each in some}
    assert bound == {(f"{each.target}/{each.protocol}", each.host_ip) for each in service.ports}
    if service.healthcheck is not None and service.healthcheck.test is not None:
        assert tuple(config["Healthcheck"]["Test"]) == service.healthcheck.test
        assert config["Healthcheck"].get("Interval", 0) == (service.healthcheck.interval_s or 0) * 1e9


def check_order(project: Project, containers: dict[str, list[dict[str, Any]]]) -> None:
    """What waits for what, as the labels say it; and dx's order holds to it."""
    position = {name: at for at, name in enumerate(order(project.services))}
    for name, service in project.services.items():
        written = containers[name][0]["Config"]["Labels"][f"{COMPOSE}.depends_on"]
        entries = {tuple(each.split(":")) for each in written.split(",") if each}
        planned = {(each.service, str(each.condition), str(each.restart).lower()) for each in service.depends_on}
        assert entries == planned, name
        assert all(position[each.service] < position[name] for each in service.depends_on)


async def test_what_this_engine_need_not_have_is_read(compose: Compose, tmp_path: Path) -> None:
    source = Source(CORPUS / "read", files=("elsewhere.yaml",), name="elsewhere", environ={"HOME": str(tmp_path)})
    project, _ = await compose.read(source)
    services = project.services
    assert services[ServiceName("provided")].provider == "dx"
    assert services[ServiceName("gpu")].by_compose
    assert [each.service for each in services[ServiceName("user")].depends_on] == ["provided"]


async def test_making_it_again_changes_nothing(compose: Compose, place: Source) -> None:
    """Also where dx has taken the restarting from the engine."""
    source = replace(place, files=(str(place.directory / "order.yaml"),))
    await compose.create(source, ProjectName(source.name or ""))
    before = {each["Id"] for some in made(source.name or "").values() for each in some}
    docker("update", "--restart", "no", *before)
    await compose.create(source, ProjectName(source.name or ""))
    assert {each["Id"] for some in made(source.name or "").values() for each in some} == before


def test_every_key_is_in_the_corpus() -> None:
    text = "\n".join(each.read_text() for each in CORPUS.rglob("*.yaml"))
    assert [key for key in KEYS if not re.search(rf"(^|[\s{{,]){key}:", text)] == []
