"""The next model, weight by weight in whole numbers: docs/PROTOCOL.md, section 12.  Slow."""

import json
from fractions import Fraction
from math import isqrt, prod
from typing import Any

from tests.oracle import model
from tests.oracle.primitives import shuffled

CHUNK = 4096
INT32 = (-(2**31), 2**31 - 1)
WALKS_MAX = 16
KRUM_MAX = 128
Fields = dict[str, Any]
Vector = list[int]
Unit = tuple[Fields, bytes]
"""(score row, the update's bytes)."""


def div(a: int, b: int) -> int:
    """Rounded half up."""
    return (2 * a + b) // (2 * b)


def halved(value: int, numerator: int, denominator: int) -> int:
    """value * numerator / denominator, rounded towards 0."""
    exact = Fraction(value * numerator, denominator)
    return -int(-exact) if exact < 0 else int(exact)


def clamp(value: int) -> int:
    """Within int32."""
    return max(INT32[0], min(INT32[1], value))


def read(data: bytes) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    """Name -> (shape, type, bytes)."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    return {
        name: (tuple(told["shape"]), told["dtype"], body[slice(*told["data_offsets"])])
        for name, told in header.items()
    }


def integers(data: bytes, width: int, signed: bool = True) -> Vector:
    """Little-endian, of `width` bytes."""
    parts = (data[at : at + width] for at in range(0, len(data), width))
    return [int.from_bytes(part, "little", signed=signed) for part in parts]


def written(tensors: dict[str, tuple[tuple[int, ...], Vector]]) -> bytes:
    """A snapshot's one file."""
    header, body = {}, b""
    for name in sorted(tensors):
        shape, values = tensors[name]
        data = b"".join(value.to_bytes(4, "little", signed=True) for value in values)
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"data_offsets": offsets, "dtype": "I32", "shape": list(shape)}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def dense(shapes: model.Shapes, data: bytes) -> Vector:
    """An update of the form int8, as one vector."""
    found, told = Vector(), read(data)
    for name in sorted(shapes):
        exponents = integers(told[f"{name}.exponents"][2], 1)
        values = integers(told[name][2], 1)
        found += [value * 2 ** exponents[at // CHUNK] for at, value in enumerate(values)]
    return found


def bits(data: bytes) -> str:
    """The highest first."""
    return "".join(f"{byte:08b}" for byte in data)


def sparse(elements: int, keep: int, value_bits: int, data: bytes) -> Vector:
    """An update of the form topk, as one vector."""
    told = {name: tensor[2] for name, tensor in read(data).items()}
    quotients, remainders = bits(told["quotients"]), bits(told["remainders"])
    values = bits(told["values"])
    r = max(0, (CHUNK // keep).bit_length() - 2)
    found, number, unary = [0] * elements, 0, 0
    for chunk, first in enumerate(range(0, elements, CHUNK)):
        length = min(CHUNK, elements - first)
        place = -1
        for _ in range(-(-length * keep // CHUNK)):
            one = quotients.index("1", unary)
            remainder = remainders[number * r : (number + 1) * r] or "0"
            place += 1 + ((one - unary) << r) + int(remainder, 2)
            unary = one + 1
            word = values[number * value_bits : (number + 1) * value_bits]
            sign, m = (-1 if word[0] == "1" else 1), int(word[1:] or "0", 2)
            found[first + place] = sign * (2 * m + 1) * 2 ** told["exponents"][chunk]
            number += 1
    return found


def decoded(job: Fields, segment: int, data: bytes, cap: int) -> Vector:
    """What an update asks for, within the norms that are allowed."""
    shapes = model.segment(job, segment)
    if job["compression"] == b"int8":
        deltas = dense(shapes, data)
    else:
        deltas = sparse(model.weights(shapes), job["keep"], job["value_bits"], data)
    most = model.weights(shapes) * 2 ** (2 * (job["fraction_bits"] - 3))
    while dot(deltas, deltas) > most:
        deltas = [halved(delta, 1, 2) for delta in deltas]
    norm = isqrt(dot(deltas, deltas)) >> 2
    return [halved(delta, cap, norm) for delta in deltas] if 0 < cap < norm else deltas


def dot(one: Vector, other: Vector) -> int:
    """Exact."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def near(t: Vector, d: Vector, a: int) -> bool:
    """1 - <t, d> / (|t| |d|) <= a / 2**16."""
    least, product = Fraction(2**16 - a, 2**16), dot(t, d)
    norms = dot(t, t) * dot(d, d)
    if not norms:
        return False
    if (product < 0) != (least < 0):
        return product >= 0
    square, bound = product * product, least * least * norms
    return square >= bound if product >= 0 else square <= bound


def agreeing(vectors: list[Vector], a: int) -> list[int]:
    """The places of those that remain, in the order in which a walk took them."""
    count = len(vectors)
    for begin in range(min(WALKS_MAX, count)):
        taken = [begin]
        total = vectors[begin]
        for step in range(1, count):
            at = (begin + step) % count
            if near(total, vectors[at], a):
                taken.append(at)
                total = [x + y for x, y in zip(total, vectors[at], strict=True)]
        if 2 * len(taken) > count:
            return taken
    return []


def mean(units: list[tuple[Fields, Vector]]) -> Vector:
    """Weighted by quality."""
    weights = [row["quality"] for row, _ in units]
    columns = zip(*(deltas for _, deltas in units), strict=True)
    return [
        div(sum(q * d for q, d in zip(weights, column, strict=True)), sum(weights))
        for column in columns
    ]


def trimmed(units: list[tuple[Fields, Vector]], trim: int) -> Vector:
    """At each place, without the largest and the smallest."""
    cut = min(trim, (len(units) - 1) // 2)
    found = []
    for column in zip(*(deltas for _, deltas in units), strict=True):
        kept = sorted(column)[cut : len(column) - cut]
        found.append(div(sum(kept), len(kept)))
    return found


def krum(units: list[tuple[Fields, Vector]], trim: int) -> Vector:
    """The mean of those that have near neighbours."""
    units = units[:KRUM_MAX]
    n = len(units)
    if n < 2 * trim + 3:
        return trimmed(units, n)
    scores = []
    for row, deltas in units:
        away = sorted(
            sum((x - y) ** 2 for x, y in zip(deltas, other, strict=True))
            for its, other in units
            if its["unit"] != row["unit"]
        )
        scores.append((sum(away[: n - trim - 2]), row["unit"]))
    chosen = {unit for _, unit in sorted(scores)[: n - trim]}
    return mean([each for each in units if each[0]["unit"] in chosen])


def merged(job: Fields, units: list[Unit], segment: int, randomness: bytes) -> Vector | None:
    """The segment's M; None if it stays."""
    own = [
        (row, data)
        for row, data in sorted(units, key=lambda unit: unit[0]["unit"])
        if row["segment"] == segment and row["valid"] and row["merit"] and row["quality"]
    ]
    order = shuffled("gristmill/merging/order/v1", randomness, len(own))
    there = [(own[at][0], decoded(job, segment, own[at][1], own[at][0]["cap"])) for at in order]
    if job["agreement"]:
        there = [there[at] for at in agreeing([d for _, d in there], job["agreement"])]
    if not there:
        return None
    match job["aggregation"]:
        case b"mean":
            return mean(there)
        case b"trimmed-mean":
            return trimmed(there, job["trim"])
        case b"median":
            return trimmed(there, len(there))
        case b"multi-krum":
            return krum(there, job["trim"])
    raise AssertionError(job["aggregation"])


def next_models(job: Fields, base: bytes, units: list[Unit], randomness: bytes) -> list[bytes]:
    """One file for each halving of the step."""
    told = {name: (shape, integers(data, 4)) for name, (shape, _, data) in read(base).items()}
    models = [dict(told) for _ in range(job["backtracking"] + 1)]
    for segment in range(job["segments"]):
        change = merged(job, units, segment, randomness)
        if change is None:
            continue
        shapes, at = model.segment(job, segment), 0
        for name in sorted(shapes):
            part = change[at : at + prod(shapes[name])]
            at += len(part)
            steps = _with_momentum(job, name, part, told, models)
            for halvings, after in enumerate(models):
                numerator = job["outer_rate_numerator"]
                denominator = job["outer_rate_denominator"] * 2**halvings
                shape, before = told[name]
                after[name] = (
                    shape,
                    [
                        clamp(weight + div(numerator * step, denominator))
                        for weight, step in zip(before, steps, strict=True)
                    ],
                )
    return [written(after) for after in models]


def _with_momentum(
    job: Fields, name: str, part: Vector, told: dict[str, Any], models: list[dict[str, Any]]
) -> Vector:
    """The steps D; the velocities go into every model."""
    u, velocity = job["outer_momentum"], f"velocity.{name}"
    if not u:
        return part
    shape, before = told[velocity]
    fresh = [clamp(halved(v, u, 2**16) + m) for v, m in zip(before, part, strict=True)]
    for after in models:
        after[velocity] = shape, fresh
    return [m + halved(v, u, 2**16) for v, m in zip(fresh, part, strict=True)]
