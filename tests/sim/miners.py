"""Miners as short scripts with real keys.

Level-triggered, as replicas' duties are: every WAKE_MS a miner reads one living replica's state and
says what that state still lacks of it.  What got lost is said again RETRY_MS later, elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from bft.codec.canonical import Record
from bft.crypto.hashing import tagged_hash
from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.records.block import Block, build_block, decode_block
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.coinbase import CARRIED_EVIDENCE_BYTES_MAX
from chain.records.contribution import (
    Profile,
    Register,
    ResourceReport,
    UpdateCommitment,
    UpdateReveal,
    WorkUnit,
    commitment_digest,
)
from chain.records.conviction import shown
from chain.records.evidence import encode_evidence, equivocation
from chain.records.operations import encode_operation
from chain.records.profile import profile_of
from chain.records.transaction import Transaction
from chain.rules.families.registry import segment_parameters
from chain.rules.reward import subsidy
from coordinator.cycle.phases.registration import registering
from coordinator.cycle.state import Phase, State
from tests.sim.spending import spends

if TYPE_CHECKING:
    from tests.sim.world import World

WAKE_MS = 100
RETRY_MS = 1_500
UPDATE_BYTES = 4_096
FOREVER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a miner does and leaves undone."""

    units: int = 1  # capacity, in work units
    dies_in: int = FOREVER  # silent from this cycle's reveal on: it committed and is gone
    blocks_from: int = 0  # makes blocks from this rank on; FOREVER: never
    shows: bool = False  # its blocks carry evidence against earlier winners
    tells: bool = False  # it has evidence against other winners ordered
    spends: int = 0  # transactions in each of its blocks, once it has coins
    blocks: str = "one"  # "two": equivocates; "greedy": pays itself too much first


HONEST = Habits()


class Miner:
    """One miner."""

    def __init__(self, world: World, number: int, habits: Habits) -> None:
        self.world, self.number, self.habits = world, number, habits
        self.key = PrivateKey(tagged_hash("sim/miner", number.to_bytes(4, "big")))
        self.random = Random(f"{world.seed}/miner/{number}")
        self.refusals: list[str] = []  # codes that replicas gave for its blocks
        self._cseq = 0
        self._door = number  # the replica that it talks to, modulo n
        self._said: dict[object, int] = {}  # what -> when it was last said
        world.agenda.after(self.random.randint(0, WAKE_MS), self._wake)

    @property
    def name(self) -> bytes:
        """33 bytes, its identity key."""
        return self.key.public_key

    def _wake(self) -> None:
        self.world.agenda.after(WAKE_MS, self._wake)
        host = self.world.door(self._door)
        if host is None:
            self._door += 1
            return
        state = host.replica.state
        if state.cycle >= self.habits.dies_in and state.phase >= Phase.REVEAL:
            self.habits = Habits(units=0)
        if self.habits.units:
            self._register(state)
            self._train(state)
            self._reveal(state)
            self._make_block(state)
            self._tell(state)

    def _due(self, what: object) -> bool:
        """Whether to say it now; at a repetition, through the next door."""
        last = self._said.get(what)
        if last is not None and self.world.now - last < RETRY_MS:
            return False
        if last is not None:
            self._door += 1
        self._said[what] = self.world.now
        return True

    def _submit(self, operation: Record) -> None:
        self._cseq = max(self._cseq + 1, self.world.wall_ms)
        sealed = seal_request(
            self.world.rules.chain_id,
            self.name,
            self._cseq,
            encode_operation(operation),
            self.key.sign,
        )
        self.world.submit(self._door, sealed)

    def _register(self, state: State) -> None:
        cycle = registering(state)
        if state.phase < Phase.REGISTRATION or self.name in state.registrations:
            return
        if self._due(("register", cycle)):
            capacity = self.world.rules.params.unit_capacity * self.habits.units
            profile = Profile(device=b"sim", capacity=capacity, memory_bytes=2**30)
            self._submit(Register(cycle=cycle, profile=profile))

    def _own(self, state: State) -> list[WorkUnit]:
        return [unit for unit in state.units if unit.miner == self.name]

    def _update(self, cycle: int, unit: int) -> tuple[bytes, bytes]:
        """(digest, salt) of its work, which nobody trained."""
        place = self.name + cycle.to_bytes(8, "big") + unit.to_bytes(4, "big")
        return tagged_hash("sim/update", place), tagged_hash("sim/salt", place)

    def _train(self, state: State) -> None:
        if state.phase != Phase.TRAINING:
            return
        for unit in self._own(state):
            if unit.unit in state.commitments or not self._due(("commit", state.cycle, unit.unit)):
                continue
            digest, salt = self._update(state.cycle, unit.unit)
            commitment = commitment_digest(
                self.world.rules.chain_id, state.cycle, unit.unit, self.name, digest, salt
            )
            self._submit(UpdateCommitment(cycle=state.cycle, unit=unit.unit, commitment=commitment))

    def _reveal(self, state: State) -> None:
        if state.phase != Phase.REVEAL:
            return
        for unit in self._own(state):
            if unit.unit not in state.commitments or unit.unit in state.reveals:
                continue
            if self._due(("reveal", state.cycle, unit.unit)):
                self._submit(self._opening(state, unit))

    def _opening(self, state: State, unit: WorkUnit) -> UpdateReveal:
        digest, salt = self._update(state.cycle, unit.unit)
        members = state.membership.index_by_key
        receipts = [
            host.receipt(state.cycle, self.name, digest, UPDATE_BYTES)
            for host in self.world.hosts
            if host.key.public_key in members
        ]
        return UpdateReveal(
            cycle=state.cycle,
            unit=unit.unit,
            salt=salt,
            digest=digest,
            size=UPDATE_BYTES,
            parameters=segment_parameters(self.world.rules.job, unit.segment),
            resources=ResourceReport(
                cpu_user_ms=900,
                cpu_system_ms=10,
                wall_ms=1_000,
                memory_peak_bytes=2**28,
                energy_mj=15_000,
                estimated=1,
            ),
            receipts=tuple(receipt for receipt in receipts if receipt is not None),
        )

    def _make_block(self, state: State) -> None:
        if state.phase != Phase.BLOCK:
            return
        certificate, _ = decode_certificate(state.certificate)
        if certificate.winner != self.name or certificate.rank < self.habits.blocks_from:
            return
        if not self._due(("block", state.certificate)):
            return
        first = self._block(state.certificate, certificate, 0)
        second = first
        if self.habits.blocks == "two":
            second = self._block(state.certificate, certificate, 1)
        if self.habits.blocks == "greedy":
            greedy = self._block(state.certificate, certificate, 0, extra=1)
            for host in self.world.hosts:
                self.world.offer(self, host, greedy)
        for host in self.world.hosts:
            self.world.offer(self, host, second if host.index % 2 else first)

    def _block(
        self, signed: bytes, certificate: BlockCertificate, later_s: int, extra: int = 0
    ) -> bytes:
        transactions, fees = self._spends(certificate)
        return build_block(
            signed,
            time=certificate.not_before + later_s,
            subsidy=subsidy(certificate.height, self.world.rules.params) + fees + extra,
            sign=self.key.sign,
            winner=self.name,
            transactions=transactions,
            evidence=self._evidence() if self.habits.shows else b"",
            profile=profile_of(self.world.rules.params.profile),
        )

    def _spends(self, certificate: BlockCertificate) -> tuple[tuple[Transaction, ...], int]:
        """The same for the same certificate, whichever replica's coins are read."""
        host = self.world.door(self._door)
        coins = None if host is None or not self.habits.spends else host.coins
        if coins is None or coins.height != certificate.height - 1:
            return (), 0
        random = Random(f"{self.world.seed}/{certificate.nonce.hex()}/{certificate.rank}")
        return spends(coins, self.key.secret, self.name, random, self.habits.spends)

    def _tell(self, state: State) -> None:
        """Whose two blocks replicas have, until it is barred for them."""
        if not self.habits.tells or state.phase < Phase.REGISTRATION:
            return
        for twins in self._twins():
            evidence = equivocation(*(twin.certified_header for twin in twins[:2]))
            certificate = twins[0].certificate
            until = certificate.cycle + 1 + self.world.rules.params.barred_cycles
            standing = state.standings.get(certificate.winner)
            open_ = until > state.cycle + 1 and (standing is None or standing.barred_until < until)
            told = ("tell", certificate.cycle, certificate.rank)
            if open_ and certificate.winner != self.name and self._due(told):
                self._submit(shown(evidence))

    def _evidence(self) -> bytes:
        """Of two blocks of one winner that replicas have, if its reward can still be voided."""
        host = self.world.door(self._door)
        coins = None if host is None else host.coins
        for twins in self._twins():
            ids = [twin.transactions[0].txid for twin in twins]
            if coins is not None and any(coins.coin((i, 0)) for i in ids):
                first, second = (twin.certified_header for twin in twins[:2])
                evidence = encode_evidence(equivocation(first, second))
                if len(evidence) <= CARRIED_EVIDENCE_BYTES_MAX:
                    return evidence
        return b""

    def _twins(self) -> list[list[Block]]:
        """Blocks that replicas have under one certificate, where there are several."""
        held = sorted(
            {data for each in self.world.hosts for data in each.disk.safe.blocks.values()}
        )
        made: dict[bytes, list[Block]] = {}
        for data in held:
            block = decode_block(data)
            made.setdefault(block.coinbase.certificate, []).append(block)
        return [twins for twins in made.values() if len(twins) > 1]
