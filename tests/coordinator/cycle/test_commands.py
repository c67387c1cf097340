"""Requests with several operations: each for itself, all in order, at most once; audited alike."""

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.audit.replay import audit
from chain.records.commands import Commands, encode_commands
from chain.records.contribution import Profile, Register, UpdateCommitment
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from tests.chain.audit.mill import Mill

PROFILE = Profile(device=b"cpu", capacity=10**12, memory_bytes=2**34)


def register(cycle: int = 1) -> Register:
    return Register(cycle=cycle, profile=PROFILE)


def early() -> UpdateCommitment:
    """Not in registration."""
    return UpdateCommitment(cycle=1, unit=0, commitment=bytes(32))


def sealed(mill: Mill, author: PrivateKey, cseq: int, operation: bytes) -> bytes:
    return seal_request(mill.rules.chain_id, author.public_key, cseq, operation, author.sign)


def codes(mill: Mill) -> list[str]:
    return [outcome.code for outcome in mill.answers[0].outcomes]


def assert_audited(mill: Mill) -> None:
    """The auditor's own fold finds the same."""
    report = audit(encode(mill.genesis), mill.entries)
    assert report.findings == ()


def test_each_operation_counts_for_itself_and_in_order() -> None:
    mill = Mill(miner_count=1).found()
    author = mill.miners[0]
    operation = encode_commands([early(), register(), register(), register(9)])
    assert mill.order(sealed(mill, author, 1, operation)) == ["mixed"]
    assert codes(mill) == ["wrong-phase", "accepted", "twice", "wrong-cycle"]
    assert mill.answers[0].sequence == mill.state.sequence
    assert list(mill.state.registrations) == [author.public_key]
    assert_audited(mill)


def test_a_request_of_which_one_operation_was_accepted_is_never_executed_again() -> None:
    mill = Mill(miner_count=1).found()
    author = mill.miners[0]
    request = sealed(mill, author, 1, encode_commands([early(), register()]))
    mill.order(request)
    state = mill.state
    assert mill.order(request) == ["executed-before"]
    assert codes(mill) == ["executed-before"], "one outcome for the whole"
    assert mill.state.registrations == state.registrations
    assert_audited(mill)


def test_a_request_all_of_whose_operations_were_refused_may_come_again() -> None:
    mill = Mill(miner_count=1).found()
    author = mill.miners[0]
    request = sealed(mill, author, 1, encode_commands([early(), early()]))
    assert mill.order(request, request) == ["wrong-phase", "wrong-phase"]
    assert mill.clients.fresh(author.public_key, 1)
    assert_audited(mill)


def test_a_phase_may_end_between_two_operations_of_one_request() -> None:
    """The replicas' word on time ends registration; the next operation meets the next phase."""
    mill = Mill(miner_count=1).found()
    mill.say(mill.miners[0], register())
    mill.to_training()
    units = len(mill.state.units)
    assert units
    commitments = [
        UpdateCommitment(cycle=1, unit=unit, commitment=bytes(32)) for unit in range(units)
    ]
    request = sealed(mill, mill.miners[0], 99, encode_commands([*commitments, commitments[0]]))
    mill.order(request)
    assert codes(mill) == ["accepted"] * units + ["wrong-phase"]
    assert mill.phase is Phase.REVEAL
    assert_audited(mill)


def test_malformed_parts_are_refused_one_by_one_and_a_malformed_whole_at_once() -> None:
    mill = Mill(miner_count=1).found()
    author = mill.miners[0]
    parts = (b"rubbish", encode_operation(Commands(operations=(b"nested",))))
    good = encode_operation(register())
    request = sealed(mill, author, 1, encode_operation(Commands(operations=(*parts, good))))
    mill.order(request)
    assert codes(mill) == ["malformed", "malformed", "accepted"]
    empty = sealed(mill, author, 2, encode_operation(Commands(operations=())))
    assert mill.order(empty) == ["malformed"]
    assert mill.clients.fresh(author.public_key, 2)
    assert_audited(mill)
