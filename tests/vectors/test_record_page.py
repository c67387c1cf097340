"""docs/RECORDS.md is what the records are."""

from tests.vectors.record_page import PATH, text


def test_the_committed_page_follows_from_the_code() -> None:
    """`python -m tests.vectors.record_page` writes it anew, after a change of a record."""
    assert PATH.read_text(encoding="utf-8") == text()
