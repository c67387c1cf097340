"""Shamir's secret sharing over BLS12-381's scalars, and Feldman's commitments to it in G2.

A polynomial is its coefficients, the secret first.  Replica `index` holds the value at
x = index + 1, because the value at 0 is the secret.

Source: Shamir 1979; Feldman, "A practical scheme for non-interactive verifiable secret sharing"
(FOCS 1987).
Pure.  Secrets are Python integers, which can be neither wiped nor multiplied in constant time;
what leaves this process is computed from them by `bls.public_key`, which is constant-time.
"""

from collections.abc import Sequence

from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from bft.crypto.bls import ORDER, load_g2, public_key

Polynomial = tuple[int, ...]


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


def evaluate_commitments(commitments: Sequence[G2Point], x: int) -> G2Point:
    """The generator of G2 times the committed polynomial's value at `x`."""
    powers, power = [], 1
    for _ in commitments:
        powers.append(Scalar(power))
        power = power * x % ORDER
    return G2Point.multiexp_unchecked(list(commitments), powers)


def share_matches(commitments: Sequence[bytes], x: int, value: int) -> bool:
    """Whether `value` is the committed polynomial's value at `x`.

    A value of 0 never matches: it cannot sign, and an honest dealer never makes one.

    Raises:
        DecodeError: a commitment is no valid point.
    """
    if value == 0:
        return False
    expected = evaluate_commitments([load_g2(point) for point in commitments], x)
    return public_key(value) == expected.to_compressed_bytes()


def add_commitments(dealings: Sequence[Sequence[bytes]]) -> tuple[bytes, ...]:
    """Commitments to the sum of the dealt polynomials, which must have one length.

    Raises:
        DecodeError: a commitment is no valid point.
        ValueError: the lengths differ, or a sum is the identity.
    """
    sums = []
    for column in zip(*dealings, strict=True):
        total = G2Point.identity()
        for point in column:
            total = total + load_g2(point)
        if total == G2Point.identity():
            raise ValueError("a coefficient of the sum of the dealings is 0")
        sums.append(total.to_compressed_bytes())
    return tuple(sums)
