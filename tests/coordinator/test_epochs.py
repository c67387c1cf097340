"""Where a replica votes when it begins: in the epoch of its state, or still in the one before."""

from msgspec.structs import replace

from bft.crypto.identity import PrivateKey
from bft.membership import Membership
from bft.ordering.proof import CommitSignature
from bft.pbft.config import Era
from bft.pbft.journal import Stabilised, encode_entry
from bft.pbft.messages import StableProof
from chain.records.federation import MemberRecord
from coordinator.cycle.state import State, opening_state
from coordinator.epochs import note, place
from tests.sim.world import World

KEYS = [PrivateKey(bytes([number]) * 32).public_key for number in range(1, 6)]
BOUNDARY = 32


def member(key: bytes) -> MemberRecord:
    """A record with this identity."""
    return MemberRecord(
        operator=b"one", key=key, tls_certificate=bytes(64), link=b"h:1", api=b"h:2"
    )


def states() -> tuple[State, State]:
    """The last state that names epoch 0, and that after its last batch; member 3 is replaced."""
    opening = opening_state(World(1).rules)
    before = replace(opening, members=tuple(map(member, KEYS[:4])), sequence=BOUNDARY - 1)
    after = replace(
        before,
        sequence=BOUNDARY,
        epoch=1,
        began=BOUNDARY,
        members=tuple(map(member, [*KEYS[:3], KEYS[4]])),
        former=tuple(KEYS[:4]),
    )
    return before, after


def stabilised(sequence: int) -> tuple[tuple[int, bytes], ...]:
    """A journal that holds the proof of a state."""
    proof = StableProof(
        sequence=sequence,
        state_root=bytes(32),
        chain=bytes(32),
        last=sequence,
        signatures=(CommitSignature(replica=0, signature=bytes(64)),),
    )
    return ((1, encode_entry(Stabilised(proof=proof))),)


def test_a_member_votes_in_the_epoch_of_its_state() -> None:
    before, _ = states()
    found = place(before, KEYS[2], (), {})
    assert found is not None
    assert (found.epoch.epoch, found.index, found.epoch.past) == (0, 2, ())
    assert found.own == member(KEYS[2])


def test_who_has_no_proof_of_the_end_still_belongs_to_the_epoch_before() -> None:
    """Others may need its vote for the last state, also one that leaves."""
    before, after = states()
    for key, index in ((KEYS[2], 2), (KEYS[3], 3)):
        found = place(after, key, (), {0: note(before)})
        assert found is not None and (found.epoch.epoch, found.index) == (0, index)


def test_with_the_proof_it_goes_on_in_the_next() -> None:
    before, after = states()
    records = stabilised(BOUNDARY)
    found = place(after, KEYS[2], records, {0: note(before)})
    assert found is not None and (found.epoch.epoch, found.index) == (1, 2)
    former = Membership(chain_id=after.transcript.chain_id, epoch=0, keys=tuple(KEYS[:4]))
    assert found.epoch.past == (Era(former, BOUNDARY),)
    assert place(after, KEYS[3], records, {0: note(before)}) is None


def test_without_it_a_batch_of_the_next_epoch_is_enough() -> None:
    before, after = states()
    over = replace(note(before), over=1)
    found = place(after, KEYS[2], (), {0: over})
    assert found is not None and found.epoch.epoch == 1
    assert place(after, KEYS[3], (), {0: over}) is None
    found = place(replace(after, sequence=BOUNDARY + 1), KEYS[2], (), {0: note(before)})
    assert found is not None and found.epoch.epoch == 1


def test_a_newcomer_begins_with_the_first_epoch_that_lists_it() -> None:
    before, after = states()
    assert place(before, KEYS[4], (), {}) is None
    found = place(after, KEYS[4], (), {0: note(before)})
    assert found is not None and (found.epoch.epoch, found.index) == (1, 3)
