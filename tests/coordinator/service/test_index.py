"""Answers about past cycles follow from the log and can be checked by strangers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.identity import PrivateKey
from bft.crypto.merkle import leaf_hash, merkle_root, verify_inclusion
from bft.ordering.batch import Batch
from bft.ordering.request import seal_request
from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, ScoreRow
from chain.records.federation import FederationKey, MemberRecord
from chain.records.operations import encode_operation
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BeaconRound,
    CloseReason,
    CycleClosed,
    Drawn,
    KeyActivated,
    Ordered,
    Rank,
    Revealed,
    Scored,
)
from chain.rules.rounds import challenge_round
from coordinator.effects import Append
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.reader import JournalReader

CHAIN = b"c" * 32
KEYS = [PrivateKey(bytes([number] * 32)) for number in (1, 2, 3, 4)]
MINERS = [PrivateKey(bytes([number] * 32)).public_key for number in (11, 12)]
CYCLE = 5
LIE = 500_000


def score_row(unit: int) -> ScoreRow:
    return ScoreRow(
        cycle=CYCLE,
        unit=unit,
        miner=MINERS[unit % 2],
        segment=0,
        parameters=10,
        samples=20,
        valid=1,
        gain=100,
        advantage=50,
        volume=200,
        coverage=1,
        quality=1,
        tickets=7,
    )


ROWS = tuple(score_row(unit) for unit in range(3))
UNITS = tuple(
    WorkUnit(unit=row.unit, miner=row.miner, segment=0, chunk=row.unit, steps=1) for row in ROWS
)
SCORED = Scored(
    cycle=CYCLE,
    evaluators=(0, 1, 2, 3),
    references=(),
    rows=ROWS,
    tickets_total=21,
    contributions_root=merkle_root([encode(row) for row in ROWS]),
    struck=(),
)


def table(replica: int, cseq: int = 1, lie: int = 0, units: int = 3) -> bytes:
    """One replica's signed table; a liar's gains are off by `lie`."""
    rows = tuple(
        EvaluationRow(unit=unit, valid=1, gain=100 + lie, advantage=50) for unit in range(units)
    )
    operation = encode_operation(EvaluationTable(cycle=CYCLE, rows=rows))
    key = KEYS[replica]
    return seal_request(CHAIN, key.public_key, cseq, operation, key.sign)


def activated(epoch: int, keys: list[PrivateKey], boundary: int) -> KeyActivated:
    """How an epoch with these members begins."""
    members = tuple(
        MemberRecord(
            operator=b"operator",
            key=key.public_key,
            tls_certificate=bytes(64),
            link=b"127.0.0.1:1",
            api=b"127.0.0.1:2",
        )
        for key in keys
    )
    made = FederationKey(
        chain_id=CHAIN,
        epoch=epoch,
        members=members,
        commitments=(bytes(96),),
        qualified=(),
        activation=bytes(48),
    )
    return KeyActivated(federation_key=made, boundary=boundary)


class Writer:
    """Appends batches to a journal, as the runtime does."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._sequence, self._index = journal, 0, 0

    def add(self, requests: tuple[bytes, ...], *derived: Record) -> None:
        self._sequence += 1
        batch = encode(Batch(timestamp_ms=self._sequence, requests=requests))
        ordered = Ordered(sequence=self._sequence, agreed_ms=self._sequence, batch=batch)
        records = (ordered, *derived)
        self._journal.commit(
            [
                Append(
                    sequence=self._sequence,
                    batch=batch,
                    proof=b"proof",
                    first_index=self._index,
                    records=records,
                )
            ]
        )
        self._index += len(records)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[LogIndex]:
    """A cycle in which replica 3 lies, and replica 2's first table does not fit."""
    journal = Journal(tmp_path / "journal.db", CHAIN, KEYS[0].public_key)
    writer = Writer(journal)
    writer.add((), activated(0, KEYS, 0))
    number = challenge_round(CYCLE)
    writer.add((), Assigned(cycle=CYCLE, seed=bytes(32), base=bytes(32), units=UNITS))
    writer.add((), Revealed(cycle=CYCLE, units=(0, 1, 2)))
    writer.add((), BeaconRound(round=number, signature=bytes(48)))
    writer.add((table(0), table(2, units=2), table(3, lie=LIE)))
    drawn = Drawn(cycle=CYCLE, randomness=bytes(32), ranks=(Rank(miner=MINERS[0], tickets=14),))
    writer.add((table(2, cseq=2), table(1)), SCORED, drawn)
    writer.add((table(1, cseq=3, lie=LIE),))  # too late to count
    step = Aggregated(
        cycle=CYCLE, digest=bytes(32), halvings=0, loss=400_000, correct=300, records=357
    )
    writer.add((), step, CycleClosed(cycle=CYCLE, reason=int(CloseReason.NO_BLOCK)))
    writer.add((), activated(1, KEYS[::-1], 8))  # later, and so in another order
    journal.close()
    reader = JournalReader(tmp_path / "journal.db")
    found = LogIndex(reader, MINIMAL)
    yield found
    found.close()
    reader.close()


async def test_a_cycles_summary_tells_what_the_log_holds(index: LogIndex) -> None:
    told = await index.cycle(CYCLE)
    assert told is not None
    assert told["closed"] == "no-block"
    assert told["revealed"] == [0, 1, 2]
    assert [unit["miner"] for unit in told["assigned"]["units"]] == [
        row.miner.hex() for row in ROWS
    ]
    assert told["scored"]["tickets_total"] == 21
    assert told["drawn"]["ranks"] == [{"miner": MINERS[0].hex(), "tickets": 14}]
    assert told["aggregated"]["loss"] == 400_000
    assert told["block"] is None and told["certificates"] == [] and told["voided"] == []


async def test_who_measured_otherwise_is_named(index: LogIndex) -> None:
    """Of each replica the first fitting table before the scores counts, as it did in the cycle."""
    told = await index.cycle(CYCLE)
    assert told is not None
    assert told["deviations"] == [
        {"replica": 3, "unit": unit, "micronats": LIE} for unit in range(3)
    ]


async def test_epochs_are_found_by_number_within_bounds(index: LogIndex) -> None:
    both = (activated(0, KEYS, 0), activated(1, KEYS[::-1], 8))
    assert await index.epochs(0, 64, 10**6) == both
    assert await index.epochs(0, 1, 10**6) == both[:1]
    assert await index.epochs(0, 64, 1) == both[:1]  # at least one
    assert await index.epochs(1, 64, 10**6) == both[1:]
    assert await index.epochs(2, 64, 10**6) == ()


async def test_an_unknown_cycle_has_no_summary(index: LogIndex) -> None:
    assert await index.cycle(CYCLE + 1) is None
    assert [line["cycle"] for line in await index.overview(1, 100)] == [CYCLE]


async def test_a_contribution_is_proven_under_the_root(index: LogIndex) -> None:
    told = await index.contribution(CYCLE, MINERS[0])
    assert told is not None and told["size"] == 3
    assert [row["index"] for row in told["rows"]] == [0, 2]
    for row in told["rows"]:
        leaf = bytes.fromhex(row["row"])
        proof = [bytes.fromhex(hashed) for hashed in row["proof"]]
        root = bytes.fromhex(told["root"])
        verify_inclusion(leaf_hash(leaf), row["index"], told["size"], proof, root)
        assert decode(ScoreRow, leaf) == ROWS[row["index"]]


async def test_a_miner_without_a_score_has_no_contribution(index: LogIndex) -> None:
    assert await index.contribution(CYCLE, b"\x02" * 33) is None
    assert await index.contribution(CYCLE + 1, MINERS[0]) is None


async def test_each_miner_gets_its_own_part_of_assignment_and_scores(index: LogIndex) -> None:
    """All else in the record stays, so that replicas give it alike and it can be checked."""
    assigned, scored = await index.assigned_parts(CYCLE), await index.scored_parts(CYCLE)
    assert assigned is not None and scored is not None
    whole = await index.newest(Assigned, "assigned", CYCLE)
    assert whole is not None
    for number, miner in enumerate(MINERS):
        units, rows = UNITS[number::2], ROWS[number::2]
        assert assigned.of(miner) == replace(whole, units=units)
        assert scored.of(miner) == replace(SCORED, rows=rows)
    assert assigned.of(b"\x02" * 33) == replace(whole, units=())
    assert scored.of(b"\x02" * 33) == replace(SCORED, rows=())
    assert await index.assigned_parts(CYCLE + 1) is None
    assert await index.scored_parts(CYCLE + 1) is None


async def test_what_is_found_twice_is_equal(index: LogIndex) -> None:
    first = await index.newest(Scored, "scored", CYCLE)
    assert first == await index.newest(Scored, "scored", CYCLE) == SCORED
    assert await index.newest(Scored, "scored", CYCLE + 1) is None
    assert replace(SCORED, cycle=CYCLE + 1) != first
