"""Shamir's secret sharing over BLS12-381's scalars, and Feldman's commitments to it in G2.

A polynomial is its coefficients, the secret first.  Replica `index` holds the value at
x = index + 1, because the value at 0 is the secret.

Source: Shamir 1979; Feldman, "A practical scheme for non-interactive verifiable secret sharing"
(FOCS 1987).
Pure.  Secrets are Python integers, which can be neither wiped nor multiplied in constant time;
what leaves this process is computed from them by `bls.public_key`, which is constant-time.
"""

from collections.abc import Sequence
from functools import lru_cache

from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from bft.crypto.bls import ORDER, load_g2, public_key

Polynomial = tuple[int, ...]

POLYNOMIALS_CACHED_MAX = 128
"""Committed polynomials whose points are kept: all of one session."""


def x_of(index: int) -> int:
    """Where the polynomial is evaluated for replica `index`."""
    if index < 0:
        raise ValueError(f"replica index {index} is below 0")
    return index + 1


def evaluate(polynomial: Polynomial, x: int) -> int:
    """The polynomial's value at `x`, in 0..ORDER-1."""
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % ORDER
    return value


def lagrange_at_zero(xs: Sequence[int]) -> tuple[int, ...]:
    """Multipliers that turn the values at `xs` into the value at 0.

    Raises:
        ValueError: `xs` are not distinct and non-zero modulo ORDER.
    """
    reduced = [x % ORDER for x in xs]
    if 0 in reduced or len(set(reduced)) != len(reduced):
        raise ValueError("interpolation needs distinct x that are not 0")
    multipliers = []
    for here in reduced:
        above, below = 1, 1
        for other in reduced:
            if other != here:
                above = above * other % ORDER
                below = below * (other - here) % ORDER
        multipliers.append(above * pow(below, -1, ORDER) % ORDER)
    return tuple(multipliers)


def interpolate_at_zero(points: Sequence[tuple[int, G1Point]]) -> G1Point:
    """The group element at x = 0, from (x, element at x) of as many x as the threshold."""
    multipliers = lagrange_at_zero([x for x, _ in points])
    return G1Point.multiexp_unchecked(
        [point for _, point in points], [Scalar(multiplier) for multiplier in multipliers]
    )


def commit(polynomial: Polynomial) -> tuple[bytes, ...]:
    """Feldman's commitments: 96 bytes for each coefficient, in constant time."""
    return tuple(public_key(coefficient) for coefficient in polynomial)


@lru_cache(maxsize=POLYNOMIALS_CACHED_MAX)
def load_commitments(commitments: tuple[bytes, ...]) -> tuple[G2Point, ...]:
    """The points of a committed polynomial, each checked by `bls.load_g2`.

    Raises:
        DecodeError: a commitment is no valid point; failures are not cached.
    """
    return tuple(load_g2(commitment) for commitment in commitments)


def evaluate_commitments(commitments: Sequence[G2Point], x: int) -> G2Point:
    """The generator of G2 times the committed polynomial's value at `x`.

    By Horner's rule: replicas' x are so small that this beats any multi-exponentiation.
    """
    value, at = G2Point.identity(), Scalar(x)
    for commitment in reversed(commitments):
        value = value * at + commitment
    return value


def share_matches(commitments: tuple[bytes, ...], x: int, value: int) -> bool:
    """Whether `value` is the committed polynomial's value at `x`.

    A value of 0 never matches: it cannot sign, and an honest dealer never makes one.

    Raises:
        DecodeError: a commitment is no valid point.
    """
    if value == 0:
        return False
    expected = evaluate_commitments(load_commitments(commitments), x)
    return public_key(value) == expected.to_compressed_bytes()


def combine_commitments(
    dealings: Sequence[tuple[bytes, ...]], weights: Sequence[int]
) -> tuple[bytes, ...]:
    """Commitments to the weighted sum of the dealt polynomials, which must have one length.

    Raises:
        DecodeError: a commitment is no valid point.
        ValueError: the lengths differ, or a coefficient of the sum is 0.
    """
    points = [load_commitments(dealing) for dealing in dealings]
    multipliers = [Scalar(weight) for weight in weights]
    if len(points) != len(multipliers):
        raise ValueError(f"{len(points)} dealings came with {len(multipliers)} weights")
    sums = []
    for column in zip(*points, strict=True):
        total = G2Point.multiexp_unchecked(list(column), multipliers)
        if total == G2Point.identity():
            raise ValueError("a coefficient of the sum of the dealings is 0")
        sums.append(total.to_compressed_bytes())
    return tuple(sums)
