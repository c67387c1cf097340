"""Whatever an operator's file holds, he is told what is wrong with it; nothing else comes out."""

import sys
from collections.abc import Iterator

import msgspec
import pytest

from bft.errors import ConfigError
from chain.settings import SETTINGS_BYTES_MAX, parse_settings

DEPTH = 1_000
"""Python's own limit of recursion."""


class Small(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = "x"
    count: int = 1
    parts: tuple[str, ...] = ()


def test_settings_are_read_and_an_empty_file_means_the_defaults() -> None:
    assert parse_settings(Small, b"name: y\nparts: [a, b]\n", "f") == Small(
        name="y", parts=("a", "b")
    )
    assert parse_settings(Small, b"", "f") == Small()


@pytest.fixture
def as_deep_as_python_goes() -> Iterator[None]:
    """py_ecc, once a test of this process has imported it, lets recursion go far deeper."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("as_deep_as_python_goes")
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"nmae: y", "unknown field"),
        (b"count: many", "Expected `int`"),
        (b"name: [", "while parsing"),
        (b"name: \xff", "can't decode|special characters|invalid"),
        (b"name: 2024-99-99", "a value cannot be read"),
        (b"name: !!timestamp x", "a value cannot be read"),
        (b"count: !!int ''", "a value cannot be read"),
        (b"count: " + b"9" * 5_000, "a value cannot be read|Expected|out of range"),
        (b"parts: " + b"[" * 30_000, "nested too deeply|while parsing"),  # by recursion limit
        (b"parts: &a [*a]", "Expected|nested"),
        (b"name: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        (b"- 1", "Expected `object`"),
    ],
)
def test_what_is_wrong_is_told_with_the_files_name(data: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        parse_settings(Small, data, "somewhere.yaml")
    assert str(refused.value).startswith("somewhere.yaml: ")


def test_a_file_at_the_limit_is_read_and_one_past_it_is_not() -> None:
    assert parse_settings(Small, b"#" * SETTINGS_BYTES_MAX, "f") == Small()
    with pytest.raises(ConfigError, match="longer than"):
        parse_settings(Small, b"#" * (SETTINGS_BYTES_MAX + 1), "f")
