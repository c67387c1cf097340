"""A winner that signs two blocks is out of the lottery, whenever the evidence comes."""

import copy
from functools import cache
from typing import TypeVar

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.audit.replay import audit
from chain.params import MINIMAL
from chain.records.block import CertifiedHeader, build_block, decode_block
from chain.records.certificate import BODY_BYTES, decode_certificate
from chain.records.commands import encode_commands
from chain.records.contribution import Standing
from chain.records.conviction import ShowEvidence, shown
from chain.records.evidence import equivocation
from chain.records.phase import Phase
from chain.records.profile import SIGNET
from chain.records.score_log import CloseReason, CycleClosed, Drawn, EvidenceShown, decode_leaf
from tests.chain.audit.mill import Mill, key, make_genesis
from tests.coordinator.cycle.refusals import assert_refused
from tests.oracle.replay import Replay

R = TypeVar("R", bound=Record)
BARRED = 2
STRANGER = key("somebody who saw both")


class Found(Mill):
    """A federation whose first winner signed two blocks, and nobody has shown it."""

    evidence: ShowEvidence
    culprit: PrivateKey


def caught(miners: int = 3) -> Found:
    """In BLOCK of cycle 1."""
    made = copy.copy(_caught(miners))
    made.clients, made.entries = made.clients.copy(), [*made.entries]
    return made


@cache
def _caught(miners: int) -> Found:
    params = replace(MINIMAL, barred_cycles=BARRED)
    mill = Found(make_genesis(params=params), miner_count=miners)
    mill.found().to_block()
    first, second = (decode_block(mill.block(late_s)).certified_header for late_s in (0, 1))
    mill.evidence = shown(equivocation(first, second))
    winner = first.certificate.winner
    mill.culprit = next(miner for miner in mill.miners if miner.public_key == winner)
    return mill


def final(mill: Found) -> Found:
    """Its block is final all the same, and the next cycle is open."""
    mill.witness()
    mill.sign()
    return mill


def check_log(mill: Found) -> None:
    """The auditor and the oracle come to the same."""
    assert audit(encode(mill.genesis), mill.entries).passed
    oracle = Replay(encode(mill.genesis), [(each.leaf, each.proof) for each in mill.entries]).mill
    told = {key: each.barred_until for key, each in mill.state.standings.items()}
    assert {key: each["barred_until"] for key, each in oracle.standings.items()} == told


def logged(mill: Found, kind: type[R]) -> list[R]:
    records = [decode_leaf(entry.leaf) for entry in mill.entries]
    return [record for record in records if isinstance(record, kind)]


def others(mill: Found) -> list[int]:
    return [index for index, miner in enumerate(mill.miners) if miner is not mill.culprit]


def test_anybody_may_show_it_and_the_key_is_barred_for_its_cycles() -> None:
    """PROTOCOL.md 7, Evidence: a leaf tells it; the bar counts from the certificate's cycle."""
    mill = final(caught())
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    name = mill.culprit.public_key
    assert logged(mill, EvidenceShown) == [
        EvidenceShown(cycle=1, height=1, rank=0, miner=name, barred_until=2 + BARRED)
    ]
    for cycle in (2, 3):
        assert mill.state.cycle == cycle
        assert_refused(mill, mill.culprit, mill.registration(), "barred")
        mill.time_out()
    assert mill.say(mill.culprit, mill.registration()) == ["accepted"]
    check_log(mill)


def test_nobody_waits_for_a_barred_veteran() -> None:
    mill = final(caught())
    assert mill.culprit.public_key in mill.state.veterans
    mill.register()
    assert mill.phase is Phase.TRAINING, "all are back"
    mill = final(caught())
    mill.say(STRANGER, mill.evidence)
    mill.register(others(mill))
    assert mill.phase is Phase.TRAINING, "all that may come back are"
    check_log(mill)


def test_its_registration_for_the_next_cycle_is_forgotten() -> None:
    mill = caught()
    mill.register()
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    assert mill.culprit.public_key not in mill.state.registrations
    final(mill).to_training()
    assert mill.culprit.public_key not in {unit.miner for unit in mill.state.units}
    check_log(mill)


def test_a_key_that_is_barred_before_the_scores_gets_no_tickets() -> None:
    """Its update may be good for the model all the same."""
    mill = final(caught()).to_evaluation()
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    name = mill.culprit.public_key
    mill.evaluate()
    scored = mill.state.scored
    assert scored is not None
    own = [row for row in scored.rows if row.miner == name]
    assert own and all(row.merit and not row.tickets for row in own)
    assert scored.tickets_total == sum(row.merit for row in scored.rows if row.miner != name)
    mill.sign()
    drawn = mill.state.drawn
    assert drawn is not None
    assert {rank.miner for rank in drawn.ranks} == {mill.miners[i].public_key for i in others(mill)}
    assert mill.state.standings[name] == Standing(
        units=0, segment=0, cycle=1, barred_until=2 + BARRED
    )
    mill.aggregate()
    mill.sign()
    final(mill)
    check_log(mill)


def test_if_only_barred_keys_worked_the_cycle_closes_without_a_draw() -> None:
    mill = final(caught(miners=1)).to_evaluation()
    mill.say(STRANGER, mill.evidence)
    mill.evaluate()
    assert (mill.phase, mill.state.cycle) == (Phase.REGISTRATION, 3)
    assert logged(mill, CycleClosed)[-1] == CycleClosed(cycle=2, reason=CloseReason.NO_TICKETS)
    assert [drawn.cycle for drawn in logged(mill, Drawn)] == [1]
    check_log(mill)


def test_evidence_between_scores_and_draw_changes_nothing_of_the_draw() -> None:
    """Whoever sees the draw's shares first would choose among draws by showing it, or not."""
    drawn = []
    for shows in (False, True):
        mill = final(caught()).to_evaluation()
        mill.evaluate()
        assert mill.phase is Phase.DRAW
        if shows:
            assert mill.say(STRANGER, mill.evidence) == ["accepted"]
        mill.sign()
        drawn.append(mill.state.drawn)
        if shows:
            assert_refused(mill, mill.culprit, mill.registration(), "barred")
        check_log(mill)
    assert drawn[0] is not None and drawn[0] == drawn[1]
    assert len(drawn[0].ranks) == len(mill.miners)


@pytest.mark.parametrize("phase", [Phase.AGGREGATION, Phase.BLOCK])
def test_a_draw_that_was_made_stands(phase: Phase) -> None:
    """The certificate of the running cycle is not asked back: nobody could say who has it."""
    mill = final(caught(miners=1)).to_aggregation()
    steps = {Phase.AGGREGATION: mill.aggregate, Phase.CERTIFICATION: mill.sign}
    while mill.phase is not phase:
        steps[mill.phase]()
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    while mill.phase is not Phase.BLOCK:
        steps[mill.phase]()
    final(mill)
    assert mill.state.tip.height == 2
    check_log(mill)


def test_one_key_is_barred_once_for_one_certificate() -> None:
    mill = caught()
    turned = replace(mill.evidence, first=mill.evidence.second, second=mill.evidence.first)
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    assert_refused(mill, STRANGER, turned, "twice")
    assert_refused(mill, key("another"), mill.evidence, "twice")


def test_evidence_is_refused_when_its_bar_would_be_over() -> None:
    mill = final(caught())
    mill.time_out()
    assert mill.state.cycle == 1 + BARRED
    assert_refused(mill, STRANGER, mill.evidence, "too-old")


def test_before_the_first_cycle_there_is_nothing_to_show() -> None:
    evidence = caught().evidence
    mill = Mill(make_genesis(params=replace(MINIMAL, barred_cycles=BARRED)))
    assert_refused(mill, STRANGER, evidence, "wrong-phase")


def test_what_convicts_nobody_is_refused() -> None:
    mill = caught()
    said = mill.evidence
    other_chain = bytearray(said.certificate)
    other_chain[1] ^= 1
    later = said.certificate[:37] + (2).to_bytes(8, "little") + said.certificate[45:]
    unsigned = said.certificate[:BODY_BYTES] + bytes(48)
    for changed, code in (
        (replace(said, certificate=bytes([9]) + said.certificate[1:]), "malformed"),
        (replace(said, certificate=bytes(other_chain)), "other-chain"),
        (replace(said, certificate=later), "wrong-cycle"),
        (replace(said, second=said.first), "one-block"),
        (replace(said, second=replace(said.second, time=0)), "bad-signature"),
        (replace(said, second=replace(said.second, reward=0)), "bad-signature"),
        (replace(said, second=replace(said.second, slot=1)), "bad-signature"),
        (replace(said, second=replace(said.second, branch=(bytes(32),))), "bad-signature"),
        (replace(said, second=replace(said.second, signature=bytes(64))), "bad-signature"),
        (replace(said, certificate=unsigned), "bad-signature"),  # each coinbase holds it
    ):
        assert_refused(mill, STRANGER, changed, code)
    check_log(mill)


def test_a_certificate_that_the_federation_did_not_sign_bars_nobody() -> None:
    """Whoever makes up certificates signs two blocks under one easily: for a key of its own."""
    mill = caught()
    body = mill.state.certificate[:BODY_BYTES]
    mill.state = mill.state.set(certificate=body + mill.state.certificate[BODY_BYTES:][::-1])
    first, second = (decode_block(mill.block(late_s)).certified_header for late_s in (0, 1))
    assert_refused(mill, STRANGER, shown(equivocation(first, second)), "bad-certificate")


def test_it_is_alone_in_its_request() -> None:
    """One request that was paid for costs the replicas one pairing, no more."""
    mill = caught()
    for records in ((mill.evidence,), (mill.registration(), mill.evidence)):
        operation = encode_commands(records)
        name = STRANGER.public_key
        sealed = seal_request(mill.rules.chain_id, name, 1, operation, STRANGER.sign)
        assert mill.order(sealed) == ["malformed"]
    assert not mill.state.registrations
    assert mill.say(STRANGER, mill.evidence) == ["accepted"]
    check_log(mill)


def test_blocks_of_a_signet_convict_as_well() -> None:
    """Their coinbases have a place for a solution, which no winner's signature covers."""
    mill = caught()
    certificate, _ = decode_certificate(mill.state.certificate)

    def signed(time: int) -> CertifiedHeader:
        draft = build_block(
            mill.state.certificate,
            time=time,
            subsidy=1,
            sign=mill.culprit.sign,
            winner=certificate.winner,
            profile=SIGNET,
        )
        return decode_block(draft).certified_header

    first, second = (signed(certificate.not_before + late_s) for late_s in (2, 3))
    evidence = shown(equivocation(first, second))
    assert (evidence.first.slot, mill.evidence.first.slot) == (1, 0)
    assert mill.say(STRANGER, evidence) == ["accepted"]
    check_log(mill)
