"""Assignment, scores and the lottery: docs/PROTOCOL.md, sections 9 to 11, in fractions."""

from fractions import Fraction
from math import ceil, floor
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
    seed: bytes,
    profiles: dict[bytes, Fields],
    standings: dict[bytes, Fields],
    params: Fields,
    job: Fields,
) -> list[Fields]:
    """The cycle's units."""
    tag = "gristmill/assignment/order/v1"
    keys = sorted(profiles)
    order = [keys[place] for place in shuffled(tag, seed, len(keys))]
    places = min(UNITS_MAX, job["train_records"] // job["chunk_records"])
    entitled, beyond = {}, {}
    for key in keys:
        earned = units_earned(profiles[key], params)
        entitled[key] = min(earned, proven(standings, key))
        beyond[key] = earned - entitled[key]
    dealt = _dealt(order, entitled)[:places]
    dealt += _dealt(order, beyond)[: min(params["newcomer_units"], places - len(dealt))]
    segments = _segments(
        dealt, standings, below(words(f"{tag}/segment", seed), job["segments"]), job
    )
    return [
        {
            "unit": unit,
            "miner": miner,
            "segment": segments[unit],
            "chunk": unit,
            "steps": job["steps"],
        }
        for unit, miner in enumerate(dealt)
    ]


def proven(standings: dict[bytes, Fields], miner: bytes) -> int:
    """Units."""
    return int(standings[miner]["units"]) if miner in standings else 0


def passed(standings: dict[bytes, Fields], miner: bytes) -> int:
    """Audits."""
    return int(standings[miner]["passed"]) if miner in standings else 0


def barred_until(standings: dict[bytes, Fields], miner: bytes) -> int:
    """The first cycle that is open to it."""
    return int(standings[miner]["barred_until"]) if miner in standings else 0


def _dealt(order: list[bytes], each: dict[bytes, int]) -> list[bytes]:
    """One to each that has one left, round after round."""
    left, dealt = dict(each), list[bytes]()
    while any(left.values()):
        for key in order:
            if left[key]:
                left[key] -= 1
                dealt.append(key)
    return dealt


def _segments(
    dealt: list[bytes], standings: dict[bytes, Fields], first: int, job: Fields
) -> dict[int, int]:
    """Unit -> segment."""
    count, found = job["segments"], dict[int, int]()
    ring = [(first + place) % count for place in range(count)]
    room = {
        segment: len(dealt) // count + (place < len(dealt) % count)
        for place, segment in enumerate(ring)
    }
    for unit, miner in enumerate(dealt):
        if proven(standings, miner) and room[standings[miner]["segment"]]:
            found[unit] = standings[miner]["segment"]
            room[found[unit]] -= 1
    place = 0
    for unit in range(len(dealt)):
        if unit in found:
            continue
        while not room[ring[place % count]]:
            place += 1
        found[unit] = ring[place % count]
        room[found[unit]] -= 1
        place += 1
    return found


def standings_after(
    before: dict[bytes, Fields], units: list[Fields], scored: Fields, params: Fields
) -> dict[bytes, Fields]:
    """What the miners have proven, after a cycle's scores."""
    cycle, after = scored["cycle"], dict(before)
    paid = {row["unit"] for row in scored["rows"] if row["merit"]}
    for miner in sorted({unit["miner"] for unit in units}):
        if barred_until(before, miner) > cycle:
            continue
        own = [unit for unit in units if unit["miner"] == miner]
        good = [
            row
            for row in scored["rows"]
            if row["miner"] == miner and row["audited"] and row["valid"]
            and row["replay"] >= params["audit_cosine"]
        ]  # fmt: skip
        after[miner] = {
            "passed": min(params["trial_audits"], passed(before, miner) + len(good)),
            "units": sum(unit["unit"] in paid for unit in own),
            "segment": own[-1]["segment"],
            "cycle": cycle,
            "barred_until": 0,
        }
    for miner in scored["struck"]:
        until = cycle + 1 + params["barred_cycles"]
        after[miner] = {
            "units": 0,
            "segment": 0,
            "cycle": cycle,
            "barred_until": until,
            "passed": 0,
        }
    return {
        miner: each
        for miner, each in sorted(after.items())
        if each["barred_until"] > cycle + 1
        or (each["units"] + each["passed"] and cycle - each["cycle"] < params["standing_cycles"])
    }


def median(values: list[int]) -> int:
    """The lower one."""
    return sorted(values)[(len(values) - 1) // 2]


def first_references(params: Fields, job: Fields) -> list[Fields]:
    """Before any cycle."""
    gain, advantage = params["gain_reference_micronats"], params["advantage_reference"]
    return [{"gain": gain, "advantage": advantage, "norm": 0} for _ in range(job["segments"])]


def share(value: int, reference: int, most: int = 1) -> int:
    """value / reference in steps of 2**-16, rounded down, within 0..most."""
    return floor(min(Fraction(most), max(Fraction(0), Fraction(value, reference))) * FULL)


def audited(revealed: list[int], randomness: bytes, params: Fields, job: Fields) -> set[int]:
    """The units that replicas train themselves."""
    if job["compression"] == b"topk":
        return set()
    order = shuffled("gristmill/audit/v1", randomness, len(revealed))
    count = ceil(Fraction(len(revealed) * params["audit_share"], FULL))
    return {revealed[place] for place in order[:count]}


def scored(
    cycle: int,
    units: list[Fields],
    tables: dict[int, Fields],
    references: list[Fields],
    randomness: bytes,
    params: Fields,
    job: Fields,
    standings: dict[bytes, Fields],
) -> Fields:
    """The Scored leaf; `randomness` is that of round 2c, standings are those before the cycle."""
    revealed = [row["unit"] for row in next(iter(tables.values()))["rows"]]
    chosen = audited(revealed, randomness, params, job)
    rows = []
    for place, number in enumerate(revealed):
        told = [table["rows"][place] for table in tables.values()]
        rows.append(_row(cycle, units[number], told, references, number in chosen, params, job))
    struck = {
        row["miner"]
        for row in rows
        if row["audited"] and row["valid"] and row["replay"] < params["audit_cosine"]
    }
    for row in rows:
        if row["miner"] in struck:
            row["merit"] = 0
    miners = {row["miner"] for row in rows if barred_until(standings, row["miner"]) <= cycle}
    ready = {miner for miner in miners if passed(standings, miner) >= params["trial_audits"]}
    merit = {group: sum(row["merit"] for row in rows if row["miner"] in group)
             for group in (frozenset(miners), frozenset(ready))}  # fmt: skip
    if merit[frozenset(ready)] < Fraction(merit[frozenset(miners)], 2):
        ready = miners
    for row in rows:
        row["tickets"] = row["merit"] if row["miner"] in ready else 0
    return {
        "cycle": cycle,
        "evaluators": sorted(tables),
        "references": references,
        "rows": rows,
        "tickets_total": sum(row["tickets"] for row in rows),
        "contributions_root": tree([leaf(encode("ScoreRow", row)) for row in rows]),
        "struck": sorted(struck),
    }


def _row(
    cycle: int,
    unit: Fields,
    told: list[Fields],
    references: list[Fields],
    is_audited: bool,
    params: Fields,
    job: Fields,
) -> Fields:
    columns = ("valid", "gain", "advantage", "norm", "replay")
    agreed = {name: median([row[name] for row in told]) for name in columns}
    parameters = model.weights(model.segment(job, unit["segment"]))
    samples = unit["steps"] * job["batch_records"]
    reference = references[unit["segment"]]
    volume = floor(Fraction(parameters * samples, 2 ** params["volume_shift"]))
    c = agreed["valid"] * share(agreed["advantage"], reference["advantage"], 2)
    q = agreed["valid"] * share(agreed["gain"], reference["gain"])
    return {
        **agreed,
        "cycle": cycle,
        "unit": unit["unit"],
        "miner": unit["miner"],
        "segment": unit["segment"],
        "parameters": parameters,
        "samples": samples,
        "volume": volume,
        "coverage": c,
        "quality": q,
        "merit": min(floor(Fraction(volume * c * c * q, 2**48)), LARGEST),
        "cap": reference["norm"],
        "audited": int(is_audited),
        "replay": agreed["replay"] if is_audited else 0,
    }


def next_references(before: list[Fields], rows: list[Fields], params: Fields) -> list[Fields]:
    """For the next cycle: a quarter of the way to this cycle's medians."""
    found, least = [], params["reference_floor"]
    for segment, old in enumerate(before):
        paid = [row for row in rows if row["segment"] == segment and row["merit"]]
        good = [row["norm"] for row in paid if row["quality"] >= 2**15]
        new = {"norm": _moved(old["norm"], good) if old["norm"] or not good else median(good)}
        for name in ("gain", "advantage"):
            new[name] = max(least, _moved(old[name], [row[name] for row in paid]))
        found.append(new)
    return found


def _moved(before: int, measured: list[int]) -> int:
    return before + floor(Fraction(median(measured) - before, 4)) if measured else before


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
