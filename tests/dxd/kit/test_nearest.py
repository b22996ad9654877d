"""Guesses at what was meant."""

from dxd.kit.nearest import did_you_mean, nearest


def test_the_likeliest_comes_first() -> None:
    """Upper and lower case do not matter; what is not alike is left out."""
    assert nearest("pyhton", ["perl", "Python", "python3", "ruby"]) == ["Python", "python3"]


def test_a_hint_is_a_question_or_nothing() -> None:
    """So that it can be put behind any message."""
    assert did_you_mean("jp", ["jq", "yq"]) == "did you mean jq?"
    assert did_you_mean("zzz", ["jq", "yq"]) == ""
    assert did_you_mean("", []) == ""
