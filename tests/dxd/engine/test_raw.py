from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dxd.engine import raw
from dxd.engine.model import ContainerSpec, ImageId, Publication, VolumeSpec

ID = f"sha256:{'1' * 64}"


def test_an_image_without_any_configuration() -> None:
    image = raw.image({"Id": ID, "Config": None})
    assert (image.id, image.entrypoint, image.command, image.env, image.labels) == (ID, (), (), (), {})
    assert (image.architecture, image.os, image.working_dir, image.user, image.size_bytes) == ("", "", "", "", 0)


def test_an_image_with_everything() -> None:
    image = raw.image(
        {
            "Id": ID,
            "Architecture": "arm64",
            "Os": "linux",
            "Size": 7,
            "Config": {
                "Entrypoint": ["/it"],
                "Cmd": ["-h"],
                "Env": ["A=1"],
                "WorkingDir": "/w",
                "User": "me",
                "Labels": {"a": "b"},
            },
        }
    )
    assert (image.entrypoint, image.command, image.env, image.labels) == (("/it",), ("-h",), ("A=1",), {"a": "b"})
    assert (image.architecture, image.os, image.working_dir, image.user) == ("arm64", "linux", "/w", "me")


@pytest.mark.parametrize("answer", [{}, {"Id": ID, "Config": {"Entrypoint": "/it"}}])
def test_an_image_that_is_not_one_is_not_made_up(answer: dict[str, object]) -> None:
    with pytest.raises((LookupError, TypeError)):
        raw.image(answer)


def test_podmans_ids_get_their_algorithm() -> None:
    entry = {"Id": "c", "Labels": None, "State": "exited", "ImageID": "1" * 64, "Created": 86400}
    container = raw.container(entry)
    assert (container.image, container.running, container.labels) == (ID, False, {})
    assert container.created_at == datetime(1970, 1, 2, tzinfo=UTC)


def test_a_container_gets_no_more_than_it_is_given() -> None:
    spec = ContainerSpec(image=ImageId(ID), entrypoint=("/agent",), network="none")
    config = raw.container_config(spec, json_file=False)
    assert config["HostConfig"] == {
        "NetworkMode": "none",
        "AutoRemove": False,
        "Mounts": [],
        "CapDrop": ["ALL"],
        "CapAdd": [],
        "SecurityOpt": [],
    }
    assert (config["User"], config["Cmd"], config["WorkingDir"]) == ("0:0", [], "/")


def test_limits_and_mounts_are_the_engines_units() -> None:
    spec = ContainerSpec(
        image=ImageId(ID),
        entrypoint=("/agent",),
        network="host",
        binds=(("/a", "/b"),),
        volumes=(VolumeSpec("v", "/c", {"whose": "mine"}),),
        memory_bytes=1 << 20,
        cpus=0.1,
        pids=5,
        capabilities=("SYS_ADMIN",),
        apparmor_unconfined=True,
    )
    host = raw.container_config(spec, json_file=True)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (1 << 20, 100_000_000, 5)
    options = {"NoCopy": True, "Labels": {"whose": "mine"}}
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
        {"Type": "volume", "Source": "v", "Target": "/c", "VolumeOptions": options},
    ]
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["SYS_ADMIN"])
    assert host["SecurityOpt"] == ["apparmor=unconfined"]
    assert "PortBindings" not in host
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}}


def test_ports_devices_and_gpus() -> None:
    spec = ContainerSpec(
        image=ImageId(ID),
        entrypoint=("/agent",),
        network="bridge",
        ports=(Publication("127.0.0.1", 80, 8000, "tcp"), Publication("::1", 81, 8000, "tcp")),
        devices=(("/dev/a", "/dev/b", "rw"),),
        gpus=("all",),
        hostname="me",
    )
    config = raw.container_config(spec, json_file=False)
    host = config["HostConfig"]
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert host["PortBindings"] == {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}, {"HostIp": "::1", "HostPort": "81"}]
    }
    assert host["Devices"] == [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"}]
    assert host["DeviceRequests"] == [{"Count": -1, "Capabilities": [["gpu"]]}]
    assert config["Hostname"] == "me"
    some = raw.container_config(replace(spec, gpus=("0", "GPU-1")), json_file=False)["HostConfig"]["DeviceRequests"]
    assert some == [{"DeviceIDs": ["0", "GPU-1"], "Capabilities": [["gpu"]]}]
