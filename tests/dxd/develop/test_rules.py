import os
from pathlib import Path

import pytest

from dxd.compose.model import Service, ServiceName, Watch
from dxd.develop import rules
from dxd.develop.rules import Batch, Command, Prints
from dxd.errors import BuildFailed

SYNC = Watch("/src", "sync", "/app")


def test_what_changed_is_copied_and_what_is_gone_is_removed() -> None:
    batch = rules.plan([SYNC], [{"a": b"1", "b": b"1", "c": b"1"}], [{"a": b"1", "b": b"2", "d/e": b"1"}])
    assert batch == Batch((("/src/b", "/app/b"), ("/src/d/e", "/app/d/e")), ("/app/c",))
    assert not rules.plan([SYNC], [{"a": b"1"}], [{"a": b"1"}])


def test_a_rule_for_a_file_copies_it_to_its_target() -> None:
    assert rules.plan([Watch("/src/f", "sync", "/etc/g")], [{}], [{"": b"1"}]).copies == (("/src/f", "/etc/g"),)
    assert rules.plan([Watch("/src/f", "sync", "/etc/g")], [{"": b"1"}], [{}]).removals == ("/etc/g",)


@pytest.mark.parametrize(
    ("rule", "batch"),
    [
        (Watch("/s", "restart"), Batch(restart=True)),
        (Watch("/s", "sync+restart", "/t"), Batch((("/s/a", "/t/a"),), restart=True)),
        (
            Watch("/s", "sync+exec", "/t", command=("make",), user="app", working_dir="/t", environment=("A=b",)),
            Batch((("/s/a", "/t/a"),), commands=(Command(("make",), "app", "/t", ("A=b",)),)),
        ),
        (Watch("/s", "rebuild"), Batch()),
    ],
)
def test_each_action_has_its_own_meaning(rule: Watch, batch: Batch) -> None:
    assert rules.plan([rule], [{}], [{"a": b"1"}]) == batch


def test_a_new_container_gets_files_and_nothing_else() -> None:
    rule = Watch("/s", "sync+restart", "/t")
    wanted = [{"a": b"1"}]
    assert rules.plan([rule], [{}], wanted, began=wanted) == Batch((("/s/a", "/t/a"),))


def test_a_new_container_is_restarted_where_something_has_changed_since_it_was_made() -> None:
    rule = Watch("/s", "sync+restart", "/t", initial_sync=True)
    began, now = [{"a": b"1", "b": b"1"}], [{"a": b"1", "b": b"2"}]
    copies = (("/s/a", "/t/a"), ("/s/b", "/t/b"))
    assert rules.plan([rule], [{}], now, began=began) == Batch(copies, restart=True)
    assert rules.plan([Watch("/s", "restart")], began, now, began=began) == Batch(restart=True)
    assert rules.plan([rule], [{}], [{}], began=began) == Batch(restart=True)


def test_of_two_rules_for_one_path_the_last_counts() -> None:
    two = [Watch("/one", "sync", "/t"), Watch("/two", "sync", "/t")]
    assert rules.plan(two, [{}, {}], [{"a": b"1"}, {"a": b"2"}]).copies == (("/two/a", "/t/a"),)
    assert rules.plan(two, [{"a": b"1"}, {}], [{}, {"a": b"2"}]) == Batch((("/two/a", "/t/a"),))


def test_a_new_container_has_what_its_image_was_built_from_unless_all_is_to_be_synced() -> None:
    first = Watch("/s", "sync", "/t", initial_sync=True)
    assert rules.base([SYNC, first], [{"a": b"1"}, {"b": b"1"}]) == ({"a": b"1"}, {})


def service(rule: Watch, context: Path | None = None) -> Service:
    build = None if context is None else {"context": str(context)}
    return Service(ServiceName("web"), build=build, watch=(rule,))


def test_patterns_leave_out_what_compose_leaves_out(tmp_path: Path) -> None:
    for name in ("a.py", "a.log", "a.py~", ".a.py.swp", ".git/config", "node_modules/x.py", "sub/b.py", "sub/c.txt"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("src/sub/b.py\n")
    source = str(tmp_path / "src")
    plain = Watch(source, "sync", "/t", ignore=("node_modules", "*.log"))
    assert sorted(*map(list, rules.look(service(plain), Prints()))) == ["a.py", "sub/b.py", "sub/c.txt"]
    assert sorted(*map(list, rules.look(service(plain, tmp_path), Prints()))) == ["a.py", "sub/c.txt"]
    only = Watch(source, "sync", "/t", ignore=("node_modules",), include=("**/*.py",))
    assert sorted(*map(list, rules.look(service(only), Prints()))) == ["a.py", "sub/b.py"]
    with pytest.raises(BuildFailed, match="not a pattern"):
        rules.look(service(Watch(source, "sync", "/t", ignore=("[",))), Prints())


def test_only_content_and_mode_count(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    (tmp_path / "link").symlink_to("a")
    rule, prints = Watch(str(tmp_path), "sync", "/t"), Prints()
    before = rules.look(service(rule), prints)
    os.utime(file, (1, 1))
    assert rules.look(service(rule), prints) == before
    file.write_text("two")
    assert rules.look(service(rule), prints) != before
    file.write_text("one")
    file.chmod(0o700)
    assert rules.look(service(rule), prints) != before


def test_what_is_remembered_is_not_read_again_and_what_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    status = file.lstat()
    late, soon = Prints(now=lambda: status.st_ctime_ns + 10**10), Prints(now=lambda: status.st_ctime_ns + 10**9)
    first = late.of(str(file), status)
    assert soon.of(str(file), status) == first
    file.write_text("two")
    assert late.of(str(file), status) == first
    assert soon.of(str(file), status) != first
