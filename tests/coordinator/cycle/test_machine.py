"""How the machine goes on: by deliveries, by time, and from a stored state as from a living one."""

from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.hashing import sha256
from bft.pbft.clients import ClientTable
from chain.records.evaluation import SnapshotVote
from chain.records.phase import Phase
from chain.records.score_log import Aggregated, CloseReason, CycleClosed, decode_leaf
from chain.rules.rounds import challenge_round, draw_round
from coordinator.cycle.state import State
from tests.chain.audit.mill import JOB, Mill, make_genesis


def records(mill: Mill) -> list[Record]:
    return [decode_leaf(entry.leaf) for entry in mill.entries]


def closed(mill: Mill) -> list[tuple[int, CloseReason]]:
    """(cycle, reason) of every cycle that ended."""
    return [
        (record.cycle, CloseReason(record.reason))
        for record in records(mill)
        if isinstance(record, CycleClosed)
    ]


# By deliveries.


def test_each_phase_ends_with_the_last_delivery_and_not_before() -> None:
    mill = Mill().found().to_training()
    mill.commit([0, 1])
    assert mill.phase is Phase.TRAINING
    mill.commit([2])
    assert mill.phase is Phase.REVEAL
    mill.reveal([0, 1])
    assert mill.phase is Phase.REVEAL
    mill.reveal([2])
    assert mill.phase is Phase.CHALLENGE
    mill.sign((0, 3))
    assert mill.phase is Phase.CHALLENGE
    mill.sign((1,))
    assert mill.phase is Phase.EVALUATION
    mill.all_say(mill.table, (0, 1, 2))
    assert mill.phase is Phase.EVALUATION
    mill.say(mill.replicas[3], mill.table(3))
    assert mill.phase is Phase.DRAW
    mill.sign()
    assert mill.phase is Phase.AGGREGATION
    mill.all_say(mill.vote, (0, 1))
    assert mill.phase is Phase.AGGREGATION
    mill.say(mill.replicas[2], mill.vote(2))
    assert mill.phase is Phase.CERTIFICATION
    mill.sign()
    assert mill.phase is Phase.BLOCK
    mill.say(mill.replicas[0], mill.seen())
    assert mill.phase is Phase.BLOCK
    mill.say(mill.replicas[3], mill.seen())
    assert mill.phase is Phase.FINALITY
    mill.sign()
    assert (mill.phase, mill.state.cycle) == (Phase.REGISTRATION, 2)
    assert closed(mill) == [(1, CloseReason.BLOCK)]


def test_the_next_cycle_starts_at_once_when_all_who_revealed_are_back() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.register([0, 1])  # for the next cycle, while this one runs
    mill.reveal()
    mill.sign()
    mill.evaluate()
    mill.sign()
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    assert (mill.phase, mill.state.cycle) == (Phase.REGISTRATION, 2)
    mill.register([2])
    assert mill.phase is Phase.TRAINING
    assert mill.state.registrations == {}


def test_a_miner_that_did_not_reveal_is_not_waited_for() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.reveal([0, 1])
    mill.time_out()
    alive = [mill.miners.index(mill.miner_of(unit)) for unit in mill.state.units[:2]]
    mill.sign()
    mill.evaluate()
    mill.sign()
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    mill.register(alive)
    assert (mill.phase, mill.state.cycle) == (Phase.TRAINING, 2)
    assert len(mill.state.units) == 2


def test_the_randomness_of_the_draw_seeds_the_next_assignment() -> None:
    mill = Mill().found()
    assert mill.state.randomness == mill.rules.chain_id
    mill.to_aggregation()
    assert mill.state.drawn is not None
    seed = mill.state.drawn.randomness
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    mill.to_training()
    assert mill.state.seed == seed


def test_beacon_rounds_of_different_cycles_never_meet() -> None:
    rounds = [
        number for cycle in range(1, 50) for number in (challenge_round(cycle), draw_round(cycle))
    ]
    assert len(set(rounds)) == len(rounds)


# By time.


def test_one_clock_is_not_enough_and_two_are() -> None:
    mill = Mill().found()
    mill.register()
    mill.time_out((3,))
    assert mill.phase is Phase.REGISTRATION
    mill.time_out((0,))
    assert mill.phase is Phase.TRAINING


def test_a_cycle_without_miners_is_closed_and_the_next_one_opens() -> None:
    mill = Mill().found()
    mill.time_out()
    assert closed(mill) == [(1, CloseReason.NO_MINERS)]
    assert (mill.phase, mill.state.cycle) == (Phase.REGISTRATION, 2)


def test_a_cycle_without_commitments_or_reveals_is_closed() -> None:
    mill = Mill().found().to_training()
    mill.time_out()
    mill.to_training().commit([1])
    mill.time_out()
    assert mill.phase is Phase.REVEAL
    mill.time_out()
    assert closed(mill) == [(1, CloseReason.NO_REVEALS), (2, CloseReason.NO_REVEALS)]
    assert mill.state.veterans == ()


def test_evaluation_is_extended_once_then_closed() -> None:
    mill = Mill().found().to_evaluation()
    mill.all_say(mill.table, (0, 1))
    mill.time_out()
    assert (mill.phase, mill.state.attempt, mill.state.elapsed) == (Phase.EVALUATION, 1, ())
    assert sorted(mill.state.tables) == [0, 1]  # what came stays
    mill.time_out()
    assert closed(mill) == [(1, CloseReason.NO_QUORUM_OF_TABLES)]


def test_a_strong_quorum_of_tables_is_scored_when_the_extension_has_brought_it() -> None:
    mill = Mill().found().to_evaluation()
    mill.all_say(mill.table, (0, 1))
    mill.time_out()
    mill.say(mill.replicas[2], mill.table(2))
    assert mill.phase is Phase.EVALUATION
    mill.time_out()
    assert mill.phase is Phase.DRAW
    assert mill.state.scored is not None and mill.state.scored.evaluators == (0, 1, 2)


def test_a_cycle_in_which_nobody_earned_a_ticket_is_closed_before_the_draw() -> None:
    mill = Mill().found().to_evaluation()
    mill.all_say(lambda replica: mill.table_of(replica, gain=-5_000, advantage=1), range(4))
    assert closed(mill) == [(1, CloseReason.NO_TICKETS)]
    assert mill.state.model == mill.rules.job.genesis_model


def test_models_that_do_not_agree_are_extended_once_then_closed() -> None:
    mill = Mill().found().to_aggregation()
    mill.all_say(lambda replica: mill.vote(replica, sha256(b"%d" % (replica % 2))), range(4))
    mill.time_out()
    assert mill.state.attempt == 1
    mill.time_out()
    assert closed(mill) == [(1, CloseReason.NO_SNAPSHOT)]
    assert mill.state.model == mill.rules.job.genesis_model


def test_each_rank_has_its_time_and_the_last_one_ends_the_cycle() -> None:
    mill = Mill().found().to_block()
    for rank in range(3):
        assert (mill.phase, mill.state.rank) == (Phase.BLOCK, rank)
        mill.time_out()
        if rank < 2:
            assert (mill.phase, mill.state.rank) == (Phase.CERTIFICATION, rank + 1)
            mill.sign()
    assert closed(mill) == [(1, CloseReason.NO_BLOCK)]
    assert mill.state.tip.height == 0
    assert mill.state.model == sha256(b"model 1")  # the training was not in vain


def test_votes_that_an_equivocating_winner_splits_make_no_block() -> None:
    mill = Mill().found().to_block()
    for replica in range(4):  # a block for each, by the winner's own hand
        mill.say(mill.replicas[replica], mill.seen(mill.block(replica)[:80]))
    assert mill.phase is Phase.BLOCK
    mill.time_out()
    assert (mill.phase, mill.state.rank) == (Phase.CERTIFICATION, 1)


def test_key_generation_that_takes_too_long_is_a_new_attempt_with_a_new_session() -> None:
    mill = Mill()
    session = mill.state.transcript.session
    mill.ceremony_round((0, 1, 2))
    mill.time_out()
    assert mill.state.transcript.missing == (mill.state.membership.keys[3],)
    assert mill.state.transcript.session != session
    assert mill.found().phase is Phase.REGISTRATION


# Stored states.


def test_a_replica_that_restarts_after_every_batch_comes_to_the_same_state() -> None:
    """Dictionaries come back in another order; nothing may depend on it."""

    class Restarting(Mill):
        def order(self, *requests: bytes, timestamp_ms: int | None = None) -> list[str]:
            codes = super().order(*requests, timestamp_ms=timestamp_ms)
            stored, clients = encode(self.state), self.clients.encode()
            self.state, self.clients = decode(State, stored), ClientTable.decode(clients)
            assert encode(self.state) == stored and self.clients.encode() == clients
            return codes

    living, restarting = Mill(), Restarting()
    for mill in (living, restarting):
        mill.found()
        for replica in (3, 1, 0, 2):  # not in the order of indices
            mill.say(mill.miners[replica % 3], mill.registration())
        mill.to_training().commit()
        mill.reveal()
        mill.sign((2, 0, 3))
        mill.all_say(mill.table, (3, 0, 2, 1))
        mill.sign((3, 2, 1))
        mill.all_say(mill.vote, (2, 3, 0))
        mill.sign((3, 1, 0))
        mill.witness()
        mill.sign()
    assert closed(living) == [(1, CloseReason.BLOCK)]
    assert living.entries == restarting.entries
    assert encode(living.state) == encode(restarting.state)
    assert living.clients.encode() == restarting.clients.encode()


def test_of_the_steps_tried_the_one_with_the_least_median_loss_is_agreed() -> None:
    """Replica 3 says that the full step is best by far; medians do not listen to one."""
    job = replace(JOB, backtracking=2)
    losses = {0: (500, 400, 410), 1: (505, 410, 400), 2: (510, 405, 405), 3: (0, 900, 900)}
    mill = Mill(genesis=make_genesis(job=job)).found().to_aggregation()
    mill.all_say(lambda replica: mill.with_losses(replica, losses[replica]), range(4))
    (agreed,) = [record for record in records(mill) if isinstance(record, Aggregated)]
    # Lower medians are 500, 405 and 405: of equal steps the larger one.
    assert agreed.halvings == 1
    assert agreed.digest == mill.state.model


def test_a_replica_with_another_halved_step_has_no_part_in_the_choice() -> None:
    job = replace(JOB, backtracking=1)
    mill = Mill(genesis=make_genesis(job=job)).found().to_aggregation()

    def vote(replica: int) -> SnapshotVote:
        said = mill.with_losses(replica, (5, 4) if replica else (1, 1_000))
        if replica:
            return said
        other = replace(said.models[1], digest=sha256(b"other"))
        return replace(said, models=(said.models[0], other))

    mill.all_say(vote, range(4))
    (agreed,) = [record for record in records(mill) if isinstance(record, Aggregated)]
    assert agreed.halvings == 1


def test_whatever_order_miners_come_in_the_state_stands_in_key_order() -> None:
    """One state has one encoding: also of what is sorted only once a batch."""
    mill = Mill().found()
    mill.register([2, 0, 1])
    mill.time_out()
    mill.commit([2, 0])
    assert list(mill.state.commitments) == [0, 2]
    mill.commit([1])
    mill.reveal([1, 0])
    assert list(mill.state.reveals) == [0, 1]
    mill.register([1, 2, 0])
    assert list(mill.state.registrations) == sorted(mill.state.registrations)
    assert len(mill.state.registrations) == 3
