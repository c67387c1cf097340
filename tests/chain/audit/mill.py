"""A federation in memory: the real cycle machine, real keys, real proofs; no sockets, no clocks.

It orders one batch after another and keeps the score log that a replica would serve.
Measurements are plausible integers instead of torch's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.codec.envelope import pre_authentication_encoding, seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare, sign_share
from bft.dkg import participant
from bft.dkg.messages import Message
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript
from bft.ordering.batch import Batch, batch_digest
from bft.ordering.proof import Commit, CommitSignature, QuorumProof
from bft.ordering.request import seal_request
from bft.pbft.clients import ClientTable
from chain.params import MINIMAL, Params
from chain.records.block import build_block
from chain.records.certificate import decode_certificate
from chain.records.contribution import (
    Profile,
    Register,
    ResourceReport,
    StorageReceipt,
    UpdateCommitment,
    UpdateReveal,
    WorkUnit,
    commitment_digest,
)
from chain.records.evaluation import EvaluationRow, EvaluationTable, NextModel, SnapshotVote
from chain.records.federation import Genesis, MemberRecord
from chain.records.job import Job, make_sizes
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from chain.records.score_log import LogEntry, encode_leaf
from chain.records.votes import BlockSeen, Elapsed, SignatureShare
from chain.rules.audits import ONE, audited_units
from chain.rules.families.registry import segment_parameters
from chain.rules.reward import subsidy
from coordinator.cycle import duties
from coordinator.cycle.machine import Answer, execute
from coordinator.cycle.phases.signing import Asked, asked
from coordinator.cycle.state import Rules, State, opening_state
from tests import sample

PEOPLE = 12
"""Operators that there are, members or not."""
STEP_MS = 1_000
"""Agreed time passes by so much from batch to batch."""
UPDATE_BYTES = 1_000

JOB = replace(
    sample.JOB,
    name=b"digits",
    sizes=make_sizes(inputs=64, width=8, depth=2, classes=10),
    dataset_digest=sha256(b"data"),
    train_records=1_000,
    heldout_records=400,
    chunk_records=100,
    batch_records=16,
    outer_rate_denominator=1,
    genesis_model=sha256(b"model"),
)


def key(name: str) -> PrivateKey:
    """A test identity."""
    return PrivateKey(sha256(name.encode()))


def make_member(number: int) -> MemberRecord:
    """One operator's replica; whoever has this number is the same in every epoch."""
    return MemberRecord(
        operator=b"operator %d" % number,
        key=key(f"replica {number}").public_key,
        tls_certificate=number.to_bytes(64, "big"),
        link=b"127.0.0.1:%d" % (2 * number + 1),
        api=b"127.0.0.1:%d" % (2 * number + 2),
    )


def make_genesis(replicas: int = 4, params: Params = MINIMAL, job: Job = JOB) -> Genesis:
    """A federation of test identities."""
    members = tuple(make_member(index) for index in range(replicas))
    return Genesis(
        version=1,
        name=b"test mill",
        created_ms=1_700_000_000_000,
        params=params,
        job=job,
        members=members,
    )


@dataclass
class Mill:
    """The federation; `entries` is its score log so far."""

    genesis: Genesis = field(default_factory=make_genesis)
    miner_count: int = 3
    entries: list[LogEntry] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)  # of the newest batch

    def __post_init__(self) -> None:
        self.rules = Rules(self.genesis)
        self.state: State = opening_state(self.rules)
        self.clients = ClientTable()
        people = [key(f"replica {number}") for number in range(PEOPLE)]
        self.people = {person.public_key: person for person in people}
        self.miners = [key(f"miner {index}") for index in range(self.miner_count)]
        self.now_ms = self.genesis.created_ms
        self._cseq = 0

    @property
    def replicas(self) -> list[PrivateKey]:
        """The members of the epoch that runs, by index."""
        return [self.people[member.key] for member in self.state.members]

    # What is said.

    @property
    def phase(self) -> Phase:
        return Phase(self.state.phase)

    def request(self, author: PrivateKey, record: Record, cseq: int | None = None) -> bytes:
        """A sealed request; a fresh cseq unless one is given."""
        self._cseq += 1
        operation = encode_operation(record)
        number = self._cseq if cseq is None else cseq
        return seal_request(self.rules.chain_id, author.public_key, number, operation, author.sign)

    def order(self, *requests: bytes, timestamp_ms: int | None = None) -> list[str]:
        """Decide one batch, execute it and log it; the answers' codes."""
        self.now_ms += STEP_MS
        stamp = self.now_ms if timestamp_ms is None else timestamp_ms
        batch = encode(Batch(timestamp_ms=stamp, requests=requests))
        sequence = self.state.sequence + 1
        proof = self.proof(sequence, batch)
        executed = execute(self.rules, self.state, self.clients, sequence, batch)
        self.state = executed.state
        for record in executed.records:
            leaf, own = encode_leaf(record), b"" if record_is_derived(record) else proof
            self.entries.append(LogEntry(index=len(self.entries), leaf=leaf, proof=own))
        self.answers = list(executed.answers)
        return [answer.code for answer in executed.answers]

    def proof(self, sequence: int, batch: bytes, view: int = 0) -> bytes:
        """A strong quorum's commits."""
        signatures = []
        for index in range(self.state.membership.strong):
            commit = Commit(
                chain_id=self.rules.chain_id,
                epoch=self.state.epoch,
                view=view,
                sequence=sequence,
                digest=batch_digest(batch),
                replica=index,
            )
            message = pre_authentication_encoding(Commit.TAG.encode(), encode(commit))
            signature = self.replicas[index].sign(message)
            signatures.append(CommitSignature(replica=index, signature=signature))
        return encode(QuorumProof(view=view, signatures=tuple(signatures)))

    def say(self, author: PrivateKey, *records: Record) -> list[str]:
        """One batch with these operations of one author."""
        return self.order(*(self.request(author, record) for record in records))

    def all_say(self, record: Callable[[int], Record], replicas: Iterable[int]) -> list[str]:
        """One batch with one operation of each of these replicas."""
        return self.order(
            *(self.request(self.replicas[index], record(index)) for index in replicas)
        )

    # Key generation and signatures.

    def secrets(self, replica: int) -> Secrets:
        return self.secrets_in(self.state.transcript, self.replicas[replica].public_key)

    def secrets_in(self, transcript: Transcript, person: bytes) -> Secrets:
        """The seed that this person drew for the session."""
        return for_session(transcript.session, sha256(b"seed" + person + transcript.session))

    def owed(self, replica: int) -> tuple[Message, ...]:
        """What this replica has to say in the ceremony."""
        return participant.owed(self.state.transcript, replica, replica, self.secrets(replica))

    def key_share(self, replica: int) -> KeyShare:
        return participant.key_share(self.state.transcript, replica, self.secrets(replica))

    def ceremony_round(self, replicas: Iterable[int] | None = None) -> list[str]:
        """All that these replicas owe the ceremony, in one batch."""
        indices = range(self.state.membership.n) if replicas is None else replicas
        return self.order(
            *(
                self.request(self.replicas[index], message)
                for index in indices
                for message in self.owed(index)
            )
        )

    def found(self) -> "Mill":
        """Key generation and activation: the first cycle is open."""
        while self.phase is Phase.KEYGEN:
            self.ceremony_round()
        self.sign()
        return self

    def share(self, replica: int) -> SignatureShare:
        """The share that the state asks for."""
        wanted = asked(self.rules, self.state)
        assert wanted is not None
        return SignatureShare(
            purpose=int(wanted.purpose),
            subject=wanted.subject,
            rank=wanted.rank,
            epoch=wanted.epoch,
            share=sign_share(self.key_share(replica), wanted.message),
        )

    def wanted(self) -> Asked | None:
        """The signature that the state asks for."""
        return asked(self.rules, self.state)

    def bad_share(self, replica: int) -> SignatureShare:
        """The right signature, with another replica's share."""
        other = (replica + 1) % self.state.membership.n
        return self.share(other)

    def sign(self, replicas: Iterable[int] | None = None) -> list[str]:
        """Shares of these replicas (all), in one batch; those after the t-th come late."""
        indices = range(self.state.membership.n) if replicas is None else replicas
        return self.all_say(self.share, indices)

    # Time.

    def elapsed(self) -> Elapsed:
        state = self.state
        return Elapsed(cycle=state.cycle, phase=state.phase, attempt=state.attempt)

    def time_out(self, replicas: Iterable[int] | None = None) -> list[str]:
        """These replicas' clocks (`weak` of them) say that the phase had its time."""
        said = self.elapsed()
        weak = range(self.state.membership.weak)
        return self.all_say(lambda _: said, weak if replicas is None else replicas)

    # Miners.

    def registration(self, ahead: int = 0, capacity: int = 20_000) -> Register:
        """For the cycle that is open, or one `ahead` of it."""
        cycle = self.state.cycle + (self.phase is not Phase.REGISTRATION)
        profile = Profile(device=b"cpu", capacity=capacity, memory_bytes=1 << 30)
        return Register(cycle=cycle + ahead, profile=profile)

    def register(self, miners: Iterable[int] | None = None, capacity: int = 20_000) -> list[str]:
        """These miners (all) register for the cycle that is open."""
        indices = range(self.miner_count) if miners is None else miners
        said = self.registration(0, capacity)
        return self.order(*(self.request(self.miners[index], said) for index in indices))

    def miner_of(self, unit: WorkUnit) -> PrivateKey:
        return next(miner for miner in self.miners if miner.public_key == unit.miner)

    def digest(self, unit: WorkUnit) -> bytes:
        return sha256(b"update %d %d" % (self.state.cycle, unit.unit))

    def salt(self, unit: WorkUnit) -> bytes:
        return sha256(b"salt %d %d" % (self.state.cycle, unit.unit))

    def commitment(self, unit: WorkUnit) -> UpdateCommitment:
        cycle, miner = self.state.cycle, unit.miner
        hidden = commitment_digest(
            self.rules.chain_id, cycle, unit.unit, miner, self.digest(unit), self.salt(unit)
        )
        return UpdateCommitment(cycle=cycle, unit=unit.unit, commitment=hidden)

    def commit(self, units: Sequence[int] | None = None) -> list[str]:
        """The miners of these units (all) commit."""
        return self.order(
            *(self.request(self.miner_of(u), self.commitment(u)) for u in self._units(units))
        )

    def receipt(self, unit: WorkUnit, signer: PrivateKey) -> bytes:
        record = StorageReceipt(
            chain_id=self.rules.chain_id,
            cycle=self.state.cycle,
            miner=unit.miner,
            digest=self.digest(unit),
            size=UPDATE_BYTES,
        )
        return seal(record, signer.public_key, signer.sign)

    def opening(self, unit: WorkUnit, holders: Iterable[int] | None = None) -> UpdateReveal:
        """The unit's reveal with receipts of these replicas (`weak` of them)."""
        if holders is None:
            holders = range(self.state.membership.weak)
        return UpdateReveal(
            cycle=self.state.cycle,
            unit=unit.unit,
            salt=self.salt(unit),
            digest=self.digest(unit),
            size=UPDATE_BYTES,
            parameters=segment_parameters(self.rules.job, unit.segment),
            resources=ResourceReport(
                cpu_user_ms=1,
                cpu_system_ms=1,
                wall_ms=1,
                memory_peak_bytes=1,
                energy_mj=1,
                estimated=1,
            ),
            receipts=tuple(self.receipt(unit, self.replicas[replica]) for replica in holders),
        )

    def reveal(self, units: Sequence[int] | None = None) -> list[str]:
        """The miners of these units (all) reveal."""
        return self.order(
            *(self.request(self.miner_of(u), self.opening(u)) for u in self._units(units))
        )

    def _units(self, units: Sequence[int] | None) -> list[WorkUnit]:
        return [unit for unit in self.state.units if units is None or unit.unit in units]

    # Measurements, models and blocks.

    def table(self, replica: int) -> EvaluationTable:
        """Honest measurements: the replicas' differ by a few micro-nats."""
        return self.table_of(replica, gain=60_000, advantage=7_000)

    def table_of(self, replica: int, gain: int, advantage: int) -> EvaluationTable:
        """Measurements around these, each unit's a little higher; nothing where they are 0.

        Every audited unit's update is what its training gives.
        """
        revealed = sorted(self.state.reveals)
        audited = audited_units(self.state.challenge, revealed, self.rules.params, self.rules.job)
        rows = tuple(
            EvaluationRow(
                unit=unit,
                valid=1,
                gain=gain and gain + 1_000 * unit + replica,
                advantage=advantage and advantage + 100 * unit - replica,
                norm=1_000_000 + unit,
                replay=ONE if unit in audited else 0,
            )
            for unit in revealed
        )
        return EvaluationTable(cycle=self.state.cycle, rows=rows)

    def lying_table(self, replica: int) -> EvaluationTable:
        """Every gain raised by one nat."""
        honest = self.table(replica)
        rows = tuple(replace(row, gain=row.gain + 1_000_000) for row in honest.rows)
        return replace(honest, rows=rows)

    def evaluate(self, liar: int | None = None) -> list[str]:
        """All replicas give their tables; one of them may lie."""
        return self.all_say(
            lambda index: self.lying_table(index) if index == liar else self.table(index),
            range(self.state.membership.n),
        )

    def vote(self, replica: int, digest: bytes | None = None) -> SnapshotVote:
        cycle = self.state.cycle
        full = NextModel(
            digest=sha256(b"model %d" % cycle) if digest is None else digest,
            challenge_loss=1_000_000 + replica,
            loss=2_000_000 // (cycle + 1) + replica,
            correct=300 + cycle,
        )
        halved = tuple(
            replace(full, digest=sha256(b"%d halvings of " % times + full.digest))
            for times in range(1, self.rules.job.backtracking + 1)
        )
        return SnapshotVote(
            cycle=cycle, models=(full, *halved), records=self.rules.job.heldout_records
        )

    def with_losses(self, replica: int, losses: Sequence[int]) -> SnapshotVote:
        """A vote with these challenge losses: of the full step, then of each halving."""
        said = self.vote(replica)
        models = tuple(
            replace(model, challenge_loss=loss)
            for model, loss in zip(said.models, losses, strict=True)
        )
        return replace(said, models=models)

    def aggregate(self, dissenter: int | None = None) -> list[str]:
        """All replicas vote for the next model; one of them may have another."""
        return self.all_say(
            lambda index: self.vote(index, sha256(b"other") if index == dissenter else None),
            range(self.state.membership.n),
        )

    def block(self, late_s: int = 0) -> bytes:
        """The block of the rank in force, by the winner's own hand."""
        certificate, _ = decode_certificate(self.state.certificate)
        winner = next(m for m in self.miners if m.public_key == certificate.winner)
        return build_block(
            self.state.certificate,
            time=certificate.not_before + late_s,
            subsidy=subsidy(certificate.height, self.rules.params),
            sign=winner.sign,
            winner=winner.public_key,
        )

    def seen(self, header: bytes | None = None) -> BlockSeen:
        header = self.block()[:80] if header is None else header
        return BlockSeen(cycle=self.state.cycle, rank=self.state.rank, header=header)

    def witness(self) -> list[str]:
        """`weak` replicas saw the block."""
        said = self.seen()
        return self.all_say(lambda _: said, range(self.state.membership.weak))

    # Whole cycles.

    def to_training(self) -> "Mill":
        """Registration closes: at once when the veterans are back, else by time."""
        cycle = self.state.cycle
        if not self.state.registrations:
            self.register()
        if self.phase is Phase.REGISTRATION:
            self.time_out()
        assert (self.phase, self.state.cycle) == (Phase.TRAINING, cycle)
        return self

    def to_evaluation(self) -> "Mill":
        self.to_training().commit()
        self.reveal()
        self.sign()
        return self

    def to_aggregation(self, liar: int | None = None) -> "Mill":
        self.to_evaluation().evaluate(liar)
        self.sign()
        return self

    def to_block(self) -> "Mill":
        self.to_aggregation().aggregate()
        self.sign()
        return self

    def cycle(self) -> "Mill":
        """A whole cycle in which everybody does its part."""
        self.to_block().witness()
        self.sign()
        return self

    def duties_of(self, replica: int) -> tuple[duties.Duty, ...]:
        return duties.duties(self.rules, self.state, replica)


def record_is_derived(record: Record) -> bool:
    """Everything but a batch."""
    return record.TAG != "log.ordered/1"
