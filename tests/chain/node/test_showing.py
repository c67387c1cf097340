"""What a node has against winners goes to every replica, once, and not when it is too late."""

import json

from bft.ordering.request import open_request
from chain.barring import judge
from chain.federation.transport import Reply
from chain.node.showing import SHOWN_PER_POLL_MAX, Showing
from chain.params import MINIMAL
from chain.records.conviction import ShowEvidence
from chain.records.evidence import Equivocation, equivocation
from chain.records.operations import decode_operation
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, START, WINNER, block_on

ONE, OTHER = "http://one", "http://other"
CYCLE = 1  # of START's certificates


def against(rank: int = 0) -> Equivocation:
    """Two blocks under the certificate of this rank."""
    first, twin = (block_on(START, rank=rank, time=START.time + late) for late in (10, 11))
    return equivocation(first.certified_header, twin.certified_header)


def said(status: int, code: str) -> Reply:
    return Reply(status, json.dumps({"code": code}).encode())


def made() -> Showing:
    return Showing(CHAIN_ID, MINIMAL)


def test_all_replicas_get_the_same_bytes_and_they_convict() -> None:
    """So it is ordered once, whoever takes it."""
    showing, winners = made(), (against(),)
    ((certificate, sealed),) = showing.due(ONE, winners, CYCLE)
    assert showing.due(OTHER, winners, CYCLE) == ((certificate, sealed),)
    operation = decode_operation(open_request(sealed, CHAIN_ID).operation)
    assert isinstance(operation, ShowEvidence)
    told = judge(
        operation,
        federation_key=FEDERATION_KEY,
        chain_id=CHAIN_ID,
        cycle=CYCLE,
        standings={},
        params=MINIMAL,
    )
    assert (told.miner, told.cycle, told.height) == (WINNER.public_key, CYCLE, 1)


def test_a_replica_that_has_answered_is_not_asked_again() -> None:
    winners = (against(),)
    for status, code in ((200, "accepted"), (409, "twice"), (409, "too-old"), (422, "malformed")):
        showing = made()
        ((certificate, _),) = showing.due(ONE, winners, CYCLE)
        verdict = showing.settle(ONE, certificate, said(status, code))
        assert verdict is not None and verdict.code == code
        assert showing.due(ONE, winners, CYCLE) == ()
        assert showing.due(OTHER, winners, CYCLE), "one replica's word is no other's"


def test_one_that_cannot_take_it_yet_is_asked_again() -> None:
    showing, winners = made(), (against(),)
    ((certificate, sealed),) = showing.due(ONE, winners, CYCLE)
    replies = [said(202, "pending"), said(409, "wrong-cycle"), said(503, "busy"), Reply(200, b"?")]
    for reply in replies:
        assert showing.settle(ONE, certificate, reply) is None
    assert showing.due(ONE, winners, CYCLE) == ((certificate, sealed),)


def test_what_bars_nobody_any_more_is_not_shown() -> None:
    last = CYCLE + MINIMAL.barred_cycles - 1
    assert made().due(ONE, (against(),), last)
    assert not made().due(ONE, (against(),), last + 1)


def test_much_evidence_goes_out_little_by_little() -> None:
    showing = made()
    winners = tuple(against(rank) for rank in range(SHOWN_PER_POLL_MAX + 1))
    first = showing.due(ONE, winners, CYCLE)
    assert len(first) == SHOWN_PER_POLL_MAX
    for certificate, _ in first:
        showing.settle(ONE, certificate, said(200, "accepted"))
    ((_, sealed),) = showing.due(ONE, winners, CYCLE)
    assert sealed not in {each for _, each in first}
