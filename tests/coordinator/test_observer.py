"""An observer takes what a quorum decided, from anybody, and nothing else."""

import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.errors import BadSignature, DecodeError
from bft.ordering.proof import QuorumProof
from chain.records.score_log import LogEntry, Ordered, decode_leaf, encode_leaf
from coordinator.application import Application, resume
from coordinator.effects import Append, SaveState
from coordinator.observer import Observer
from tests.sim.world import World


@pytest.fixture(scope="module")
def world() -> World:
    """A federation that has closed some cycles."""
    found = World(480)
    found.run_cycles(3)
    return found


@pytest.fixture(scope="module")
def log(world: World) -> tuple[LogEntry, ...]:
    """A member's score log, as it serves it."""
    return world.hosts[0].disk.log()


@pytest.fixture
def observer(world: World) -> Observer:
    """One that knows nothing but the genesis record."""
    return Observer(Application(world.rules))


def first_ordered(log: tuple[LogEntry, ...], sequence: int) -> LogEntry:
    """The entry of a batch."""
    for entry in log:
        ordered = decode_leaf(entry.leaf)
        if isinstance(ordered, Ordered) and ordered.sequence == sequence:
            return entry
    raise AssertionError(f"no batch {sequence}")


def test_an_observer_derives_the_log_that_the_members_have(
    world: World, log: tuple[LogEntry, ...], observer: Observer
) -> None:
    derived = []
    for entry in log:
        for effect in observer.take(entry):
            if isinstance(effect, Append):
                derived += [encode_leaf(record) for record in effect.records]
    assert derived == [entry.leaf for entry in log]
    assert observer.wanted == len(log)


def test_it_goes_on_from_what_it_saved(
    world: World, log: tuple[LogEntry, ...], observer: Observer
) -> None:
    """States are saved where members save theirs, and lead to the same."""
    effects = [effect for entry in log for effect in observer.take(entry)]
    saved = [effect for effect in effects if isinstance(effect, SaveState)]
    assert len(saved) > 1
    assert all(one.sequence % world.rules.params.checkpoint_interval == 0 for one in saved)
    tail = [
        (effect.sequence, effect.batch)
        for effect in effects
        if isinstance(effect, Append) and effect.sequence > saved[-1].sequence
    ]
    assert resume(world.rules, saved[-1].state, tail).state == observer.state


def test_what_it_knows_changes_nothing(log: tuple[LogEntry, ...], observer: Observer) -> None:
    first = first_ordered(log, 1)
    assert observer.take(first)
    before = observer.state
    assert observer.take(first) == []
    assert observer.state is before


def test_a_hole_is_refused(log: tuple[LogEntry, ...], observer: Observer) -> None:
    with pytest.raises(DecodeError, match="batch 2 came; 1 is next"):
        observer.take(first_ordered(log, 2))


def test_nothing_counts_without_a_quorum(log: tuple[LogEntry, ...], observer: Observer) -> None:
    """A proof of fewer, of another batch, with a changed signature, or none at all."""
    entry, before = first_ordered(log, 1), observer.state
    proof = decode(QuorumProof, entry.proof)
    fewer = encode(replace(proof, signatures=proof.signatures[1:]))
    with pytest.raises(DecodeError, match="2 commit signatures came; 3 expected"):
        observer.take(replace(entry, proof=fewer))
    with pytest.raises(BadSignature):
        observer.take(replace(entry, proof=first_ordered(log, 2).proof))
    signature = proof.signatures[0]
    forged = replace(
        signature, signature=bytes([signature.signature[0] ^ 1]) + signature.signature[1:]
    )
    with pytest.raises(BadSignature):
        observer.take(
            replace(entry, proof=encode(replace(proof, signatures=(forged, *proof.signatures[1:]))))
        )
    assert observer.take(replace(entry, proof=b"")) == []
    assert observer.state is before


def test_another_batch_under_a_good_proof_is_refused(
    log: tuple[LogEntry, ...], observer: Observer
) -> None:
    entry = first_ordered(log, 1)
    ordered = decode_leaf(entry.leaf)
    other = decode_leaf(first_ordered(log, 2).leaf)
    assert isinstance(ordered, Ordered) and isinstance(other, Ordered)
    swapped = encode_leaf(replace(ordered, batch=other.batch))
    with pytest.raises(BadSignature):
        observer.take(replace(entry, leaf=swapped))


def test_a_derived_leaf_with_a_proof_is_refused(
    log: tuple[LogEntry, ...], observer: Observer
) -> None:
    derived = next(entry for entry in log if not entry.proof)
    with pytest.raises(DecodeError, match="no ordered batch"):
        observer.take(replace(derived, proof=b"x"))
