"""The daemon's API, version 1, for Python programs; the command line is one of them.

    client = Client(Places.of().socket)
    for tool in client.tools():
        print(tool["name"], tool["image"])

Uses the standard library only. Every method is one request and may raise `ApiError` (the daemon refused),
`Unreachable` (nobody listens), `BadAnswer` (no sense came back in time) or `WrongVersion`; all are `ClientError`.
What is returned is the API's JSON as it is, typed in `dx.answers`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from dx.answers import (
    BuildRecord,
    Cache,
    ComparedImage,
    Container,
    Definition,
    DescribeLine,
    Event,
    Freed,
    LockLine,
    LogEntry,
    PrepareLine,
    PushLine,
    Review,
    Run,
    Shims,
    Status,
    Tool,
    UpgradeLine,
)
from dx.asking import Asking, compatible
from dx.errors import ApiError, BadAnswer, ClientError, Unreachable, WrongVersion
from dx.http import quote
from dx.project_answers import (
    Consumer,
    Project,
    ProjectLine,
    Snapshot,
    SnapshotLine,
    Terminal,
    UpBody,
    UseBody,
    VariablesLine,
)

__all__ = ["ApiError", "BadAnswer", "Client", "ClientError", "Unreachable", "WrongVersion", "compatible"]


class Client(Asking):
    """Requests to one daemon. Holds no connection, so there is nothing to close.

    `start` is called when nobody listens, once for a request, which is then tried again.
    """

    def status(self) -> Status:
        """The daemon as a whole; of any version, so that one can be told to stop."""
        status: Status = self._ask("GET", "/v1/status", any_version=True)
        return status

    def stop(self) -> None:
        """Have the daemon stop in its own time; runs go on."""
        self._ask("POST", "/v1/daemon/stop", any_version=True)

    def tools(self, cwd: str | None = None) -> list[Tool]:
        """Every tool, or those that are meant in a directory: inside a project its own come first."""
        tools: list[Tool] = self._ask("GET", "/v1/tools" + _cwd(cwd))["tools"]
        return tools

    def tool(self, name: str, cwd: str | None = None) -> Tool:
        """One tool by its whole name, or by what it is called in a directory."""
        tool: Tool = self._ask("GET", f"/v1/tools/{quote(name)}" + _cwd(cwd))
        return tool

    def reviews(self, directory: str | None = None) -> list[Review]:
        """What a project asks for, or each of which something is allowed."""
        target = "/v1/trust" if directory is None else f"/v1/trust?directory={quote(directory)}"
        projects: list[Review] = self._ask("GET", target)["projects"]
        return projects

    def trust(self, directory: str, digest: str) -> None:
        """Allow a project what the review of that digest showed."""
        self._ask("POST", "/v1/trust", {"directory": directory, "digest": digest})

    def distrust(self, directory: str) -> None:
        """Allow a project nothing any more."""
        self._ask("DELETE", f"/v1/trust?directory={quote(directory)}")

    def put_tool(self, name: str, definition: Definition) -> Tool:
        """Define a tool, in place of one that has the name; paths are absolute."""
        tool: Tool = self._ask("PUT", f"/v1/tools/{quote(name)}", definition)
        return tool

    def delete_tool(self, name: str) -> None:
        """Forget a tool."""
        self._ask("DELETE", f"/v1/tools/{quote(name)}")

    def prepare(self, name: str, *, rebuild: bool = False) -> Iterator[PrepareLine]:
        """Pull or build the tool's image; yields lines until the last, which has the image."""
        target = f"/v1/tools/{quote(name)}/prepare" + "?rebuild=true" * rebuild
        yield from self._stream("POST", target, last="image")

    def describe(self, *, image: str | None = None, package: str | None = None) -> Iterator[DescribeLine]:
        """What an image's labels say of the tool that it is meant to be, or the content of a package file of
        Whalebrew; yields lines until the last, which has the description. An image that is missing is pulled.
        """
        body = {"image": image} if package is None else {"package": package}
        yield from self._stream("POST", "/v1/describe", body, last="description")

    def push(self, name: str, to: str, labels: Mapping[str, str]) -> Iterator[PushLine]:
        """Publish the tool's image with these `dev.dx.*` labels; yields lines until the last, which has `pushed`."""
        body = {"to": to, "labels": {**labels}}
        yield from self._stream("POST", f"/v1/tools/{quote(name)}/push", body, last="pushed")

    def check(self, text: str) -> None:
        """Have the text of a dx.toml read without it being used."""
        self._ask("POST", "/v1/check", {"text": text})

    def reshim(self) -> Shims:
        """Make the shims agree with the tools."""
        shims: Shims = self._ask("POST", "/v1/shims")
        return shims

    def containers(self) -> list[Container]:
        """The warm containers."""
        containers: list[Container] = self._ask("GET", "/v1/containers")["containers"]
        return containers

    def drop_containers(self, tool: str | None = None) -> int:
        """Remove the warm containers, or those of one tool; how many there were."""
        target = "/v1/containers" if tool is None else f"/v1/containers?tool={quote(tool)}"
        dropped: int = self._ask("DELETE", target)["dropped"]
        return dropped

    def caches(self) -> list[Cache]:
        """Every cache, by tool and path."""
        caches: list[Cache] = self._ask("GET", "/v1/caches")["caches"]
        return caches

    def drop_caches(self, tool: str, path: str | None = None) -> list[Cache]:
        """Remove the caches of a tool, or the one at that path; those that were removed."""
        target = f"/v1/caches?tool={quote(tool)}" + (f"&path={quote(path)}" if path is not None else "")
        dropped: list[Cache] = self._ask("DELETE", target)["dropped"]
        return dropped

    def reset(self, tool: str) -> int:
        """Empty the tool's kept root; how many layers there were, one for each image that it had."""
        dropped: int = self._ask("DELETE", f"/v1/tools/{quote(tool)}/root")["dropped"]
        return dropped

    def builds(self, tool: str | None = None) -> list[BuildRecord]:
        """What was built, of every tool or of one; the latest first."""
        target = "/v1/builds" if tool is None else f"/v1/builds?tool={quote(tool)}"
        builds: list[BuildRecord] = self._ask("GET", target)["builds"]
        return builds

    def build(self, build: int) -> BuildRecord:
        """One build."""
        found: BuildRecord = self._ask("GET", f"/v1/builds/{build}")
        return found

    def build_log(self, build: int) -> bytes:
        """What a build said, 4 MiB at most; of one that goes on, as far as it got."""
        return self._ask_bytes("GET", f"/v1/builds/{build}/log")

    def rollback(self, tool: str, build: int | None = None) -> BuildRecord:
        """Have runs use that build, or the one that served before the one in use, until `unpin`; the build it is."""
        found: BuildRecord = self._ask("POST", f"/v1/tools/{quote(tool)}/rollback", {"build": build})
        return found

    def unpin(self, tool: str) -> None:
        """Have a tool follow its Dockerfile again."""
        self._ask("POST", f"/v1/tools/{quote(tool)}/unpin")

    def prune(self) -> Freed:
        """Remove builds and images of dx's own that are neither used nor kept."""
        freed: Freed = self._ask("POST", "/v1/prune")
        return freed

    def outdated(self, tool: str | None = None) -> list[ComparedImage]:
        """How images compare to those of their registries, of every tool or of one."""
        target = "/v1/outdated" if tool is None else f"/v1/outdated?tool={quote(tool)}"
        images: list[ComparedImage] = self._ask("GET", target)["images"]
        return images

    def upgrade(
        self, tools: Sequence[str] = (), *, labels: bool = True, allow: Sequence[str] = (), keep: bool = False
    ) -> Iterator[UpgradeLine]:
        """Pull what is outdated, and build what is built on it; yields lines until the last, which has `upgraded`.

        Definitions follow what new images say of themselves, unless `labels` is false. One that asks for more than was
        allowed is taken only if its digest is in `allow`; with `keep` it stays in the engine to be allowed.
        """
        body = {"tools": [*tools], "labels": labels, "allow": [*allow], "keep": keep}
        yield from self._stream("POST", "/v1/upgrade", body, last="upgraded")

    def lock(
        self, project: str | None = None, *, check: bool = False, upgrade: Sequence[str] | None = None
    ) -> Iterator[LockLine]:
        """Write dx.lock, the user's or that of a project by its directory, or check it; yields lines until the last,
        which has `complaints`.

        What is locked stays so, but for the tools of `upgrade`: all, where that is empty.
        """
        body = {"project": project, "check": check, "upgrade": None if upgrade is None else [*upgrade]}
        yield from self._stream("POST", "/v1/lock", body, last="complaints")

    def projects(self) -> list[Project]:
        """Every project that is known, with its services."""
        projects: list[Project] = self._ask("GET", "/v1/projects")["projects"]
        return projects

    def project(self, name: str) -> Project:
        """One project."""
        project: Project = self._ask("GET", f"/v1/projects/{quote(name)}")
        return project

    def project_of(self, directory: str) -> Project:
        """The project that a directory belongs to."""
        projects: list[Project] = self._ask("GET", f"/v1/projects?cwd={quote(directory)}")["projects"]
        return projects[0]

    def up(self, body: UpBody) -> Iterator[ProjectLine]:
        """Have services of a project run; yields lines until the last, which has the project."""
        yield from self._stream("POST", "/v1/projects", body, last="project")

    def down(self, name: str, *, volumes: bool = False) -> Iterator[ProjectLine]:
        """Remove its containers and networks, and its volumes where that is wanted; yields lines as `up`."""
        yield from self._stream("POST", f"/v1/projects/{quote(name)}/down", {"volumes": volumes}, last="project")

    def change_services(
        self, name: str, verb: Literal["start", "stop", "restart", "wait"], **body: object
    ) -> Iterator[ProjectLine]:
        """Start, stop or restart services, or wait for them; yields lines as `up`. `body` has `services`, `wait`,
        `profiles`, `env`.
        """
        yield from self._stream("POST", f"/v1/projects/{quote(name)}/{verb}", body, last="project")

    def snapshots(self, project: str | None = None) -> list[Snapshot]:
        """What was saved, of every project or of one; the latest first."""
        target = "/v1/snapshots" if project is None else f"/v1/snapshots?project={quote(project)}"
        snapshots: list[Snapshot] = self._ask("GET", target)["snapshots"]
        return snapshots

    def save_snapshot(self, project: str, name: str, services: Sequence[str] = ()) -> Iterator[SnapshotLine]:
        """Save the volumes of services, or of all, in place of a snapshot of that name; yields lines until the last,
        which has the snapshot.
        """
        target = f"/v1/projects/{quote(project)}/snapshots/{quote(name)}"
        yield from self._stream("POST", target, {"services": [*services]}, last="snapshot")

    def restore_snapshot(self, project: str, name: str, services: Sequence[str] = ()) -> Iterator[SnapshotLine]:
        """Put back what a snapshot has, of services or all of it; yields lines as `save_snapshot`."""
        target = f"/v1/projects/{quote(project)}/snapshots/{quote(name)}/restore"
        yield from self._stream("POST", target, {"services": [*services]}, last="snapshot")

    def remove_snapshot(self, project: str, name: str) -> Snapshot:
        """Remove a snapshot; what it was."""
        removed: Snapshot = self._ask("DELETE", f"/v1/projects/{quote(project)}/snapshots/{quote(name)}")
        return removed

    def reset_services(self, project: str, services: Sequence[str] = ()) -> Iterator[ProjectLine]:
        """Empty the volumes of services, or of all; yields lines until the last, which has the project."""
        target = f"/v1/projects/{quote(project)}/reset"
        yield from self._stream("POST", target, {"services": [*services]}, last="project")

    def forget_project(self, name: str) -> None:
        """Look after it no more."""
        self._ask("DELETE", f"/v1/projects/{quote(name)}")

    def project_variables(self, name: str) -> dict[str, str]:
        """Where its services are, as variables for programs."""
        variables: dict[str, str] = self._ask("GET", f"/v1/projects/{quote(name)}/env")["variables"]
        return variables

    def service_terminal(self, name: str, service: str) -> Terminal:
        """How to call Docker Compose for a service."""
        terminal: Terminal = self._ask("GET", f"/v1/projects/{quote(name)}/services/{quote(service)}/terminal")
        return terminal

    def use_service(self, body: UseBody) -> Iterator[VariablesLine]:
        """Have a service be ready for another project; yields lines until the last, which has the variables."""
        yield from self._stream("POST", "/v1/consumers", body, last="variables")

    def leave_service(self, consumer: str, alias: str) -> None:
        """That project does not use it any more."""
        self._ask("DELETE", f"/v1/consumers/{quote(consumer)}/{quote(alias)}")

    def consumers(self) -> list[Consumer]:
        """Every use of a service by another project."""
        consumers: list[Consumer] = self._ask("GET", "/v1/consumers")["consumers"]
        return consumers

    def runs(self, state: Literal["live", "finished"] | None = None) -> list[Run]:
        """Runs, the latest first."""
        runs: list[Run] = self._ask("GET", "/v1/runs" if state is None else f"/v1/runs?state={state}")["runs"]
        return runs

    def signal(self, run: int, signal: str, *, group: bool = False) -> None:
        """Send a signal to a run: TERM, INT, ..."""
        self._ask("POST", f"/v1/runs/{run}/signal", {"signal": signal, "group": group})

    def logs(
        self,
        services: Sequence[str] = (),
        *,
        directory: str | None = None,
        project: str | None = None,
        since: str | None = None,
        until: str | None = None,
        tail: int | None = None,
        stream: Literal["stdout", "stderr"] | None = None,
        level: Literal["debug", "info", "warn", "error"] | None = None,
        follow: bool = False,
    ) -> Iterator[LogEntry]:
        """What services of a project printed, in the order of its times; with `follow` until the daemon ends.

        The project is that of a `directory`, or the one of that name. `since` and `until` are RFC 3339, or a duration
        before now like `10m`.
        """
        given = {
            "directory": directory,
            "project": project,
            "services": ",".join(services) or None,
            "since": since,
            "until": until,
            "tail": tail,
            "stream": stream,
            "level": level,
            "follow": "true" if follow else None,
        }
        query = "&".join(f"{key}={quote(str(value))}" for key, value in given.items() if value is not None)
        yield from self._stream("GET", f"/v1/logs?{query}")

    def events(self) -> Iterator[Event]:
        """What happens from now on; ends when the daemon does."""
        yield from self._stream("GET", "/v1/events")


def _cwd(cwd: str | None) -> str:
    return "" if cwd is None else f"?cwd={quote(cwd)}"
