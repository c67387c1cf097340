"""Assignment, scores and the lottery: docs/PROTOCOL.md, sections 9 to 11, in fractions."""

from fractions import Fraction
from math import floor
from typing import Any

from tests.oracle import model
from tests.oracle.primitives import below, leaf, shuffled, tree, words
from tests.oracle.records import encode

UNITS_MAX = 10_000
FULL = 2**16
LARGEST = 2**63 - 1
Fields = dict[str, Any]


def units_earned(profile: Fields, params: Fields) -> int:
    """Section 9."""
    earned = profile["capacity"] // params["unit_capacity"]
    return int(min(params["units_per_miner_max"], earned))


def assigned(
    seed: bytes, profiles: dict[bytes, Fields], params: Fields, job: Fields
) -> list[Fields]:
    """The cycle's units."""
    tag = "gristmill/assignment/order/v1"
    keys = sorted(profiles)
    order = [keys[place] for place in shuffled(tag, seed, len(keys))]
    left = {key: units_earned(profiles[key], params) for key in keys}
    dealt: list[bytes] = []
    while any(left.values()):
        for key in order:
            if left[key]:
                left[key] -= 1
                dealt.append(key)
    dealt = dealt[: min(job["train_records"] // job["chunk_records"], UNITS_MAX)]
    first = below(words(f"{tag}/segment", seed), job["segments"])
    return [
        {
            "unit": unit,
            "miner": miner,
            "segment": (unit + first) % job["segments"],
            "chunk": unit,
            "steps": job["steps"],
        }
        for unit, miner in enumerate(dealt)
    ]


def median(values: list[int]) -> int:
    """The lower one."""
    return sorted(values)[(len(values) - 1) // 2]


def first_references(params: Fields, job: Fields) -> list[Fields]:
    """Before any cycle."""
    gain, advantage = params["gain_reference_micronats"], params["advantage_reference_micronats"]
    return [{"gain": gain, "advantage": advantage} for _ in range(job["segments"])]


def share(value: int, reference: int) -> int:
    """value / reference in steps of 2**-16, rounded down, within 0..1."""
    return floor(min(Fraction(1), max(Fraction(0), Fraction(value, reference))) * FULL)


def scored(
    cycle: int,
    units: list[Fields],
    tables: dict[int, Fields],
    references: list[Fields],
    params: Fields,
    job: Fields,
) -> Fields:
    """The Scored leaf."""
    some = next(iter(tables.values()))
    rows = [
        _row(
            cycle,
            units[said["unit"]],
            [table["rows"][place] for table in tables.values()],
            references,
            params,
            job,
        )
        for place, said in enumerate(some["rows"])
    ]
    return {
        "cycle": cycle,
        "evaluators": sorted(tables),
        "references": references,
        "rows": rows,
        "tickets_total": sum(row["tickets"] for row in rows),
        "contributions_root": tree([leaf(encode("ScoreRow", row)) for row in rows]),
    }


def _row(
    cycle: int,
    unit: Fields,
    told: list[Fields],
    references: list[Fields],
    params: Fields,
    job: Fields,
) -> Fields:
    agreed = {name: median([row[name] for row in told]) for name in ("valid", "gain", "advantage")}
    parameters = model.weights(model.segment(job, unit["segment"]))
    samples = unit["steps"] * job["batch_records"]
    reference = references[unit["segment"]]
    volume = floor(Fraction(parameters * samples, 2 ** params["volume_shift"]))
    c = agreed["valid"] * share(agreed["advantage"], reference["advantage"])
    q = agreed["valid"] * share(agreed["gain"], reference["gain"])
    return {
        "cycle": cycle,
        "unit": unit["unit"],
        "miner": unit["miner"],
        "segment": unit["segment"],
        "parameters": parameters,
        "samples": samples,
        **agreed,
        "volume": volume,
        "coverage": c,
        "quality": q,
        "tickets": min(floor(Fraction(volume * c * q, 2**32)), LARGEST),
    }


def next_references(before: list[Fields], rows: list[Fields], params: Fields) -> list[Fields]:
    """For the next cycle."""
    found = []
    for segment, old in enumerate(before):
        own = [row for row in rows if row["segment"] == segment and row["valid"]]
        new = {}
        for name in ("gain", "advantage"):
            positive = [row[name] for row in own if row[name] > 0]
            floor_ = params["reference_floor_micronats"]
            new[name] = max(floor_, median(positive)) if positive else old[name]
        found.append(new)
    return found


def drawn(randomness: bytes, rows: list[Fields], ranks_max: int) -> list[Fields]:
    """The ranks: tickets by miner, laid end to end by key; the one under the point leaves."""
    held: dict[bytes, int] = {}
    for row in rows:
        held[row["miner"]] = held.get(row["miner"], 0) + row["tickets"]
    left = {key: held[key] for key in sorted(held) if held[key]}
    stream, ranks = words("gristmill/lottery/v1", randomness), list[Fields]()
    while left and len(ranks) < ranks_max:
        point = below(stream, sum(left.values()))
        for key in left:
            if point < left[key]:
                break
            point -= left[key]
        ranks.append({"miner": key, "tickets": left.pop(key)})
    return ranks
