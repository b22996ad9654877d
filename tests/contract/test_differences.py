"""The table of differences is what the suite knows."""

from tests.contract import differences


def test_the_page_is_as_the_suite_has_it() -> None:
    """`python -m tests.contract.differences` writes it."""
    assert differences.PAGE.read_text() == differences.page()
