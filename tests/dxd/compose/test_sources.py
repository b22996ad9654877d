from pathlib import Path

from dxd.compose import sources
from dxd.compose.model import Project, ProjectName, Source

NONE = Project(ProjectName("p"), {})


def names(directory: Path, source: Source, project: Project = NONE) -> set[str]:
    return {str(each.relative_to(directory)) for each in sources.of(source, project)}


def test_what_compose_looks_for_is_watched_before_it_is_there(tmp_path: Path) -> None:
    found = names(tmp_path, Source(tmp_path))
    assert {
        "compose.yaml",
        "compose.override.yaml",
        "docker-compose.yml",
        "docker-compose.override.yml",
        ".env",
    } <= found


def test_files_that_are_named_lead_to_others(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(
        "include:\n  - sub/b.yaml\n  - {path: [c.yaml, d.yaml]}\n  - https://example.com/no.yaml\n"
        "services:\n  web: {extends: {file: e.yaml, service: x}}\n  db: {extends: {service: web}}\n"
    )
    (tmp_path / "sub" / "b.yaml").write_text("include: [f.yaml, b.yaml]\nservices: {x: {ports: !reset []}}\n")
    (tmp_path / "c.yaml").write_text("services: [broken\n")
    project = Project(ProjectName("p"), {}, env_files=(str(tmp_path / "web.env"),))
    found = names(tmp_path, Source(tmp_path, ("a.yaml",)), project)
    compose = {"a.yaml", "sub/b.yaml", "sub/f.yaml", "c.yaml", "d.yaml", "e.yaml"}
    assert found == compose | {".env", "sub/.env", "web.env"}


def test_variables_name_files_as_well(tmp_path: Path) -> None:
    source = Source(tmp_path, environ={"COMPOSE_FILE": "a.yaml:b.yaml", "COMPOSE_ENV_FILES": "one.env,two.env"})
    assert names(tmp_path, source) == {"a.yaml", "b.yaml", "one.env", "two.env"}


def test_what_is_included_goes_by_env_files_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "include:\n  - sub/b.yaml\n  - {path: [c.yaml], project_directory: there}\n"
        "  - {path: d.yaml, env_file: [one.env, two.env, '${MORE}']}\n"
    )
    found = sources.find(Source(tmp_path, ("a.yaml",))).values
    assert [*found] == [tmp_path / each for each in (".env", "sub/.env", "there/.env", "one.env", "two.env")]


def test_what_is_no_compose_file_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: {a: b}\nservices: [c]\n")
    found = sources.find(Source(tmp_path, ("a.yaml",)))
    assert ([*found.written], [*found.values]) == ([tmp_path / "a.yaml"], [tmp_path / ".env"])


def test_an_env_file_names_files_and_where_those_lead(tmp_path: Path) -> None:
    """Each `include` has env files of its own, and there are two where Compose's working directory is another one."""
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").write_text("export COMPOSE_FILE='sub/a.yaml;b.yaml'\nCOMPOSE_PATH_SEPARATOR=\";\"\nWHERE=in\n")
    (tmp_path / "sub" / ".env").write_text("WHERE=not this\nSTAGE=dev\n")
    (tmp_path / "sub" / "a.yaml").write_text(
        "include:\n  - ${WHERE}/c.yaml\n  - {path: d.yaml, project_directory: ../far, env_file: [$STAGE.env]}\n"
        "services: {web: {env_file: ['${STAGE:-x}-web.env'], label_file: l.labels}}\n"
    )
    (tmp_path / "sub" / "dev.env").write_text("DEEP=${STAGE}er\n")
    (tmp_path / "sub" / "d.yaml").write_text("services: {d: {extends: {file: '${DEEP}.yaml', service: x}}}\n")
    assert names(tmp_path, Source(tmp_path)) == {
        *(".env", "sub/.env", "sub/a.yaml", "b.yaml"),
        *("sub/in/c.yaml", "sub/in/.env"),
        *("sub/d.yaml", "sub/dev.env", "far/dever.yaml"),
        *("sub/dev-web.env", "sub/l.labels"),
    }
