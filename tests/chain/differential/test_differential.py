"""A short search, and that the search sees what it is there to see."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from chain.records.serialization import Reader
from tests.chain.differential import oracle, subjects
from tests.chain.differential.oracle import Difference
from tests.chain.differential.search import run
from tests.chain.differential.subjects import SUBJECTS

SEED, INPUTS = 1, 120
VARIETY_MIN = 12  # kinds of errors that random scripts must meet, else the search says little


def any_length(reader: Reader) -> int:
    """A compact size in whatever form."""
    first = reader.integer(1)
    return first if first < 0xFD else reader.integer({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_nobody_judges_otherwise(name: str) -> None:
    assert run([name], SEED, lambda number: number < INPUTS) == {name: INPUTS}


@pytest.mark.parametrize(
    ("name", "where", "wrong"),
    [
        ("spends", "chain.bitcoin.signatures.is_low_s", lambda signature: True),
        ("borders", "chain.bitcoin.verify.LOCK_TIME_THRESHOLD", 500_000_001),
        ("scripts", "chain.bitcoin.verify.is_script_hash", lambda script: False),
        ("digests", "chain.bitcoin.sighash.without_code_separators", lambda script: script),
        ("addresses", "chain.bitcoin.bech32.BECH32M", 1),
        ("headers", "chain.bitcoin.merkle_block._Walk.end", lambda walk: None),
        ("transactions", "chain.records.serialization.Reader.compact_size", any_length),
    ],
)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, where: str, wrong: Any
) -> None:
    monkeypatch.setattr(where, wrong)
    with pytest.raises(Difference, match=f"{name}, seed {SEED}"):
        run([name], SEED, lambda number: number < 20 * INPUTS)


def test_random_scripts_end_in_many_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    met: Counter[str] = Counter()

    def counted(*given: Any) -> str:
        found = oracle.btclib_verdict(*given)
        met[found] += 1
        return found

    monkeypatch.setattr(subjects, "btclib_verdict", counted)
    for number in range(3 * INPUTS):
        subjects.scripts(Random(number))
    assert len(met) >= VARIETY_MIN, met
    assert met["OK"] > INPUTS // 10, met
