"""An address is one that can be asked, or its owner's error."""

import pytest

from bft.errors import ConfigError
from chain.federation.transport import base_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://a.example/path/", "https://a.example/path"),
        ("http://[::1]:7", "http://[::1]:7"),
    ],
)
def test_an_address_ends_without_a_slash(text: str, expected: str) -> None:
    assert base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:8000", "ftp://a", "http://", "http://a?b", "http://a#b", "http://[::1"),
        "http://[::1]:@",  # found by fuzzing
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        base_url(text)
