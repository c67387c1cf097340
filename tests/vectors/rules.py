"""Vectors of decisions: sampling, assignment, scores, lottery."""

from typing import Any

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.crypto.merkle import merkle_root
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable
from chain.rules import assignment, audits, scoring
from chain.rules.lottery import draw
from chain.rules.sampling import Stream, permutation, sample
from tests.vectors.cast import JOB, MINERS, PARAMS

SEED = sha256(b"seed")
BOUNDS = (1, 2, 10, 2**32, 2**63 - 1, 2**255 + 1)
CYCLE = 7
CAPACITIES = (9_999, 10_000, 25_000, 40_000, 10**12)  # of the miners; the first earns nothing


def sampling() -> dict[str, Any]:
    """One tag and seed: draws one after the other, a permutation, a sample."""
    stream = Stream("gristmill/lottery/v1", SEED)
    return {
        "tag": "gristmill/lottery/v1",
        "seed": SEED,
        "below": [{"bound": bound, "drawn": stream.below(bound)} for bound in BOUNDS],
        "permutation_of_12": permutation("gristmill/lottery/v1", SEED, 12),
        "sample_of_5": {
            "population": list(range(100, 112)),
            "chosen": sample("gristmill/lottery/v1", SEED, range(100, 112), 5),
        },
    }


def assignments() -> list[dict[str, Any]]:
    """Units for one unit a miner at most, for several, with more capacity than data, and where
    miners have proven something.
    """
    profiles = {
        miner.public_key: Profile(device=b"cpu", capacity=capacity, memory_bytes=1)
        for miner, capacity in zip(MINERS, CAPACITIES, strict=True)
    }
    found = []
    shown = {
        miner.public_key: Standing(units=units, segment=segment, cycle=CYCLE, barred_until=0)
        for miner, (units, segment) in zip(MINERS, ((2, 1), (0, 0), (1, 1)), strict=False)
    }
    for most, standings, newcomers in ((1, {}, 64), (3, {}, 64), (3, shown, 2), (3, shown, 64)):
        params = replace(PARAMS, units_per_miner_max=most, newcomer_units=newcomers)
        units = assignment.assign(SEED, profiles, standings, params, JOB)
        found.append(
            {
                "seed": SEED,
                "units_per_miner_max": most,
                "unit_capacity": params.unit_capacity,
                "job": JOB,
                "newcomer_units": newcomers,
                "standings": {
                    key.hex(): {"units": standings[key].units, "segment": standings[key].segment}
                    for key in sorted(standings)
                },
                "capacities": {key.hex(): profiles[key].capacity for key in sorted(profiles)},
                "units": units,
            }
        )
    return found


def data() -> dict[str, Any]:
    """Which records a chunk, the challenge batch and a unit's own test have."""
    params = replace(PARAMS, challenge_records=6, own_records=4, control_records=5)
    unit = WorkUnit(unit=5, miner=MINERS[0].public_key, segment=1, chunk=2, steps=JOB.steps)
    revealed = (0, 2, 3, 5, 8)
    chunk = assignment.chunk_records(SEED, JOB, 2)
    return {
        "seed": SEED,
        "job": JOB,
        "chunk": 2,
        "chunk_records": chunk,
        "challenge_count": params.challenge_records,
        "challenge_records": assignment.challenge_records(SEED, params, JOB),
        "own_count": params.own_records,
        "unit": 5,
        "own_records": assignment.own_records(SEED, 5, chunk, params),
        "control_count": params.control_records,
        "control_records": assignment.control_records(SEED, params, JOB),
        "assigned": unit,
        "training_seed": assignment.training_seed(SEED, unit),
        "revealed": revealed,
        "audits": [
            {
                "audit_share": share,
                "units": audits.audited_units(
                    SEED, revealed, replace(params, audit_share=share), JOB
                ),
            }
            for share in (0, 1, 1 << 15, 1 << 16)
        ],
    }


# Four replicas' (valid, gain, advantage) of each unit; the last replica lies.
MEASURED = (
    ((1, 350_000, 45_000), (1, 350_001, 44_999), (1, 349_999, 45_001), (1, 9_999_999, 9_999_999)),
    ((1, 700_001, 90_001), (1, 800_000, 100_000), (1, 900_000, 95_000), (0, 0, 0)),
    ((0, 0, 0), (0, 0, 0), (0, 0, 0), (1, 700_000, 90_000)),
    ((1, -1, 10), (1, -2, 11), (1, -3, 12), (1, -4, 13)),
    ((1, 123_457, 1), (1, 123_456, 2), (1, 123_455, 3), (1, 123_454, 4)),
)
UNITS = {
    unit: WorkUnit(
        unit=unit, miner=MINERS[unit % 3].public_key, segment=unit % 2, chunk=unit, steps=10
    )
    for unit in range(len(MEASURED))
}


AUDITED = (0, 3)
REPLAYS = {0: 65_500, 3: 50_000}
"""Cosines of the audited units; the second one is another update than its training gives."""


def scores() -> dict[str, Any]:
    """From tables to rows, tickets, the contributions root and the next references."""
    tables = {
        replica: EvaluationTable(
            cycle=CYCLE,
            rows=tuple(
                EvaluationRow(
                    unit=unit,
                    valid=said[0],
                    gain=said[1],
                    advantage=said[2],
                    norm=(1_000 + unit) * said[0],
                    replay=(REPLAYS[unit] - replica) * said[0] if unit in AUDITED else 0,
                )
                for unit, said in enumerate(told[replica] for told in MEASURED)
            ),
        )
        for replica in range(4)
    }
    references = tuple(
        replace(first, norm=norm)
        for first, norm in zip(scoring.initial_references(PARAMS, JOB), (0, 900), strict=True)
    )
    found = []
    # The last one: miner 0 stands alone for less than half of all, so everybody's tickets count.
    for counted, passed in (
        ((0, 1, 2, 3), (2, 1, 2)),
        ((0, 1, 3), (0, 2, 1)),
        ((1, 2, 3), (2, 0, 0)),
    ):
        agreed = scoring.agree({replica: tables[replica] for replica in counted})
        standings = {
            miner.public_key: Standing(units=1, segment=0, cycle=1, barred_until=0, passed=audits)
            for miner, audits in zip(MINERS[:3], passed, strict=True)
        }
        params = replace(PARAMS, trial_audits=2)
        rows = scoring.score(CYCLE, UNITS, agreed, references, params, JOB, AUDITED, standings)
        tickets = scoring.tickets_by_miner(rows)
        found.append(
            {
                "counted": counted,
                "passed": {miner.hex(): standings[miner].passed for miner in sorted(standings)},
                "agreed": agreed,
                "rows": rows,
                "struck": scoring.struck(UNITS, agreed, AUDITED, PARAMS),
                "tickets": {miner.hex(): tickets[miner] for miner in sorted(tickets)},
                "contributions_root": merkle_root([encode(row) for row in rows]),
                "next_references": scoring.next_references(references, rows, PARAMS),
            }
        )
    return {
        "job": JOB,
        "volume_shift": PARAMS.volume_shift,
        "reference_floor": PARAMS.reference_floor,
        "audited": AUDITED,
        "audit_cosine": PARAMS.audit_cosine,
        "trial_audits": 2,
        "references": references,
        "units": list(UNITS.values()),
        "tables": [tables[replica] for replica in range(4)],
        "results": found,
    }


def lotteries() -> list[dict[str, Any]]:
    """Draws of ranks; who has no ticket is not drawn."""
    held = {
        miner.public_key: weight for miner, weight in zip(MINERS, (5, 0, 1, 40, 7), strict=True)
    }
    great = {miner.public_key: 2**63 - 1 for miner in MINERS}
    cases = [(sha256(b"draw %d" % number), held, 8) for number in range(4)]
    cases += [(SEED, held, 2), (SEED, great, 3), (SEED, {}, 3)]
    return [
        {
            "randomness": randomness,
            "tickets": {miner.hex(): tickets[miner] for miner in sorted(tickets)},
            "ranks_max": ranks_max,
            "ranks": draw(randomness, tickets, ranks_max),
        }
        for randomness, tickets, ranks_max in cases
    ]
