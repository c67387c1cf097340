"""Whatever the cycle machine does, the auditor's own fold derives the same leaves."""

import random

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from chain.audit.findings import AuditReport
from chain.audit.replay import audit
from chain.records.phase import Phase
from chain.records.score_log import Aggregated, decode_leaf, encode_leaf
from chain.records.votes import Elapsed
from tests.chain.audit.mill import JOB, Mill, make_genesis


def replayed(mill: Mill) -> AuditReport:
    return audit(encode(mill.genesis), mill.entries)


def test_a_log_of_whole_cycles_passes_and_is_summarised() -> None:
    mill = Mill().found()
    report = replayed(mill.cycle().cycle())
    assert report.passed and not report.findings
    assert report.log_root == mill.state.log.root
    assert report.entries == len(mill.entries) and report.sequences == mill.state.sequence
    assert [cycle.cycle for cycle in report.cycles] == [1, 2]
    for cycle in report.cycles:
        assert (cycle.closed, cycle.certificates, cycle.height) == ("block", 1, cycle.cycle)
        assert cycle.units == cycle.revealed == 3
        assert cycle.winner in [miner.public_key for miner in mill.miners]
        assert cycle.tickets is not None and 0 < cycle.tickets < cycle.tickets_total
    assert report.cycles[1].block == mill.state.tip.hash


def test_the_step_that_back_tracking_chose_follows_from_the_votes() -> None:
    """By the auditor's own reading; a leaf that names another step is a break."""
    job = replace(JOB, backtracking=2)
    mill = Mill(genesis=make_genesis(job=job)).found().to_aggregation()
    losses = {0: (9, 8, 7), 1: (9, 7, 8), 2: (9, 8, 8), 3: (0, 9, 9)}
    mill.all_say(lambda replica: mill.with_losses(replica, losses[replica]), range(4))
    mill.sign()
    report = replayed(mill)
    assert report.passed and not report.findings
    index, agreed = next(
        (entry.index, record)
        for entry in mill.entries
        if isinstance(record := decode_leaf(entry.leaf), Aggregated)
    )
    assert agreed.halvings == 1
    other = mill.with_losses(0, losses[0]).models[2]
    leaf = encode_leaf(replace(agreed, halvings=2, digest=other.digest))
    entries = [*mill.entries]
    entries[index] = replace(entries[index], leaf=leaf)
    assert not audit(encode(mill.genesis), entries).passed


def test_every_way_in_which_a_cycle_closes_follows() -> None:
    mill = Mill().found()
    mill.time_out()  # nobody registered
    mill.to_training().time_out()  # nobody committed
    mill.to_training().commit()
    mill.time_out()  # nobody revealed
    mill.to_evaluation().time_out()
    mill.time_out()  # no tables, even after the extension
    mill.to_evaluation().all_say(
        lambda replica: mill.table_of(replica, gain=0, advantage=0), range(4)
    )  # nobody earned a ticket
    mill.to_aggregation().time_out()
    mill.time_out()  # no model, even after the extension
    mill.to_block()
    while mill.phase is not Phase.REGISTRATION:  # no rank made a block
        mill.time_out()
        if mill.phase is Phase.CERTIFICATION:
            mill.sign()
    mill.cycle()
    report = replayed(mill)
    assert report.passed and not report.findings
    assert [cycle.closed for cycle in report.cycles] == [
        "no-miners",
        "no-reveals",
        "no-reveals",
        "no-quorum-of-tables",
        "no-tickets",
        "no-snapshot",
        "no-block",
        "block",
    ]
    assert report.cycles[6].certificates == 3 and report.cycles[6].rank == 2


def test_a_miner_that_dies_after_its_commitment_stops_nothing() -> None:
    mill = Mill().found()
    mill.to_training().commit()
    mill.reveal([0, 2])
    mill.time_out()
    mill.sign()
    mill.evaluate()
    mill.sign()
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    (cycle,) = replayed(mill).cycles
    assert (cycle.units, cycle.revealed, cycle.closed) == (3, 2, "block")


def test_a_voided_rank_hands_the_block_to_the_next() -> None:
    mill = Mill().found().to_block()
    mill.time_out()
    mill.sign()
    mill.witness()
    mill.sign()
    report = replayed(mill)
    assert report.passed
    (cycle,) = report.cycles
    assert (cycle.rank, cycle.certificates, cycle.closed) == (1, 2, "block")


def test_what_a_strong_quorum_measured_counts_when_the_time_is_over() -> None:
    mill = Mill().found().to_evaluation()
    mill.all_say(mill.table, (0, 1, 3))
    mill.time_out()
    assert mill.phase is Phase.DRAW
    assert replayed(mill).passed


def test_a_ceremony_that_takes_too_long_starts_anew() -> None:
    mill = Mill()
    mill.ceremony_round((0, 1, 2))
    mill.time_out((1, 2))
    assert mill.state.transcript.attempt == 1
    report = replayed(mill.found().cycle())
    assert report.passed and not report.findings


def test_agreed_time_never_goes_back() -> None:
    mill = Mill().found()
    mill.order(timestamp_ms=mill.now_ms - 500_000)
    mill.order(timestamp_ms=0)
    report = replayed(mill.cycle())
    assert report.passed


def test_a_request_that_is_ordered_twice_counts_once() -> None:
    mill = Mill().found()
    said = mill.elapsed()
    first = mill.request(mill.replicas[0], said)
    assert mill.order(first, first) == ["accepted", "executed-before"]
    assert replayed(mill).passed


def test_other_sizes_of_federation_follow_too() -> None:
    for replicas in (1, 7):
        mill = Mill(genesis=make_genesis(replicas)).found()
        report = replayed(mill.cycle())
        assert report.passed and report.cycles[0].closed == "block"


class Chaos:
    """Anybody says anything, at any time: mostly what is asked for, often not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.mill = Mill().found()

    def operations(self) -> list[tuple[PrivateKey, Record]]:
        mill, state, rng = self.mill, self.mill.state, self.random
        replica = rng.randrange(4)
        author = mill.replicas[replica]
        miner = rng.choice(mill.miners)
        said: list[tuple[PrivateKey, Record]] = [
            (
                author,
                Elapsed(cycle=state.cycle, phase=rng.randrange(14), attempt=rng.randrange(2)),
            ),
            (miner, mill.registration(rng.choice((0, 1)), rng.choice((20_000, 20_000, 1)))),
            (author, mill.table(replica)),
            (author, mill.lying_table(replica)),
            (author, mill.vote(replica)),
            (author, mill.vote(replica, rng.choice((None, sha256(b"other"))))),
        ]
        if rng.random() < 0.3:
            said += [(author, mill.elapsed())] * 2
        if mill.wanted() is not None:
            said += [(author, mill.share(replica))] * 8
        if mill.wanted() is not None and rng.random() < 0.2:
            said.append((author, mill.bad_share(replica)))
        for unit in state.units:
            said.append((mill.miner_of(unit), mill.commitment(unit)))
            said.append((mill.miner_of(unit), mill.opening(unit, rng.choice(((0, 1), (2, 2))))))
            said.append((miner, mill.opening(unit)))
        if state.phase == Phase.BLOCK:
            said += [(author, mill.seen())] * 4
            said.append((author, mill.seen(mill.block(rng.choice((1, 10_000)))[:80])))
        return said

    def step(self) -> None:
        requests, operations = [], self.operations()
        for _ in range(self.random.randrange(1, 6)):
            author, record = self.random.choice(operations)
            cseq = self.random.choice((None, None, None, self.random.randrange(1, 400)))
            requests.append(self.mill.request(author, record, cseq))
        self.mill.order(*requests)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_ordered_the_auditor_derives_what_the_machine_did(seed: int) -> None:
    chaos = Chaos(seed)
    for _ in range(120):
        chaos.step()
    report = replayed(chaos.mill)
    assert report.passed, report.to_text()
    assert report.log_root == chaos.mill.state.log.root
