import json
from pathlib import Path

import pytest
import yaml

from dxd.compose.compose import Compose, kept
from dxd.compose.model import (
    Condition,
    Dependency,
    OnChange,
    Restart,
    RestartKind,
    ServiceName,
    Source,
    order,
    with_dependencies,
)
from dxd.errors import BadCompose, ComposeMissing, DxError
from tests.fakes.proxy import ENGINE

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}


async def address() -> str:
    return f"unix://{ENGINE}"


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    return Compose(address, overrides=tmp_path / "overrides")


def source(directory: Path, text: str, name: str = "compose.yaml", **environ: str) -> Source:
    (directory / name).write_text(text)
    return Source(directory, environ=ENVIRON | environ)


async def refusal(compose: Compose, given: Source) -> str:
    with pytest.raises(DxError) as error:
        await compose.read(given)
    return error.value.line()


async def test_a_service_has_what_the_file_says_after_interpolation(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=7\n")
    text = """
services:
  db:
    image: db:${TAG}
    environment: [SECRET, "A=${B:-c}"]
    restart: on-failure:3
    stop_grace_period: 1m30s
    stop_signal: SIGINT
    ports: ["8080:80", "127.0.0.1::53/udp"]
    volumes: ["data:/data", "./here:/here"]
    healthcheck: {test: curl localhost, interval: 500ms, timeout: 2s}
    x-dx: {idle: 10m, lazy: true, ready: [pg_isready, -q], restart-unhealthy: false, seed: "psql < $$SEED"}
  web:
    build: {context: .}
    command: echo "a b"
    scale: 2
    depends_on:
      db: {condition: service_healthy, restart: true, required: false}
    develop: {watch: [{path: ./src, action: sync, target: /src, ignore: [tmp]}]}
    profiles: [app]
volumes: {data: {}}
"""
    given = Source(tmp_path, profiles=("app",), environ=ENVIRON | {"SECRET": "s3cret"})
    (tmp_path / "compose.yaml").write_text(text)
    project, warnings = await compose.read(given)
    assert warnings == []
    db, web = project.services[ServiceName("db")], project.services[ServiceName("web")]
    assert (db.image, dict(db.environment)) == ("db:7", {"SECRET": "s3cret", "A": "c"})
    assert db.restart == Restart(RestartKind.ON_FAILURE, 3)
    assert (db.stop_grace_s, db.stop_signal, db.volumes) == (90.0, "SIGINT", ("data",))
    assert [(each.target, each.published, each.host_ip, each.protocol) for each in db.ports] == [
        (80, "8080", "", "tcp"),
        (53, "", "127.0.0.1", "udp"),
    ]
    assert db.healthcheck is not None
    assert db.healthcheck.test == ("CMD-SHELL", "curl localhost")
    assert (db.healthcheck.interval_s, db.healthcheck.timeout_s) == (0.5, 2.0)
    extras = db.extras
    assert (extras.idle_s, extras.lazy, extras.restart_unhealthy) == (600.0, True, False)
    assert (extras.ready, extras.seed) == (("CMD", "pg_isready", "-q"), ("CMD-SHELL", "psql < $SEED"))
    assert web.depends_on == (Dependency(ServiceName("db"), Condition.HEALTHY, required=False, restart=True),)
    assert (web.command, web.replicas, web.profiles) == (("echo", "a b"), 2, ("app",))
    assert [(each.action, each.target, each.ignore) for each in web.watch] == [("sync", "/src", ("tmp",))]
    assert "s3cret" not in repr(project) + repr(given)


@pytest.mark.parametrize(
    ("written", "restart"),
    [
        ("restart: on-failure:3", Restart(RestartKind.ON_FAILURE, 3)),
        ("restart: on-failure:0", Restart(RestartKind.ON_FAILURE)),
        ("deploy: {restart_policy: {condition: any}}", Restart(RestartKind.ALWAYS)),
        ("deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}", Restart(RestartKind.ON_FAILURE, 2)),
        ("deploy: {restart_policy: {delay: 5s}}", Restart()),
        ('{restart: "no", deploy: {restart_policy: {condition: unless-stopped}}}', Restart(RestartKind.UNLESS_STOPPED)),
        ("{restart: always, deploy: {restart_policy: {condition: none}}}", Restart(RestartKind.NO)),
    ],
)
async def test_the_restart_policy_is_what_compose_gives_the_container(
    compose: Compose, tmp_path: Path, written: str, restart: Restart
) -> None:
    """That is asked of a real one in test_corpus."""
    table = {"image": "x", **yaml.safe_load(written)}
    project, _ = await compose.read(source(tmp_path, json.dumps({"services": {"web": table}})))
    assert project.services[ServiceName("web")].restart == restart


async def test_services_of_other_profiles_are_known_and_not_wanted(compose: Compose, tmp_path: Path) -> None:
    text = "services:\n  a: {image: x}\n  b: {image: x, profiles: [debug]}\n"
    project, _ = await compose.read(source(tmp_path, text))
    assert [*project.services] == ["a"]
    assert dict(project.inactive) == {"b": ("debug",)}


async def test_the_variables_that_are_needed_are_kept_and_no_others(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "e").write_text("X=${OF_ENV_FILE}\n")
    text = """
services:
  a:
    image: x:${TAG:-1}
    environment: {PASSED: }
    env_file: e
    build: {context: ., args: [ARG]}
    secrets: [s]
secrets: {s: {environment: OF_SECRET}}
"""
    names = ("TAG", "PASSED", "OF_ENV_FILE", "ARG", "OF_SECRET", "OTHER")
    given = source(tmp_path, text, **dict.fromkeys(names, "v"))
    project, _ = await compose.read(given)
    assert kept(given.environ, project.needs) == ENVIRON | dict.fromkeys(names[:-1], "v")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("post_start: [{command: x}]", True),
        ("pre_stop: [{command: x}]", True),
        ("secrets: [inline]", True),
        ("configs: [written]", True),
        ("secrets: [file]", False),
    ],
)
async def test_what_compose_does_at_a_start_is_left_to_compose(
    compose: Compose, tmp_path: Path, text: str, kind: bool
) -> None:
    rest = "secrets: {inline: {environment: HOME}, file: {file: ./f}}\nconfigs: {written: {content: hello}}\n"
    project, _ = await compose.read(source(tmp_path, f"services:\n  a:\n    image: x\n    {text}\n{rest}"))
    assert project.services[ServiceName("a")].by_compose is kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services:\n  a:\n    image: x\n    imag: y\n", ("compose.yaml:4: services.a.imag: unknown key",)),
        ("services:\n  a: {image: x}\nservces: {}\n", ("compose.yaml:3: servces: unknown key",)),
        ("services:\n  a:\n    image: x\n    restart: [3]\n", ("compose.yaml:4: services.a.restart must be a string",)),
        ("services:\n  a:\n    image: x\n  b: [\n", ("compose.yaml:", "did not find expected")),
        (
            "services:\n  a:\n    image: x:${WANTED:?say which}\n",
            ("compose.yaml:3: the variable WANTED is not set", "say which", "in .env"),
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
            ("compose.yaml:2: dependency cycle detected: a -> b -> a",),
        ),
        ("services:\n  a: {image: x, depends_on: [zz]}\n", ("compose.yaml:2:", 'undefined service "zz"')),
        ("services:\n  a: {image: x, env_file: nope}\n", ("nope", "not found")),
        ("services:\n  a: {image: x, x-dx: {idel: 3m}}\n", ("services.a.x-dx.idel: unknown key; did you mean idle?",)),
        ("services:\n  a: {image: x, x-dx: {on-change: yes}}\n", ("on-change: must be one of apply, build, tell",)),
        ("services:\n  a: {image: x, x-dx: {lazy: 3}}\n", ("services.a.x-dx.lazy: must be true or false",)),
        ("services:\n  a: {image: x, x-dx: {idle: soon}}\n", ("services.a.x-dx.idle: must be a length of time",)),
        ("services:\n  a: {image: x, x-dx: {ready: []}}\n", ("services.a.x-dx.ready: must be a command",)),
        ("services:\n  a: {image: x, x-dx: [1]}\n", ("services.a.x-dx: must be a mapping",)),
        ("services:\n  a: {image: x, x-dx: {idle: '${I:-3m}'}}\n", ("services.a.x-dx: values of x-dx are not",)),
        ("services:\n  a: {image: x}\nx-dx: {idle: 3m}\n", ("compose.yaml:3: x-dx: only a service can have it",)),
        *(
            (
                f"services:\n  a: {{image: x}}\n{kind}:\n  b:\n    x-dx: {{}}\n",
                (f"compose.yaml:5: {kind}.b.x-dx: only",),
            )
            for kind in ("volumes", "networks")
        ),
        (
            "services:\n  a: {image: x}\nsecrets:\n  b:\n    file: f\n    x-dx: {}\n",
            ("compose.yaml:6: secrets.b.x-dx: only",),
        ),
        (
            "services:\n  a: {image: x}\nconfigs:\n  b:\n    content: c\n    x-dx: {}\n",
            ("compose.yaml:6: configs.b.x-dx: only",),
        ),
        (
            "services:\n  a:\n    image: x\n    healthcheck:\n      test: x\n      x-dx: {}\n",
            ("compose.yaml:6: services.a.healthcheck.x-dx: only",),
        ),
    ],
)
async def test_a_bad_file_is_one_line_with_the_place(
    compose: Compose, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    line = await refusal(compose, source(tmp_path, text))
    assert [word for word in words if word not in line] == [], line
    assert "\n" not in line


async def test_an_unknown_key_of_an_included_file_is_told_of_that_file(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("services:\n  o:\n    bogus: 1\n")
    line = await refusal(compose, source(tmp_path, "include: [other.yaml]\nservices: {a: {image: x}}\n"))
    assert f"{tmp_path}/other.yaml:3: services.o.bogus: unknown key" in line


async def test_x_dx_counts_where_the_path_of_an_include_has_a_variable(compose: Compose, tmp_path: Path) -> None:
    """Compose cannot show such a project without values, which is where `x-dx` stands else."""
    (tmp_path / ".env").write_text("OTHER=other\n")
    (tmp_path / "other.yaml").write_text(
        "services:\n  o:\n    image: x:${TAG-1}\n    x-dx: {idle: 3m, seed: echo $$A}\n"
    )
    text = "include: ['${OTHER}.yaml']\nservices: {a: {image: x}, b: {image: x, profiles: [p]}}\n"
    project, _ = await compose.read(source(tmp_path, text, TAG="2"))
    extras = project.services[ServiceName("o")].extras
    assert (extras.idle_s, extras.seed) == (180.0, ("CMD-SHELL", "echo $A"))
    assert dict(project.inactive) == {"b": ("p",)}
    assert {"OTHER", "TAG"} <= project.needs
    (tmp_path / "other.yaml").write_text("services:\n  o:\n    image: x\n    x-dx: {idel: 3m}\n")
    assert f"{tmp_path}/other.yaml:4: services.o.x-dx.idel: unknown key" in await refusal(
        compose, source(tmp_path, text)
    )


async def test_an_unset_variable_is_warned_of(compose: Compose, tmp_path: Path) -> None:
    _, warnings = await compose.read(source(tmp_path, "services: {a: {image: 'x:${UNSET}y'}}"))
    assert [each for each in warnings if "UNSET" in each] == warnings != []


async def test_what_dx_leaves_to_compose_is_warned_of(compose: Compose, tmp_path: Path) -> None:
    jobs = "jobs: {tidy: {image: x, triggers: {manual: true}}}\nx-mine: 1\nnetworks: {n: {}}\n"
    _, warnings = await compose.read(source(tmp_path, f"name: p\nservices: {{a: {{image: x}}}}\n{jobs}"))
    assert warnings == ["jobs: dx does not look after these, and leaves them to Docker Compose"]


async def test_no_file_and_no_directory_say_what_to_do(compose: Compose, tmp_path: Path) -> None:
    assert "name one with --file" in await refusal(compose, Source(tmp_path, environ=ENVIRON))
    assert "is gone" in await refusal(compose, Source(tmp_path / "gone", environ=ENVIRON))
    named = Source(tmp_path, files=("nope.yaml",), environ=ENVIRON)
    assert "nope.yaml" in await refusal(compose, named)


async def test_without_compose_it_says_how_to_install_it(tmp_path: Path) -> None:
    from dxd.compose import program

    with pytest.raises(ComposeMissing, match="no Docker Compose") as error:
        await program.find(str(tmp_path), [tmp_path])
    assert "pip install" in error.value.hint
    old = tmp_path / "docker-compose"
    old.write_text("#!/bin/sh\necho 1.29.2\n")
    old.chmod(0o755)
    with pytest.raises(ComposeMissing, match=r"docker-compose is 1\.29\.2"):
        await program.find(str(tmp_path), [tmp_path])
    (tmp_path / "docker").write_text('#!/bin/sh\n[ "$1 $2" = "compose version" ] && echo v2.40.1\n')
    (tmp_path / "docker").chmod(0o755)
    found = await program.find(str(tmp_path), [tmp_path])
    assert found == program.Program((str(tmp_path / "docker"), "compose"), "2.40.1")


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    import asyncio

    from dxd.compose.program import Program
    from tests.waiting import until_turned

    script = tmp_path / "docker-compose"
    script.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 1000\n")
    script.chmod(0o755)

    async def find() -> Program:
        return Program((str(script),), "9.9")

    task = asyncio.create_task(Compose(address, find=find, overrides=tmp_path).read(Source(tmp_path, environ=ENVIRON)))
    pids = tmp_path / "pids"
    await until_turned(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()] == []


def test_services_come_after_what_they_depend_on() -> None:
    from dxd.compose.model import Service

    names = [ServiceName(each) for each in "abcd"]
    a, b, c, d = names
    services = {
        a: Service(a, depends_on=(Dependency(b), Dependency(c))),
        b: Service(b, depends_on=(Dependency(d),)),
        c: Service(c),
        d: Service(d),
    }
    assert order(services) == [c, d, b, a]
    assert with_dependencies(services, (b,)) == {b, d}
    assert with_dependencies(services, ()) == {a, b, c, d}


async def test_a_broken_answer_is_no_project(tmp_path: Path) -> None:
    from dxd.compose import read

    with pytest.raises(BadCompose, match="services.a"):
        read.project({"name": "x", "services": {"a": 3}}, {}, ())


async def test_rules_of_develop_and_env_files_are_read(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "web.env").write_text("A=b\n")
    text = """
services:
  web:
    build: .
    env_file: web.env
    x-dx: {on-change: apply}
    develop:
      watch:
        - {path: ./a, action: sync, target: /a, include: ["*.py"], initial_sync: true}
        - {path: ./b, action: sync+exec, target: /b, exec: {command: [make, it], user: app}}
        - path: ./c
          action: sync+exec
          target: /c
          exec: {command: make, working_dir: /c, privileged: true, environment: {A: b}}
"""
    project, _ = await compose.read(source(tmp_path, text))
    web = project.services[ServiceName("web")]
    assert project.env_files == (str(tmp_path / ".env"), str(tmp_path / "web.env"))
    assert web.extras.on_change is OnChange.APPLY
    assert [(each.path, each.include, each.initial_sync, each.command, each.user) for each in web.watch] == [
        (str(tmp_path / "a"), ("*.py",), True, (), ""),
        (str(tmp_path / "b"), (), False, ("make", "it"), "app"),
        (str(tmp_path / "c"), (), False, ("make",), ""),
    ]
    assert (web.watch[2].working_dir, web.watch[2].environment, web.watch[2].privileged) == ("/c", ("A=b",), True)


async def test_a_variable_of_what_is_included_comes_from_there_and_that_is_known(
    compose: Compose, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".env").write_text("TAG=${BASE}-7\n")
    source(tmp_path / "sub", "services:\n  web: {image: 'web:${TAG}'}\n")
    project, _ = await compose.read(source(tmp_path, "include: [sub/compose.yaml]\n", BASE="old"))
    assert project.services[ServiceName("web")].image == "web:old-7"
    assert project.env_files == (str(tmp_path / ".env"), str(tmp_path / "sub" / ".env"))
    assert "BASE" in project.needs


async def test_what_compose_would_label_a_container_with_follows_the_files(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "web.env").write_text("A=b\n")
    given = source(tmp_path, "services:\n  web: {image: x, env_file: web.env}\n")
    first = await compose.hashes(given)
    assert first.keys() == {"web"}
    (tmp_path / "web.env").write_text("A=c\n")
    assert await compose.hashes(given) != first
    (tmp_path / "web.env").unlink()
    with pytest.raises(BadCompose, match=r"web\.env"):
        await compose.hashes(given)
