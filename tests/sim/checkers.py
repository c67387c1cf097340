"""What must hold in every run: checked at each step, and once more over the whole run.

A check that fails raises at the spot, with the seed's world as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bft.codec.canonical import Record, encode
from bft.crypto.merkle import root_of_hashes
from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft import events as pbft
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    ViewChange,
    claimed_epoch,
)
from chain.audit.findings import AuditReport
from chain.audit.replay import audit
from chain.node.coins import CoinTable
from chain.records.block import block_hash
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.score_log import (
    BlockFinal,
    Certified,
    CloseReason,
    CycleClosed,
    Drawn,
    KeyActivated,
    encode_leaf,
    hash_leaf,
)
from chain.validation import (
    ParentView,
    genesis_view,
    validate_block,
    verify_certificate,
    verify_finality,
)
from coordinator.cycle.state import Phase, Rules
from coordinator.effects import Append, BlockRefused, Effect, Evaluate, MakeSnapshot, SaveState
from tests.chain.coins_fixture import coins_from

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World


class Broken(AssertionError):
    """A promise of the protocol does not hold."""


class Visit(NamedTuple):
    """A phase that a replica stood in at the end of a step."""

    cycle: int
    phase: Phase
    rank: int


class Checkers:
    """The memory of all checks in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leaves: list[bytes] = []  # of the one score log
        self._states: dict[int, bytes] = {}  # sequence -> fingerprint of the state after it
        self._saved: dict[int, bytes] = {}  # sequence -> saved application
        self._proofs: set[tuple[int, bytes]] = set()  # verified
        self._votes: dict[tuple[int, int, str, int, int], bytes] = {}  # whose, what, where -> said
        self._safe_lsn: dict[int, int] = {}  # replica -> durable through
        self._seen: dict[int, int] = {}  # replica -> sequence when last looked at
        self._asked: set[tuple[int, int, str, int]] = set()
        self.eras = [(0, world.genesis.membership)]  # (the last sequence before it, who decides)
        self.visits: set[Visit] = set()
        self.refused: list[tuple[int, str]] = []  # (replica, code) of refused blocks
        self.accused: set[int] = set()

    # At each step.

    def started(self, host: Host) -> None:
        """A restart gives the very state that replicas without one had at that sequence."""
        self._seen[host.index] = -1
        self._safe_lsn[host.index] = max(host.disk.safe.records, default=0)
        if host.correct and host.replica.state.sequence != host.disk.executed:
            raise Broken(f"replica {host.index} restarted at another sequence than its disk's")
        self._look(host)

    def stepped(self, host: Host, effects: Sequence[Effect]) -> None:
        """Nobody correct halts or accuses a correct replica; equal states at equal sequences."""
        for effect in effects:
            if isinstance(effect, BlockRefused):
                self.refused.append((host.index, effect.code))
            if isinstance(effect, Evaluate):
                self._once(host, "Evaluate", effect.measurement.cycle)
            if isinstance(effect, MakeSnapshot):
                self._once(host, "MakeSnapshot", effect.step.cycle)
            if not host.correct:
                continue
            if isinstance(effect, pbft.Halt):
                raise Broken(f"replica {host.index} halted: {effect.reason}")
            if isinstance(effect, pbft.Accuse):
                culprit = self._world.machines[host.member.members.keys[effect.culprit]]
                self.accused.add(culprit)
                if self._world.hosts[culprit].correct:
                    raise Broken(f"correct replica {culprit} accused: {effect.text}")
            if isinstance(effect, SaveState):
                self._agree(self._saved, effect.sequence, effect.state, "saved application")
        self._look(host)

    def _once(self, host: Host, what: str, cycle: int) -> None:
        asked = (host.index, host.life, what, cycle)
        if asked in self._asked:
            raise Broken(f"replica {host.index} asked for {what} of cycle {cycle} twice")
        self._asked.add(asked)

    def _look(self, host: Host) -> None:
        state = host.replica.state
        if not host.correct or state.sequence == self._seen[host.index]:
            return
        self._seen[host.index] = state.sequence
        fingerprint = host.fingerprint()
        self._agree(self._states, state.sequence, fingerprint, "state")
        self.visits.add(Visit(state.cycle, Phase(state.phase), state.rank))
        self._world.trace.note(self._world.now, "state", host.index, fingerprint)

    def _agree(self, book: dict[int, bytes], sequence: int, found: bytes, what: str) -> None:
        if book.setdefault(sequence, found) != found:
            raise Broken(f"two {what}s at sequence {sequence}")

    def synced(self, host: Host, lsn: int | None, appends: Iterable[Append]) -> None:
        """The same leaves at the same index everywhere, each batch with a proof that stands."""
        self._safe_lsn[host.index] = max(self._safe_lsn[host.index], lsn or 0)
        if not host.correct:
            return
        for append in appends:
            self._check_proof(append)
            for offset, record in enumerate(append.records):
                if isinstance(record, KeyActivated) and record.boundary > self.eras[-1][0]:
                    self.eras.append((record.boundary, record.federation_key.membership))
                self._check_leaf(append.first_index + offset, encode_leaf(record))

    def _check_proof(self, append: Append) -> None:
        known = (append.sequence, append.proof)
        if known not in self._proofs:
            members = next(m for last, m in reversed(self.eras) if append.sequence > last)
            digest = batch_digest(append.batch)
            verify_quorum_proof(append.proof, members, append.sequence, digest)
            self._proofs.add(known)

    def _check_leaf(self, index: int, leaf: bytes) -> None:
        if index == len(self._leaves):
            self._leaves.append(leaf)
        elif index > len(self._leaves) or self._leaves[index] != leaf:
            raise Broken(f"two logs differ at entry {index}")

    def handed_out(self, host: Host, effect: pbft.Send) -> None:
        """Nothing is sent before that is durable on which it rests."""
        if effect.after_lsn > self._safe_lsn[host.index]:
            raise Broken(f"replica {host.index} sent what rests on record {effect.after_lsn}")

    def sent(self, host: Host, frame: bytes) -> None:
        """A correct replica votes once in each place, over all its lives."""
        replica = host.member
        found = self._world.open(frame, replica)
        epoch = claimed_epoch(frame)
        if not host.correct or epoch != replica.epoch or found.sender != replica.index:
            return  # what it passes on, others have said; in the epoch before it votes no more
        message = found.message
        place, said = 0, b""
        match message:
            case PrePrepare() | Prepare() | Commit():
                place, said = message.sequence, message.digest
                where = message.view
            case Checkpoint():
                where, said = message.sequence, message.chain + message.state_root
            case ViewChange() | NewView():
                where, said = message.view, encode(message)
            case _:
                return
        known = self._votes.setdefault((host.index, epoch, message.TAG, where, place), said)
        if known != said:
            raise Broken(
                f"replica {host.index} said two things as {message.TAG} at {where} {place}"
            )

    def dropped(self, host: Host) -> None:
        """Replicas, also lying ones, send well-formed frames here."""
        raise Broken(f"replica {host.index} dropped a frame at its door")

    # Over the whole run.

    def whole_run(self) -> AuditReport:
        """Logs, certificates, blocks and finality, as a stranger would check them."""
        for host in self._world.hosts:
            if host.correct and host.alive:
                self._check_log(host)
        host = max(self._world.up, key=lambda h: len(h.disk.safe.batches))
        records = host.disk.records()
        key = check_chain(self._world.rules, records, self._blocks())
        report = audit(encode(self._world.genesis), host.disk.log())
        if not report.passed:
            raise Broken(report.to_text())
        if report.federation_key != key:
            raise Broken("the auditor found another federation key")
        return report

    def _check_log(self, host: Host) -> None:
        leaves = [record for kept in host.disk.safe.batches for record in kept.records]
        root = root_of_hashes([hash_leaf(record) for record in leaves])
        log = host.replica.state.log
        if host.replica.state.sequence == len(host.disk.safe.batches) and log.root != root:
            raise Broken(f"replica {host.index}'s log root is not that of its leaves")

    def _blocks(self) -> dict[bytes, bytes]:
        hosts = [host for host in self._world.hosts if host.correct]
        return {
            known: host.disk.safe.blocks[known] for host in hosts for known in host.disk.safe.blocks
        }


def check_chain(
    rules: Rules, records: Sequence[Record], blocks: dict[bytes, bytes]
) -> bytes | None:
    """Every certificate and every final block of a log, by chain.validation; returns the key.

    Raises:
        Broken: two certificates for one (cycle, rank), or a winner that was not drawn.
        FederationError: something does not verify.
    """
    key: bytes | None = None
    drawn: Drawn | None = None
    issued: dict[tuple[int, int], BlockCertificate] = {}
    parent = genesis_view(rules.genesis)
    coins = coins_from(parent)
    final = -1
    for record in records:
        match record:
            case KeyActivated():
                if key not in (None, record.federation_key.key):
                    raise Broken(f"epoch {record.federation_key.epoch} has another key")
                key = record.federation_key.key
            case Drawn():
                drawn = record
            case Certified():
                assert key is not None and drawn is not None
                found = verify_certificate(record.certificate, key, rules.chain_id)
                if (found.cycle, found.rank) in issued:
                    raise Broken(f"two certificates for rank {found.rank} of cycle {found.cycle}")
                if found.winner != drawn.ranks[found.rank].miner:
                    raise Broken(f"cycle {found.cycle} certified somebody who was not drawn")
                if (found.height, found.parent) != (parent.height + 1, parent.hash):
                    raise Broken(f"the certificate of cycle {found.cycle} is not on the tip")
                issued[found.cycle, found.rank] = found
            case BlockFinal():
                assert key is not None
                parent = _check_final(rules, record, key, parent, blocks, coins)
                final = record.cycle
            case CycleClosed():
                if (record.reason == CloseReason.BLOCK) != (final == record.cycle):
                    raise Broken(f"cycle {record.cycle} closed with {record.reason}")
            case _:
                pass
    return key


def _check_final(
    rules: Rules,
    record: BlockFinal,
    key: bytes,
    parent: ParentView,
    blocks: dict[bytes, bytes],
    coins: CoinTable,
) -> ParentView:
    hashed = block_hash(record.header)
    if hashed not in blocks:
        raise Broken(f"no correct replica holds the final block of cycle {record.cycle}")
    verify_finality(key, rules.chain_id, record.height, hashed, record.signature)
    block = validate_block(blocks[hashed], key, rules.chain_id, rules.params, parent, coins)
    coins.apply(block)
    if block.header.encode() != record.header or block.certificate.cycle != record.cycle:
        raise Broken(f"the final block of cycle {record.cycle} is another one")
    certificate, _ = decode_certificate(block.coinbase.certificate)
    return ParentView(hash=hashed, height=certificate.height, time=block.header.time)
