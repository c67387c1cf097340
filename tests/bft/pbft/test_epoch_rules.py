"""Where an epoch ends, what its journal says, and who is answered: the rules behind scenario 78."""

from dataclasses import replace

import pytest

from bft.codec.canonical import decode, encode
from bft.errors import BadSignature, ConfigError, DecodeError
from bft.ordering.batch import NULL_BATCH, NULL_DIGEST
from bft.ordering.proof import QuorumProof
from bft.pbft import amnesia, journal
from bft.pbft.certificates import Verifier
from bft.pbft.checkpoint import Checkpoints, chain_start
from bft.pbft.config import Config, Era
from bft.pbft.epoch import boundary
from bft.pbft.events import Decided, Event, Learned, Received, Send
from bft.pbft.log import Log
from bft.pbft.messages import Frame, Stable, StableProof, Status, claimed_epoch, open_signed
from bft.pbft.past import open_frame
from bft.pbft.replica import Recovered, Replica
from bft.pbft.view_change import check_view_change
from tests.bft.pbft.cluster import WALL_0
from tests.bft.pbft.federation import Federation
from tests.bft.pbft.identities import CHAIN, membership, signer
from tests.bft.pbft.makers import D1, D2, checkpoint, commit, signed, view_change, votes
from tests.bft.pbft.test_epochs import ADDED, OLD, REPLACED, federation, moves, works

FIRST = 24
BEFORE = Era(membership(0, OLD), FIRST)


def config(machines: tuple[int, ...] = ADDED, index: int = 0) -> Config:
    return Config(
        membership=membership(1, machines),
        index=index,
        sign=signer(machines[index]),
        past=(BEFORE,),
        checkpoint_interval=8,
        window=16,
    )


def steps(replica: Replica, *events: Event, now: int = 1_000) -> list[object]:
    return [effect for event in events for effect in replica.step(event, now, WALL_0 + now)]


def began(machines: tuple[int, ...] = ADDED, index: int = 0) -> Replica:
    """A replica that was a member before, at the beginning of epoch 1."""
    records = ((1, journal.encode_entry(journal.Stabilised(proof=ending()))),)
    return Replica(config(machines, index), Recovered(records=records, executed=FIRST))


def ending() -> StableProof:
    """The proof of the last state of epoch 0."""
    return StableProof(
        sequence=FIRST,
        chain=D2,
        state_root=D1,
        last=FIRST,
        signatures=votes(*(checkpoint(FIRST, i, last=FIRST) for i in (0, 1, 2))),
    )


def status(machine: int, *, low: int = 8, epoch: int = 0) -> Status:
    return Status(
        chain_id=CHAIN,
        epoch=epoch,
        view=3,
        pending_view=3,
        wished_view=3,
        low=low,
        decided=low,
        helper=0,
        slots=(),
        replica=machine,
    )


# where an epoch ends


def test_an_epoch_ends_at_the_first_checkpoint_that_nobody_can_have_passed() -> None:
    assert [boundary(s, interval=8, window=16) for s in (1, 8, 9, 16)] == [24, 24, 32, 32]
    for sequence in range(1, 100):
        last = boundary(sequence, interval=8, window=16)
        assert last % 8 == 0 and sequence + 16 <= last < sequence + 24


def test_nothing_lies_beyond_the_end_of_an_epoch() -> None:
    log = Log(16, 8)
    assert log.holds(24) and not log.holds(25)
    log.last = 16
    assert log.high == 16 and log.holds(16) and not log.holds(17)


def test_checkpoints_that_differ_in_the_end_of_the_epoch_are_different() -> None:
    kept = Checkpoints(membership(0, OLD), 8, 16)
    kept.add(signed(checkpoint(8, 0, last=24)))
    kept.add(signed(checkpoint(8, 1, last=0)))
    assert kept.add(signed(checkpoint(8, 2, last=24))) is None
    proof = kept.add(signed(checkpoint(8, 3, last=24)))
    assert proof is not None and proof.last == 24


def test_each_epoch_has_a_chain_of_its_own() -> None:
    chains = {chain_start(membership(e, OLD), e * 8) for e in range(4)}
    chains.add(chain_start(membership(1, OLD), 16))
    assert len(chains) == 5 and CHAIN in chains


def test_a_view_change_goes_back_to_where_its_epoch_began_and_no_further() -> None:
    verifier = Verifier(membership(0, OLD))

    def check(low: int, *, proven: bool) -> None:
        made = view_change(1, 0, low=8)
        assert made.stable[0].sequence == 8
        changed = type(made)(
            chain_id=made.chain_id,
            epoch=made.epoch,
            view=1,
            low=low,
            stable=made.stable if proven else (),
            prepared=(),
            replica=0,
        )
        check_view_change(changed, verifier, window=16, interval=8, first=8)

    check(8, proven=False)
    for low, proven in ((8, True), (0, False), (16, False)):
        with pytest.raises(DecodeError):
            check(low, proven=proven)


@pytest.mark.parametrize(
    "past",
    [(), (Era(membership(1, OLD), 24),), (Era(membership(0, OLD), 20),), (BEFORE, BEFORE)],
    ids=["none", "not before", "no checkpoint", "twice"],
)
def test_a_configuration_that_follows_no_epoch_is_refused(past: tuple[Era, ...]) -> None:
    with pytest.raises(ConfigError):
        replace(config(), past=past)


# journals


def test_a_journal_goes_on_in_the_next_epoch_and_forgets_the_votes_of_the_one_before() -> None:
    """Scenario 78: records of epoch 0 do not restrict epoch 1, and its proof is kept."""
    cluster = federation()
    works(cluster)
    before = {number for number, _ in cluster.nodes[0].journal}
    moves(cluster, ADDED)
    records = cluster.nodes[0].journal
    memory = journal.recall(tuple(records), membership(1, ADDED), cluster.ends[0])
    assert memory.began is not None and memory.ended is not None
    assert memory.ended.sequence == cluster.ends[0] == memory.ended.last
    assert not before & set(memory.first_lsn.values())
    assert journal.has_ended(records, cluster.ends[0])
    with pytest.raises(ConfigError, match="a later one"):
        journal.recall(tuple(records), membership(0, OLD))


def test_an_epoch_begins_where_the_one_before_ended() -> None:
    with pytest.raises(ConfigError, match="the journal does not know it"):
        Replica(config(), Recovered(executed=FIRST + 1))
    with pytest.raises(ConfigError, match="below"):
        Replica(config(), Recovered(executed=FIRST - 1))


def test_an_epoch_has_not_ended_without_the_proof_of_its_last_state() -> None:
    reached = journal.Reached(envelope=signed(checkpoint(FIRST, 0)).envelope)
    lines = [(1, journal.encode_entry(reached))]
    assert not journal.has_ended(lines, FIRST)
    lines.append((2, journal.encode_entry(journal.Stabilised(proof=ending()))))
    assert journal.has_ended(lines, FIRST)
    assert not journal.has_ended(lines, FIRST + 8)


def test_who_forgot_its_votes_of_an_epoch_is_free_in_the_next() -> None:
    forgot = (1, journal.encode_entry(journal.Forgot(reason=b"its disk was lost")))
    assert amnesia.forgotten((forgot,)) == "its disk was lost"
    begun = journal.Began(epoch=1, first=FIRST, opened=2, proof=())
    assert amnesia.forgotten((forgot, (2, journal.encode_entry(begun)))) is None
    again = (3, journal.encode_entry(journal.Forgot(reason=b"and again")))
    assert amnesia.forgotten((forgot, (2, journal.encode_entry(begun)), again)) == "and again"


# who is answered


def test_a_late_member_of_the_epoch_before_gets_the_proof_and_not_too_often() -> None:
    replica = began()
    late = signed(status(3))
    sent = [e for e in steps(replica, Received(late)) if isinstance(e, Send)]
    found = [open_signed(decode(Frame, s.message).envelope, BEFORE.membership) for s in sent]
    assert [type(f.message) for f in found] == [Stable, Status]
    assert all(f.message.epoch == 0 and f.sender == 0 for f in found)
    assert [s.to for s in sent] == [3, 3]
    answer = found[1].message
    assert isinstance(answer, Status) and answer.low == answer.decided == FIRST
    assert steps(replica, Received(late), now=1_100) == []
    assert steps(replica, Received(late), now=2_000) != []


def test_nobody_else_is_answered() -> None:
    """Who needs nothing, who is no member any more, and by whom that was none."""
    nothing = signed(status(3, low=FIRST))
    assert not any(isinstance(e, Send) for e in steps(began(), Received(nothing)))
    leaver = signed(status(3))
    assert not any(isinstance(e, Send) for e in steps(began(REPLACED), Received(leaver)))
    joiner = Replica(config(ADDED, 4), Recovered(executed=FIRST))
    assert not any(isinstance(e, Send) for e in steps(joiner, Received(signed(status(3)))))


def test_frames_of_two_epochs_come_in_and_no_others() -> None:
    now, listed = config(), membership(1, ADDED)
    own = signed(status(3, epoch=1), listed).frame
    assert open_frame(own, now).message.epoch == 1
    past = signed(status(3)).frame
    assert open_frame(past, now).message.epoch == 0
    later = signed(status(3, epoch=2), membership(2, ADDED)).frame
    with pytest.raises(DecodeError):
        open_frame(later, now)
    assert claimed_epoch(later) == 2
    assert claimed_epoch(b"noise") is None
    stranger = signed(status(4), membership(0, (0, 1, 2, 3, 7))).frame
    with pytest.raises(BadSignature):
        open_frame(stranger, now)


# what is learned elsewhere


def test_a_batch_counts_by_its_proof_wherever_it_was_found() -> None:
    cluster = Federation(4)
    cluster.split({0}, {1, 2, 3})
    replica = cluster.nodes[0].replica
    assert replica is not None
    proof, other = (
        QuorumProof(view=0, signatures=votes(*(commit(0, 1, digest, i) for i in (1, 2, 3))))
        for digest in (NULL_DIGEST, D1)
    )

    def learn(sequence: int, given: QuorumProof) -> list[object]:
        data = encode(given)
        effects = steps(replica, Learned(sequence=sequence, batch=NULL_BATCH, proof=data))
        return [e for e in effects if isinstance(e, Decided)]

    assert learn(1, other) == []
    assert learn(2, proof) == []
    assert len(learn(1, proof)) == 1
    assert learn(1, proof) == []
