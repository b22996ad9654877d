import pytest

from dxd.engine.reference import Reference, may_be_local, parse

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jq", Reference("jq", "", "latest")),
        ("jq:1.7", Reference("jq", "", "1.7")),
        ("team/jq", Reference("team/jq", "", "latest")),
        ("a__b/c-d.e", Reference("a__b/c-d.e", "", "latest")),
        ("localhost/jq", Reference("localhost/jq", "localhost", "latest")),
        ("localhost:5000/a/jq:x", Reference("localhost:5000/a/jq", "localhost:5000", "x")),
        ("127.0.0.1:5000/jq", Reference("127.0.0.1:5000/jq", "127.0.0.1:5000", "latest")),
        ("[::1]:5000/jq", Reference("[::1]:5000/jq", "[::1]:5000", "latest")),
        ("registry.example/jq", Reference("registry.example/jq", "registry.example", "latest")),
        (f"jq@{DIGEST}", Reference("jq", "", DIGEST)),
        (f"jq:1@{DIGEST}", Reference("jq", "", DIGEST)),
        ("jq.tar", Reference("jq.tar", "", "latest")),
    ],
)
def test_names(text: str, expected: Reference) -> None:
    assert parse(text) == expected
    assert may_be_local(text)


@pytest.mark.parametrize(
    "text",
    ["", "JQ", "team/JQ", "-jq", "jq:", "jq:-x", "a..b", "a//b", "/jq", "jq/", "a b", "jq?x=1", "../jq", "jq\n", "ä",
     "jq@sha256:short", "a" * 513, "jq:" + "x" * 129],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    assert parse(text) is None
    assert not may_be_local(text)


@pytest.mark.parametrize("text", [DIGEST, "a" * 64, "sha256:abcdef"])
def test_ids_can_be_looked_up_but_not_pulled(text: str) -> None:
    assert parse(text) is None
    assert may_be_local(text)
