"""One replica, step by step, where a whole federation would hide what it does."""

from dataclasses import dataclass, replace

from bft.codec.canonical import Record, decode
from bft.crypto.hashing import sha256
from bft.dkg.secrets import Secrets, for_session
from bft.ordering.request import open_request
from bft.pbft import events as pbft
from bft.pbft.config import Recovered
from bft.pbft.messages import ForwardedRequests, RequestBundle, open_message
from chain.bitcoin.ledger import Coin, Outpoint
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signing import Keyring, sign_input
from chain.records.block import build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.coinbase import pay_to_key
from chain.records.operations import decode_operation
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.records.votes import BlockSeen
from coordinator.cycle import duties
from coordinator.cycle.state import Phase, opening_state
from coordinator.effects import (
    BlockAccepted,
    BlockArrived,
    BlockRefused,
    Effect,
    Evaluate,
    Evaluated,
)
from coordinator.replica import RESUBMIT_MS, CoordinatorReplica, Duty
from tests.sim.miners import FOREVER, Habits
from tests.sim.world import BEGIN_WALL_MS, World

TICK_MS = 50


def alone(world: World, index: int) -> CoordinatorReplica:
    """A first start, with nobody to talk to."""
    secrets = for_session(opening_state(world.rules).transcript.session, bytes(32))
    return CoordinatorReplica(world.rules, world.hosts[index].config(), secrets, Recovered())


def forwarded(world: World, effects: list[Effect]) -> list[bytes]:
    """The requests that these effects pass on."""
    sent = [effect for effect in effects if isinstance(effect, pbft.Send)]
    messages = [open_message(send.message, world.rules.genesis.membership) for send in sent]
    return [
        request
        for found in messages
        if isinstance(found.message, ForwardedRequests)
        for request in decode(RequestBundle, found.attachment).requests
    ]


def asked(world: World, effects: list[Effect]) -> set[bytes]:
    """Digests of the requests that these effects pass on."""
    return {sha256(request) for request in forwarded(world, effects)}


def test_a_duty_is_submitted_at_once_and_anew_only_after_a_while() -> None:
    """Its request may have been lost with a dead primary; a flood of them would help nobody."""
    world = World(1000)
    replica = alone(world, 1)
    first: dict[bytes, int] = {}
    for now in range(0, 2 * RESUBMIT_MS, TICK_MS):
        for digest in asked(world, replica.step(pbft.Tick(), now, BEGIN_WALL_MS + now)):
            first.setdefault(digest, now)
    assert sorted(first.values()) == [0, RESUBMIT_MS]


def test_measurements_are_asked_for_once_and_again_after_a_restart() -> None:
    """The driver may take long; a restart forgets that it was asked."""
    world = World(1001)
    world.run_to(Phase.EVALUATION)
    host = world.up[0]
    again = host.build()
    steps = [again.step(pbft.Tick(), now, world.wall_ms + now) for now in (0, 50, 5_000)]
    found = [[e.measurement.cycle for e in effects if isinstance(e, Evaluate)] for effects in steps]
    assert found == [[1], [], []]


def test_a_result_that_comes_when_its_cycle_is_over_is_dropped() -> None:
    """Late workers cost nothing but their work."""
    world = World(1002)
    world.run_cycles(1)
    replica = world.up[0].build()
    effects = replica.step(Evaluated(cycle=1, rows=()), 0, world.wall_ms)
    assert asked(world, effects) == set()


def test_a_replica_votes_for_the_first_valid_block_and_stays_with_it() -> None:
    """Also when its vote has to be submitted anew after it saw the winner's second block."""
    world = World(1006, miners=(Habits(blocks_from=FOREVER),))
    world.run_to(Phase.BLOCK)
    host = next(host for host in world.up if host.replica.primary != host.index)
    replica, certificate = host.build(), host.settled.certificate
    not_before = decode_certificate(certificate)[0].not_before
    blocks = [
        build_block(
            certificate,
            time=not_before + later,
            subsidy=0,
            sign=world.miners[0].key.sign,
            winner=world.miners[0].name,
        )
        for later in (0, 1)
    ]
    effects: list[Effect] = []
    for block in blocks:
        effects += replica.step(BlockArrived(block), 0, world.wall_ms)
    assert [type(effect) for effect in effects if isinstance(effect, BlockAccepted)] == [
        BlockAccepted,
        BlockAccepted,
    ]
    for now in range(0, 2 * RESUBMIT_MS, TICK_MS):
        effects += replica.step(pbft.Tick(), now, world.wall_ms + now)
    requests = [open_request(data, world.rules.chain_id) for data in forwarded(world, effects)]
    operations = [decode_operation(request.operation) for request in requests]
    votes = [operation for operation in operations if isinstance(operation, BlockSeen)]
    assert {vote.header for vote in votes} == {decode_block(blocks[0]).header.encode()}
    assert len({request.cseq for request in requests}) > 1


@dataclass
class OneCoin:
    """After the block at `height` there is one coin."""

    height: int
    output: TxOut
    place: Outpoint = (bytes(31) + b"!", 0)

    def coin(self, outpoint: Outpoint) -> Coin | None:
        return Coin(self.output, 0, False) if outpoint == self.place else None

    def time(self, height: int) -> int:
        return 0


def test_a_block_that_spends_gets_a_vote_where_its_parents_coins_are_known() -> None:
    world = World(1007, miners=(Habits(blocks_from=FOREVER),))
    world.run_to(Phase.BLOCK)
    host = world.up[0]
    miner, certificate = world.miners[0], host.settled.certificate
    coins = OneCoin(0, TxOut(value=1_000, script=pay_to_key(miner.name)))
    entry = TxIn(previous=coins.place[0], index=0, script=b"")
    paid = TxOut(value=900, script=pay_to_key(miner.name))
    draft = Transaction(version=2, inputs=(entry,), outputs=(paid,), locktime=0)
    ring = Keyring([miner.key.secret])
    spend = replace(draft, inputs=(sign_input(SignatureHasher(draft), 0, coins.output, ring),))

    def answer(transaction: Transaction, held: OneCoin | None) -> str:
        block = build_block(
            certificate,
            time=decode_certificate(certificate)[0].not_before,
            subsidy=0,
            sign=miner.key.sign,
            winner=miner.name,
            transactions=(transaction,),
        )
        found = host.build().step(BlockArrived(block, held), 0, world.wall_ms)
        refused = [effect.code for effect in found if isinstance(effect, BlockRefused)]
        assert len(refused) + sum(isinstance(each, BlockAccepted) for each in found) == 1
        return refused[0] if refused else "accepted"

    assert answer(spend, coins) == "accepted"
    assert answer(draft, coins) == "witness-program-mismatch"
    assert answer(spend, None) == "coins-unknown"
    assert answer(spend, replace(coins, height=1)) == "coins-unknown"  # of another tip


def test_a_replica_that_lost_its_seed_says_nothing_that_needs_it() -> None:
    """It could not open what is dealt to it; the next attempt has a seed of its own."""
    world = World(1003)
    host = world.hosts[2]
    world.run_until(lambda: host.settled.transcript.keys_of(2) is not None, 10_000)
    host.crash()
    host.disk.secrets = Secrets()
    host.start()
    session = host.settled.transcript.session
    world.run_until(lambda: host.settled.transcript.session != session, 60_000)
    assert host.settled.transcript.missing == (host.key.public_key,)
    world.run_cycles(1, limit_ms=60_000)
    world.verdict()


class Careful(CoordinatorReplica):
    """Looks, at each duty that it does, whether the state asks for it at that moment."""

    def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:  # as its base
        assert duty in (
            *duties.duties(self.rules, self.state, self.index),
            *self._custody.duties(self.state),
        )
        return super()._fulfil(duty, started, now_ms)


def test_a_federation_of_one_does_no_duty_that_its_own_last_word_has_ended() -> None:
    """Its requests are executed as they are made, so one duty may void the next."""
    world = World(1010, replicas=1)
    (host,) = world.hosts
    host.crash()
    host.replica_class = Careful
    host.start()
    world.run_cycles(2)
    world.verdict()


def test_a_clock_that_was_set_back_an_hour_stops_no_duty() -> None:
    """Request numbers grow from the highest executed one, whatever the wall clock says (ADR 3)."""
    world = World(1004, replicas=1)
    world.run_cycles(1)
    (host,) = world.hosts
    host.crash()
    host.skew_ms -= 3_600_000
    host.start()
    world.run_cycles(2, limit_ms=10_000)
    world.verdict()
    assert world.state.tip.height == 2


def test_a_state_is_saved_at_each_checkpoint() -> None:
    """A restart needs the newest saved state and the batches after it, nothing else."""
    world = World(1005)
    world.run_cycles(1)
    host = world.up[0]
    interval = world.rules.params.checkpoint_interval
    saved = [state.sequence for state in host.disk.safe.states]
    batches = len(host.disk.safe.batches)
    newest = batches // interval * interval
    assert saved == [newest - interval, newest]
    assert [sequence for sequence, _ in host.disk.tail()] == list(range(newest + 1, batches + 1))
