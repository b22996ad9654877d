"""`dx snapshot` and `dx reset`: the data of services; a tool's kept root is emptied here, too."""

from dx.cli import link, projects, screen
from dx.cli.steps import last_of
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json
from dx.project_answers import Snapshot


def _arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="save|restore|ls|rm", required=True)
    for action, text in (("save", "save the volumes of services"), ("restore", "put back what a snapshot has")):
        one = actions.add_parser(action, help=text)
        one.add_argument("name", metavar="SNAPSHOT", help="its name: a-z, 0-9, dots, dashes and underscores")
        one.add_argument("services", metavar="SERVICE", nargs="*", help="only the volumes of this one (default: all)")
        projects.add_project(one)
        add_json(one)
    listing = actions.add_parser("ls", help="list the snapshots of a project, or of all")
    listing.add_argument("--all", "-a", action="store_true", help="of every project, known or not")
    projects.add_project(listing)
    add_json(listing)
    removing = actions.add_parser("rm", help="remove snapshots")
    removing.add_argument("names", metavar="SNAPSHOT", nargs="+", help="its name")
    projects.add_project(removing)
    add_json(removing)


def snapshot(given: Namespace) -> int:
    """Save, put back, list or remove snapshots."""
    return {"save": _save, "restore": _restore, "ls": _ls, "rm": _rm}[given.action](given)


def _save(given: Namespace) -> int:
    lines = link.client().save_snapshot(projects.find(given)["name"], given.name, given.services)
    saved: Snapshot = last_of(lines, "snapshot", json=given.json)
    if given.json:
        screen.print_json(saved, line=True)
    else:
        print(f"saved {saved['name']}: {saved['files']} files, {screen.size(saved['size_bytes'])}")
    return 0


def _restore(given: Namespace) -> int:
    lines = link.client().restore_snapshot(projects.find(given)["name"], given.name, given.services)
    restored: Snapshot = last_of(lines, "snapshot", json=given.json)
    if given.json:
        screen.print_json(restored, line=True)
    else:
        print(f"{restored['project']} has what {restored['name']} has, of {screen.ago(restored['created_at'])}")
    return 0


def _ls(given: Namespace) -> int:
    project = None if given.all else _project(given)
    found = link.client().snapshots(project)
    if given.json:
        screen.print_json({"snapshots": found})
    elif found:
        rows = [
            (*(each["project"] for _ in range(project is None)), *_row(each))  # known where one was asked for
            for each in found
        ]
        headings = ("NAME", "SAVED", "FILES", "SIZE", "VOLUMES")
        print(screen.table(("PROJECT", *headings) if project is None else headings, rows))
    else:
        screen.say("There are no snapshots. To save one: dx snapshot save NAME")
    return 0


def _row(each: Snapshot) -> tuple[str, ...]:
    return (
        each["name"],
        screen.ago(each["created_at"]),
        str(each["files"]),
        screen.size(each["size_bytes"]),
        " ".join(each["volumes"]),
    )


def _rm(given: Namespace) -> int:
    client, project = link.client(), _project(given)
    removed = [client.remove_snapshot(project, name) for name in dict.fromkeys(given.names)]
    if given.json:
        screen.print_json({"removed": removed})
    else:
        for each in removed:
            print(f"{each['name']} is gone")
    return 0


def _project(given: Namespace) -> str:
    """Its name; one that is named may be forgotten by now."""
    name: str | None = given.project
    return name if name is not None else projects.find(given)["name"]


def _reset_arguments(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="a service of this directory's project, or a tool")
    projects.add_project(parser)
    add_json(parser)


def reset(given: Namespace) -> int:
    """Empty the volumes of services, or kept roots."""
    client = link.client()
    project = projects.find(given) if given.project is not None else projects.find_here()
    if project is not None:
        known = {each["name"] for each in project["services"]}
        if given.project is not None or known.issuperset(given.names):
            projects.show(given, client.reset_services(project["name"], given.names), quiet=True)
            if not given.json:
                print("\n".join(f"{name} begins anew" for name in dict.fromkeys(given.names)))
            return 0
        if known.intersection(given.names):
            raise UsageError("name services or tools, not both at once")
    total = 0
    for name in dict.fromkeys(given.names):
        dropped = client.reset(link.named(client, name))
        total += dropped
        if not given.json:
            print(f"{name} begins anew" if dropped else f"{name} has nothing kept")
    if given.json:
        screen.print_json({"dropped": total})
    return 0


VERBS = (
    Verb(
        "snapshot",
        "Save the data of services, and put it back",
        snapshot,
        _arguments,
        description="A snapshot has the named volumes of a project's services, as they were at one moment. Services\n"
        "that use them are stopped meanwhile, and come back as they were. What is cut short changes nothing.",
        examples="dx snapshot save before-migration\ndx snapshot restore before-migration\n"
        "dx snapshot save fixtures db\ndx snapshot ls\ndx snapshot rm fixtures",
    ),
    Verb(
        "reset",
        "Empty the volumes of a service, or the kept root of a tool",
        reset,
        _reset_arguments,
        description="A service that uses the volumes is stopped meanwhile, and begins anew with nothing,\n"
        "or with what its seed makes. What a tool changed in its root is gone; its caches stay.",
        examples="dx reset db\ndx reset debian",
    ),
)
