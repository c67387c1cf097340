"""The list of planted faults fits the product; `python -m tests.mutants` runs them."""

import pytest

from tests.mutants.__main__ import MUTANTS, ROOT
from tests.mutants.mutant import Mutant, NoSuchText, mutated


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_fits_the_product_and_can_be_compiled(mutant: Mutant) -> None:
    for file in {file for file, _, _ in mutant.edits}:
        before = (ROOT / file).read_text()
        after = mutated(before, mutant, file)
        assert after != before
        compile(after, file, "exec")
    for test in mutant.tests:
        assert (ROOT / test).exists()


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_whose_text_is_gone_says_so() -> None:
    stale = Mutant("stale", "none", (), ("x.py", "gone", "new"))
    with pytest.raises(NoSuchText, match="stands 0 times"):
        mutated("text", stale, "x.py")
