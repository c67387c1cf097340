"""Any t values give the secret back; commitments betray a value that is not the polynomial's."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from bft.crypto import bls, shamir

polynomials = st.lists(st.integers(1, bls.ORDER - 1), min_size=1, max_size=5).map(tuple)
CUBIC = (11, 22, 33, 44)
COMMITMENTS = shamir.commit(CUBIC)


@given(polynomials, st.data())
def test_any_t_values_give_the_secret_and_fewer_do_not(
    polynomial: tuple[int, ...], data: st.DataObject
) -> None:
    xs = data.draw(
        st.lists(
            st.integers(1, 2**16),
            min_size=len(polynomial),
            max_size=len(polynomial),
            unique=True,
        )
    )

    def secret_from(xs: list[int]) -> int:
        values = [shamir.evaluate(polynomial, x) for x in xs]
        multipliers = shamir.lagrange_at_zero(xs)
        return sum(m * v for m, v in zip(multipliers, values, strict=True)) % bls.ORDER

    assert secret_from(xs) == polynomial[0]
    if len(xs) > 1:
        assert secret_from(xs[1:]) != polynomial[0]


def test_the_value_at_zero_is_the_secret_and_nobodys_share() -> None:
    assert shamir.evaluate(CUBIC, 0) == 11
    assert [shamir.x_of(index) for index in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError):
        shamir.x_of(-1)


@pytest.mark.parametrize("xs", [[0, 1], [1, 1], [1, 1 + bls.ORDER], [bls.ORDER]])
def test_interpolation_refuses_zero_and_repeated_points(xs: list[int]) -> None:
    with pytest.raises(ValueError):
        shamir.lagrange_at_zero(xs)


def test_interpolation_works_in_the_group_for_every_subset() -> None:
    points = [(x, G1Point() * Scalar(shamir.evaluate(CUBIC, x))) for x in range(1, 7)]
    for chosen in combinations(points, len(CUBIC)):
        assert shamir.interpolate_at_zero(chosen) == G1Point() * Scalar(11)


@settings(max_examples=10)
@given(polynomials, st.integers(1, 1000))
def test_a_share_matches_its_commitments_and_no_other_value_does(
    polynomial: tuple[int, ...], x: int
) -> None:
    commitments = shamir.commit(polynomial)
    value = shamir.evaluate(polynomial, x)
    assert shamir.share_matches(commitments, x, value)
    assert not shamir.share_matches(commitments, x, (value + 1) % bls.ORDER)


def test_a_share_of_zero_never_matches() -> None:
    line = (bls.ORDER - 5, 5)  # 0 at x = 1
    assert shamir.evaluate(line, 1) == 0
    assert not shamir.share_matches(shamir.commit(line), 1, 0)


def test_the_sum_of_commitments_commits_to_the_sum() -> None:
    other = (1, 2, 3, 4)
    added = shamir.combine_commitments([COMMITMENTS, shamir.commit(other)], (1, 1))
    assert added == shamir.commit(tuple(a + b for a, b in zip(CUBIC, other, strict=True)))


def test_sums_of_unequal_length_or_to_zero_are_refused() -> None:
    with pytest.raises(ValueError):
        shamir.combine_commitments([COMMITMENTS, COMMITMENTS[:-1]], (1, 1))
    negated = shamir.commit(tuple(bls.ORDER - coefficient for coefficient in CUBIC))
    with pytest.raises(ValueError):
        shamir.combine_commitments([COMMITMENTS, negated], (1, 1))
