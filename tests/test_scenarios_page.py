"""docs/SCENARIOS.md names tests that exist and that say which scenario they play."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/SCENARIOS.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CITED = re.compile(r"Scenarios? ([\d, ]+(?:(?:and|to) \d+)?)")
SCENARIOS = 78


@cache
def docstrings(file: str) -> dict[str, str]:
    """Test name -> docstring."""
    tree = ast.parse((ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, kinds)
    }


def cited(docstring: str) -> set[int]:
    """The scenarios that a docstring is about."""
    found: set[int] = set()
    for text in CITED.findall(docstring):
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        found |= set(range(numbers[0], numbers[-1] + 1)) if " to " in text else set(numbers)
    return found


def test_every_scenario_has_its_row_once_with_tests_or_a_reason() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [int(number) for number, _, _ in rows] == list(range(1, SCENARIOS + 1))
    for number, _, said in rows:
        reason = NAMED.sub("", said).replace("<br>", "").strip()
        assert NAMED.search(said) or reason, f"scenario {number}"


def test_every_named_test_exists_and_cites_its_scenario() -> None:
    for number, _, said in ROW.findall(PAGE.read_text()):
        for file, name in NAMED.findall(said):
            assert (ROOT / file).is_file(), f"scenario {number}: {file}"
            assert name in docstrings(file), f"scenario {number}: {file}::{name}"
            assert int(number) in cited(docstrings(file)[name]), f"{number}: {file}::{name}"


def test_every_test_that_the_page_names_exists() -> None:
    """Also below the 78: standby, bad input."""
    named = NAMED.findall(PAGE.read_text())
    assert len(named) > SCENARIOS
    for file, name in named:
        assert (ROOT / file).is_file() and name in docstrings(file), f"{file}::{name}"
