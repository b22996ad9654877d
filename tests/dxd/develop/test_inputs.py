from pathlib import Path

import pytest

from dxd.compose.model import Service, ServiceName, Watch
from dxd.develop import inputs, rules
from dxd.develop.rules import Prints
from dxd.errors import BuildFailed
from dxd.images.identity import Memory
from dxd.watch.model import File, Tree


def service(directory: Path, *watch: Watch, **build: object) -> Service:
    return Service(ServiceName("web"), build={"context": str(directory), **build}, watch=watch)


def digest(of: Service) -> str | None:
    return inputs.digest(of, Memory(), Prints())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("1")
    (tmp_path / "notes").write_text("1")
    (tmp_path / ".dockerignore").write_text("notes\n")
    return tmp_path


def test_what_the_build_takes_counts_and_what_it_ignores_does_not(directory: Path) -> None:
    first = digest(service(directory))
    (directory / "notes").write_text("2")
    assert digest(service(directory)) == first
    (directory / "src" / "a").write_text("2")
    second = digest(service(directory))
    assert second != first
    assert digest(service(directory, args={"A": "b"})) != second
    assert digest(service(directory, target="t")) != second
    (directory / "Dockerfile").write_text("FROM scratch\nENV A=b\n")
    assert digest(service(directory)) != second


def test_with_rules_the_dockerfile_and_what_is_to_be_rebuilt_for_count(directory: Path) -> None:
    it = service(directory, Watch(str(directory / "src"), "sync", "/app"), Watch(str(directory / "notes"), "rebuild"))
    first = digest(it)
    (directory / "src" / "a").write_text("2")
    assert digest(it) == first
    (directory / "notes").write_text("2")
    second = digest(it)
    assert second != first
    (directory / "Dockerfile").write_text("FROM scratch\nENV A=b\n")
    assert digest(it) != second


def test_a_directory_that_is_taken_from_besides_counts(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    more = tmp_path_factory.mktemp("more")
    (more / "x").write_text("1")
    it = service(directory, additional_contexts={"more": str(more)})
    first = digest(it)
    (more / "x").write_text("2")
    assert digest(it) != first


def test_what_is_built_from_elsewhere_has_no_digest() -> None:
    assert digest(Service(ServiceName("web"))) is None
    assert digest(Service(ServiceName("web"), build={"context": "https://example.org/x.git"})) is None


def test_a_dockerfile_that_is_gone_is_an_error_and_its_directory_is_watched(directory: Path) -> None:
    (directory / "Dockerfile").unlink()
    with pytest.raises(BuildFailed, match="Dockerfile"):
        digest(service(directory))
    assert [each.path for each in inputs.watched(service(directory), None).specs] == [str(directory)]


def test_equal_files_are_watched_as_they_were(directory: Path) -> None:
    """Else the watcher would scan them anew at every look, and tell of a change after each."""
    for it in (
        service(directory),
        service(directory, Watch(str(directory / "src"), "sync", "/app")),
        service(directory, dockerfile_inline="FROM scratch"),
    ):
        first = inputs.watched(it, None)
        assert first.specs
        assert inputs.watched(it, first).specs == first.specs


def test_a_rule_for_what_is_no_directory_watches_a_file_until_it_is_one(directory: Path) -> None:
    it = service(directory, Watch(str(directory / "later"), "sync", "/app"))
    first = inputs.watched(it, None)
    assert File(str(directory / "later")) in first.specs
    (directory / "later").mkdir()
    second = inputs.watched(it, first)
    assert any(isinstance(each, Tree) and each.path == str(directory / "later") for each in second.specs)


def test_of_a_service_with_rules_all_that_is_copied_is_in_its_image_too(directory: Path) -> None:
    of = service(directory, Watch(str(directory / "src"), "sync", "/src"))
    prints = Prints()

    def found() -> tuple[str | None, str]:
        now = inputs.digest(of, Memory(), prints)
        return now, inputs.whole(str(now), rules.look(of, prints))

    first = found()
    assert found() == first
    (directory / "src" / "a").write_text("2")
    second = found()
    assert second[0] == first[0], "it is copied, and not built for"
    assert second[1] != first[1]
    assert inputs.whole("d", ()) == "d"
