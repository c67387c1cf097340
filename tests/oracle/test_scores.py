"""A cycle's scores, references and standings, derived a second time: docs/PROTOCOL.md, 9 and 10."""

from random import Random

import pytest
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.contribution import Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References
from chain.rules.audits import audited_units
from chain.rules.scoring import agree, next_references, score, struck
from chain.rules.standing import next_standings
from tests.chain.audit.mill import JOB, key
from tests.oracle import scores
from tests.oracle.test_assignment import fields, plain

CYCLE = 7
KEYS = sorted(key(f"miner {number}").public_key for number in range(6))


def some_units(random: Random) -> tuple[WorkUnit, ...]:
    return tuple(
        WorkUnit(
            unit=unit,
            miner=random.choice(KEYS),
            segment=random.randrange(JOB.segments),
            chunk=unit,
            steps=random.randint(1, 50),
        )
        for unit in range(random.randint(1, 12))
    )


def some_table(random: Random, revealed: list[int]) -> EvaluationTable:
    return EvaluationTable(
        cycle=CYCLE,
        rows=tuple(
            EvaluationRow(
                unit=unit,
                valid=random.choice((0, 1, 1, 1)),
                gain=random.choice((random.randint(-(2**31), 2**31 - 1), random.randint(0, 10**6))),
                advantage=random.randint(-(2**16), 2**16),
                norm=random.choice((0, random.randrange(2**32), random.randrange(2**12))),
                replay=random.choice((0, 60_000, 65_000, 2**16)),
            )
            for unit in revealed
        ),
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_cycles_scores_and_what_follows_from_them(seed: int) -> None:
    random = Random(seed)
    params = replace(
        MINIMAL,
        volume_shift=random.choice((0, 10)),
        audit_share=random.choice((0, 2_000, 30_000, 2**16)),
        audit_cosine=random.choice((0, 64_000)),
        barred_cycles=random.randint(0, 5),
        trial_audits=random.choice((0, 0, 1, 2)),
        standing_cycles=random.randint(1, 5),
    )
    job = replace(JOB, compression=b"topk", keep=100, value_bits=4) if seed % 7 == 0 else JOB
    units, randomness = some_units(random), random.randbytes(32)
    revealed = sorted(random.sample(range(len(units)), random.randint(1, len(units))))
    tables = {replica: some_table(random, revealed) for replica in range(random.randint(3, 7))}
    references = tuple(
        References(
            gain=random.randint(1, 10**6),
            advantage=random.randint(1, 2**16),
            norm=random.choice((0, 500)),
        )
        for _ in range(job.segments)
    )
    before = {
        miner: Standing(
            units=random.randint(0, 3),
            segment=random.randrange(2),
            passed=random.randint(0, 2),
            cycle=random.randint(1, CYCLE),
            barred_until=random.choice((0, 0, CYCLE, CYCLE + 1, CYCLE + 3)),
        )
        for miner in random.sample(KEYS, 3)
    }

    by_unit, agreed = {unit.unit: unit for unit in units}, agree(tables)
    chosen = audited_units(randomness, revealed, params, job)
    rows = score(CYCLE, by_unit, agreed, references, params, job, chosen, before)
    caught = struck(by_unit, agreed, chosen, params)

    told = {replica: plain(table) for replica, table in tables.items()}
    expected = scores.scored(
        CYCLE,
        [plain(unit) for unit in units],
        told,
        [plain(each) for each in references],
        randomness,
        plain(params),
        plain(job),
        {miner: fields(each) for miner, each in before.items()},
    )
    assert [plain(row) for row in rows] == [
        {name: row[name] for name in plain(rows[0])} for row in expected["rows"]
    ]
    assert list(caught) == expected["struck"]
    after = next_references(references, rows, params)
    assert [plain(each) for each in after] == [
        {name: each[name] for name in ("gain", "advantage", "norm")}
        for each in scores.next_references(expected["references"], expected["rows"], plain(params))
    ]
    standings = next_standings(CYCLE, before, units, rows, caught, params)
    plainly = {miner: fields(each) for miner, each in before.items()}
    dealt = [plain(unit) for unit in units]
    assert {miner: fields(each) for miner, each in standings.items()} == scores.standings_after(
        plainly, dealt, expected, plain(params)
    )
