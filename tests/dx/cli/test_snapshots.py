"""dx snapshot and dx reset, against a daemon that answers what the test says."""

import json

from tests.dx.cli.test_services import lines, project, service
from tests.dx.installed import Dx
from tests.fakes.daemon import State

SNAPSHOT = {
    "project": "shop",
    "name": "before",
    "created_at": "2026-11-20T12:00:00Z",
    "files": 3,
    "size_bytes": 4096,
    "volumes": ["shop_data"],
}


def known(daemon: State) -> None:
    """There is the project."""
    daemon.answers["GET /v1/projects/shop"] = 200, json.dumps(project(service("db"))).encode()


def test_save_and_restore_say_what_was_done(dx: Dx, daemon: State) -> None:
    known(daemon)
    for target in ("before", "before/restore"):
        answer = lines({"progress": "copying"}, {"snapshot": SNAPSHOT})
        daemon.answers[f"POST /v1/projects/shop/snapshots/{target}"] = answer
    done = dx("snapshot", "save", "before", "db", "--project", "shop")
    assert (done.status, done.out) == (0, "saved before: 3 files, 4.0 KiB\n")
    assert dx("snapshot", "restore", "before", "--project", "shop").out.startswith("shop has what before has, of ")
    out = dx("snapshot", "save", "before", "--json", "--project", "shop").out
    assert [json.loads(line) for line in out.splitlines()] == [{"progress": "copying"}, SNAPSHOT]


def test_ls_shows_those_of_a_project_or_of_all(dx: Dx, daemon: State) -> None:
    daemon.answers["GET /v1/snapshots"] = 200, json.dumps({"snapshots": [SNAPSHOT]}).encode()
    listed = [line.split() for line in dx("snapshot", "ls", "--all").out.splitlines()]
    assert listed[0] == ["PROJECT", "NAME", "SAVED", "FILES", "SIZE", "VOLUMES"]
    assert (listed[1][:2], listed[1][-1]) == (["shop", "before"], "shop_data")
    assert dx("snapshot", "ls", "--project", "shop").out.splitlines()[0].split()[0] == "NAME"
    assert json.loads(dx("snapshot", "ls", "--all", "--json").out) == {"snapshots": [SNAPSHOT]}
    daemon.answers["GET /v1/snapshots"] = 200, b'{"snapshots": []}'
    assert dx("snapshot", "ls", "--all").err == "There are no snapshots. To save one: dx snapshot save NAME\n"


def test_rm_takes_several_of_a_project_that_need_not_be_known(dx: Dx, daemon: State) -> None:
    for name in ("a", "b"):
        answer = json.dumps({**SNAPSHOT, "name": name}).encode()
        daemon.answers[f"DELETE /v1/projects/gone/snapshots/{name}"] = 200, answer
    assert dx("snapshot", "rm", "a", "b", "--project", "gone").out == "a is gone\nb is gone\n"


def test_reset_of_a_service_empties_its_volumes(dx: Dx, daemon: State) -> None:
    """A name that is no service of the project is a tool's."""
    known(daemon)
    daemon.answers["POST /v1/projects/shop/reset"] = lines({"note": "emptied"}, {"project": project(service("db"))})
    assert dx("reset", "db", "--project", "shop").out == "db begins anew\n"
    daemon.answers["GET /v1/projects"] = 200, json.dumps({"projects": [project(service("db"))]}).encode()
    assert dx("reset", "db").out == "db begins anew\n"
    assert "not both at once" in dx("reset", "db", "debian").err
    daemon.kept = {"debian": 2}
    assert dx("reset", "debian").out == "debian begins anew\n"
