"""Whatever a lying replica and any number of miners get ordered, every replica lives, and goes on.

An operation that made `execute` raise would stop all replicas at once and for good, because each
of them meets it again in its journal.
"""

import copy
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare, sign_share
from bft.errors import FederationError
from bft.ordering.request import seal_request
from chain.audit.replay import audit
from chain.params import MINIMAL
from chain.records.membership import Propose
from chain.records.operations import (
    MEMBERSHIP_OPERATIONS,
    MINER_OPERATIONS,
    PUBLIC_OPERATIONS,
    REPLICA_OPERATIONS,
    encode_operation,
)
from chain.records.phase import Phase
from chain.records.score_log import ENTRY_BYTES_MAX, decode_leaf, encode_leaf
from chain.records.votes import SignatureShare
from coordinator.cycle.phases.membership import Stage
from coordinator.cycle.phases.signing import asked
from coordinator.cycle.state import State
from tests.chain.audit import epochs
from tests.chain.audit.mill import Mill, key, make_genesis, make_member
from tests.fuzz.records import sample

HONEST = (0, 1, 2)
LIAR = 3
MINERS = 4
DILIGENT = (0, 1)  # miners; the others say what comes to their minds
KINDS = (*PUBLIC_OPERATIONS, *MINER_OPERATIONS, *REPLICA_OPERATIONS, *MEMBERSHIP_OPERATIONS)
EXTREMES = (0, 1, 2**8 - 1, 2**16 - 1, 2**32 - 1, 2**63 - 1, -1, -(2**63))
SKEW_MS = 10_000  # correct backups hold a proposal that is further ahead of their clocks
STEPS_MAX = 40  # within which the honest alone end any cycle
STATIONS = ("KEYS", "DEALING", "COMPLAINT", *(phase.name for phase in Phase if phase))


@cache
def _stations() -> dict[str, Mill]:
    """One federation on its way through the first cycle, at every stop."""
    mill = Mill(miner_count=MINERS)
    steps: tuple[Callable[[], object], ...] = (
        mill.ceremony_round,
        mill.ceremony_round,
        mill.ceremony_round,
        mill.sign,
        mill.to_training,
        mill.commit,
        mill.reveal,
        mill.sign,
        mill.evaluate,
        mill.sign,
        mill.aggregate,
        mill.sign,
        mill.witness,
        mill.sign,
    )
    found = {}
    for name, step in zip(STATIONS, steps, strict=True):
        assert mill.phase is Phase.KEYGEN or mill.phase.name == name
        found[name] = _copy(mill)
        step()
    return found


def _copy(mill: Mill) -> Mill:
    other = copy.copy(mill)
    other.clients, other.entries = mill.clients.copy(), []
    return other


def _aimed(mill: Mill, record: Record, random: Random) -> Record:
    """The record with some fields as this moment wants them, and perhaps one at an extreme."""
    state = mill.state
    wanted = asked(mill.rules, state)
    apt: dict[str, object] = {
        "cycle": state.cycle,
        "phase": state.phase,
        "attempt": state.attempt,
        "rank": state.rank,
        "unit": random.randrange(MINERS + 1),
        "session": _session(state),
        "proposal": bytes(32) if state.change is None else state.change.proposal.digest,
        "epoch": state.epoch + isinstance(record, Propose),
        "dealer": random.randrange(5),
        "records": mill.rules.job.heldout_records,
    }
    if wanted is not None:
        apt |= {"purpose": int(wanted.purpose), "subject": wanted.subject}
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    for name in fields:
        if name in apt and random.random() < 0.9:
            fields[name] = apt[name]
        if isinstance(fields[name], int) and random.random() < 0.1:
            fields[name] = random.choice(EXTREMES)
    return type(record)(**fields)


def _session(state: State) -> bytes:
    """Of the resharing, if one is under way."""
    change = state.change
    if change is None or change.transcript is None:
        return state.transcript.session
    return change.transcript.session


def _due(mill: Mill, author: int) -> list[Record]:
    """What an honest replica or a diligent miner could say in this phase."""
    state = mill.state
    units = [unit for unit in state.units if unit.miner == mill.miners[author].public_key]
    match mill.phase:
        case Phase.KEYGEN:
            return list(mill.owed(author))
        case Phase.REGISTRATION:
            return [mill.registration()]
        case Phase.TRAINING:
            return [mill.commitment(unit) for unit in units]
        case Phase.REVEAL:
            return [mill.opening(unit) for unit in units]
        case Phase.EVALUATION:
            return [mill.table(author)]
        case Phase.AGGREGATION:
            return [mill.vote(author)]
        case Phase.BLOCK:
            return [mill.seen()]
    return [_share(mill, author)]


def _share(mill: Mill, replica: int) -> SignatureShare:
    wanted = asked(mill.rules, mill.state)
    assert wanted is not None
    share = sign_share(_key_share(encode(mill.state.transcript), replica), wanted.message)
    return SignatureShare(
        purpose=int(wanted.purpose),
        subject=wanted.subject,
        rank=wanted.rank,
        epoch=wanted.epoch,
        share=share,
    )


@cache
def _key_share(transcript: bytes, replica: int) -> KeyShare:
    mill = Mill()
    mill.state = mill.state.set(transcript=decode(type(mill.state.transcript), transcript))
    return mill.key_share(replica)


def _anything(mill: Mill, random: Random) -> bytes:
    """A request of somebody who may say whatever is possible."""
    authors = [*mill.miners[len(DILIGENT) :], key("stranger"), key("replica 5")]
    if len(mill.replicas) > LIAR:
        authors.append(mill.replicas[LIAR])
    author = random.choice(authors)
    return _sealed(mill, author, _operation(mill, random), random)


def _operation(mill: Mill, random: Random) -> bytes:
    if random.random() < 0.1:
        return random.randbytes(random.randrange(60))
    due: list[Record] = []
    if random.random() < 0.6:
        with suppress(FederationError):  # the liar may have lost its place in the ceremony
            due = _due(mill, LIAR)
    said = random.choice(due) if due else sample(random.choice(KINDS), random.randrange(100))
    operation = encode_operation(_aimed(mill, said, random))
    if random.random() < 0.1:
        place = random.randrange(len(operation))
        operation = operation[:place] + random.randbytes(1) + operation[place + 1 :]
    return operation


def _sealed(mill: Mill, author: PrivateKey, operation: bytes, random: Random) -> bytes:
    following = mill.clients.high(author.public_key) + 1
    number = min(2**63 - 1, following) if random.random() < 0.9 else random.choice((0, 2**63 - 1))
    chain_id = mill.rules.chain_id
    return seal_request(chain_id, author.public_key, number, operation, author.sign)


def _check(mill: Mill, before: int) -> None:
    """The state and every new leaf can be stored and read again."""
    assert decode(State, encode(mill.state)) == mill.state
    for entry in mill.entries[before:]:
        assert len(entry.leaf) <= ENTRY_BYTES_MAX
        assert encode_leaf(decode_leaf(entry.leaf)) == entry.leaf


def _go_on(mill: Mill) -> None:
    """The honest say what they owe; if nothing came of it, their clocks end the phase."""
    place = _place(mill)
    for replica in HONEST:
        if mill.phase in (Phase.REGISTRATION, Phase.TRAINING, Phase.REVEAL):
            break
        if _place(mill) == place:
            mill.say(mill.replicas[replica], *_due(mill, replica))
    for miner in DILIGENT:
        if mill.phase in (Phase.REGISTRATION, Phase.TRAINING, Phase.REVEAL):
            mill.say(mill.miners[miner], *_due(mill, miner))
    if _place(mill) == place:
        mill.time_out(HONEST)


def _place(mill: Mill) -> tuple[int, int, int]:
    return mill.state.cycle, mill.state.phase, mill.state.attempt


@pytest.mark.parametrize("station", STATIONS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_nothing_that_is_ordered_stops_a_replica_or_the_mill(station: str, seed: int) -> None:
    """One of four replicas and half of the miners say anything; the honest end the cycle."""
    random, mill = Random(seed), _copy(_stations()[station])
    founded = mill.phase is not Phase.KEYGEN
    for _ in range(4):
        before = len(mill.entries)
        requests = [_anything(mill, random) for _ in range(random.randrange(6))]
        stamp = random.choice((0, mill.now_ms, mill.now_ms + SKEW_MS))
        mill.order(*requests, timestamp_ms=stamp)
        if random.random() < 0.3:
            _go_on(mill)
        _check(mill, before)
    cycle = mill.state.cycle
    for _ in range(STEPS_MAX * founded):  # founding alone waits for all replicas
        if mill.state.cycle > cycle:
            break
        _go_on(mill)
    assert mill.state.cycle > cycle or not founded
    _check(mill, 0)


CHANGES = ("NONE", "PROPOSED", "KEYS", "DEALING", "COMPLAINT", "PROOF", "ACTIVATION", "ENDING")
QUICK = make_genesis(params=replace(MINIMAL, checkpoint_interval=4, window=8))
NEXT = (0, 1, 2, 4, 5)
"""The members of the next epoch: 3 leaves, 4 and 5 join; 3 and 5 say anything."""


@cache
def _changes() -> dict[str, Mill]:
    """One federation on its way into the next epoch, at every stop."""
    mill = Mill(genesis=QUICK, miner_count=MINERS).found()
    steps: tuple[Callable[[], object], ...] = (
        lambda: epochs.propose(mill, NEXT),
        lambda: epochs.approve(mill, (1, 2)),
        lambda: epochs.session_round(mill),
        lambda: epochs.session_round(mill),
        lambda: epochs.session_round(mill),
        lambda: epochs.prove(mill),
        lambda: epochs.activate(mill),
        lambda: None,
    )
    found = {}
    for name, step in zip(CHANGES, steps, strict=True):
        found[name] = copy.copy(mill)
        found[name].clients, found[name].entries = mill.clients.copy(), list(mill.entries)
        step()
    return found


def _change_on(mill: Mill) -> None:
    """What the honest say of a change; their clocks, if it is not enough."""
    before = mill.state
    match epochs.standing(mill):
        case Stage.PROPOSED if mill.state.change is not None:
            given = mill.state.change.approvals
            epochs.approve(mill, [index for index in HONEST if index not in given])
        case Stage.RESHARING:
            epochs.session_round(mill, {make_member(n).key for n in (3, 5)})
            if epochs.standing(mill) is Stage.RESHARING:
                epochs.session_elapsed(mill, HONEST)
        case Stage.PROOF:
            epochs.prove(mill, (0, 1, 2, 3))
        case Stage.ACTIVATION:
            epochs.activate(mill, HONEST)
    if mill.state is before:
        mill.order(timestamp_ms=0)


@pytest.mark.parametrize("station", CHANGES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_nothing_that_is_ordered_stops_a_change_of_members(station: str, seed: int) -> None:
    """One member and one joiner say anything; the next epoch comes, and the auditor agrees."""
    random, mill = Random(seed), copy.copy(_changes()[station])
    mill.clients, mill.entries = mill.clients.copy(), list(mill.entries)
    for _ in range(4):
        before = len(mill.entries)
        mill.order(*(_anything(mill, random) for _ in range(random.randrange(6))))
        if random.random() < 0.3:
            _change_on(mill)
        _check(mill, before)
    for _ in range(2 * STEPS_MAX):
        if mill.state.epoch > 0:
            break
        # A liar's own proposal may have been withdrawn, or stand in the way.
        if epochs.standing(mill) is Stage.NONE and epochs.propose(mill, NEXT) == ["miner"]:
            return  # the joiner has taken up mining: it cannot join, and the epoch goes on
        _change_on(mill)
    assert mill.state.epoch == 1
    report = audit(encode(QUICK), mill.entries)
    assert report.passed, report.to_text()
