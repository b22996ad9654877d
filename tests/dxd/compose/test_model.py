"""What a project says of its services together."""

from dxd.compose.model import Project, ProjectName, Service, ServiceName


def lent(name: str, *others: str, volumes: tuple[str, ...] = ()) -> Service:
    """A service that has others' volumes."""
    return Service(ServiceName(name), volumes=volumes, raw={"volumes_from": [*others]} if others else {})


def test_a_volume_is_used_by_whoever_names_it_and_by_whoever_has_the_volumes_of_those() -> None:
    services = [
        lent("db", volumes=("data",)),
        lent("copy", "other", "db:ro"),
        lent("again", "copy"),
        lent("other", volumes=("more",)),
        lent("loop", "loop"),
        lent("outside", "container:db"),
        lent("web"),
    ]
    volumes = {"data": "p_data", "more": "p_more"}
    project = Project(ProjectName("p"), {each.name: each for each in services}, volumes=volumes)
    assert project.users_of(["p_data"]) == ["db", "copy", "again"]
    assert project.users_of(["p_more"]) == ["copy", "again", "other"]
    assert project.users_of([]) == []
