"""Byzantine replicas: the real replica with one lie each.  At most f of them in one world."""

import dataclasses

from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.crypto.hashing import tagged_hash
from bft.crypto.threshold import KeyShare, sign_share
from bft.dkg.messages import DkgDealing
from bft.ordering.batch import Batch, batch_digest, decode_batch
from bft.pbft import events as pbft
from bft.pbft.certificates import pre_prepare
from bft.pbft.messages import PrePrepare, claimed_epoch, sign_message
from chain.records.block import BLOCK_VERSION, BlockHeader
from chain.records.certificate import decode_certificate
from chain.records.evaluation import EvaluationRow
from chain.records.membership import ActivationShare, ShareProof
from chain.records.profile import NO_WORK_BITS
from chain.records.votes import BlockSeen, Elapsed, SignatureShare
from coordinator import custody
from coordinator.cycle import duties
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.state import Phase
from coordinator.effects import Evaluated, Stepped
from coordinator.replica import CoordinatorReplica, Duty
from tests.sim.host import Host

LIE = 10


class LyingScorer(Host):
    """Measures tenfold gains for odd units and none for even ones."""

    correct = False

    def measured(self, measurement: Measurement) -> Evaluated:
        true = super().measured(measurement)
        return Evaluated(cycle=true.cycle, rows=tuple(_lie(row) for row in true.rows))


def _lie(row: EvaluationRow) -> EvaluationRow:
    if row.unit % 2:
        return replace(row, gain=row.gain * LIE, advantage=row.advantage * LIE)
    return replace(row, gain=-row.gain, advantage=0)


class _WrongShares(CoordinatorReplica):
    def _share(self, duty: duties.Sign) -> tuple[SignatureShare, ...]:
        key_share = self._custody.share(self.state)
        if key_share is None:
            return ()
        other = tagged_hash("sim/wrong-share", duty.asked.message)
        share = sign_share(key_share, other)
        return tuple(replace(honest, share=share) for honest in super()._share(duty))


class ShareCorrupter(Host):
    """Signs something else whenever the federation signs."""

    correct = False
    replica_class = _WrongShares


class WrongModel(Host):
    """Votes for another next model than the one that follows."""

    correct = False

    def made(self, step: OuterStep) -> Stepped:
        true = super().made(step)
        wrong = (
            replace(
                model,
                digest=tagged_hash("sim/wrong-model", model.digest),
                challenge_loss=0,
                loss=0,
            )
            for model in true.models
        )
        return dataclasses.replace(true, models=tuple(wrong))


class _Impatience(CoordinatorReplica):
    def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:
        if isinstance(duty, duties.Watch):
            return (Elapsed(cycle=duty.cycle, phase=duty.phase, attempt=duty.attempt),)
        return super()._fulfil(duty, started, now_ms)


class Impatient(Host):
    """Says of every phase at once that it had its time."""

    correct = False
    replica_class = _Impatience


class _FalseWitness(CoordinatorReplica):
    def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:
        if not isinstance(duty, duties.Witness):
            return super()._fulfil(duty, started, now_ms)
        certificate, _ = decode_certificate(duty.certificate)
        header = BlockHeader(
            version=BLOCK_VERSION,
            previous=certificate.parent,
            merkle_root=tagged_hash("sim/false-block", duty.certificate),
            time=certificate.not_before,
            bits=NO_WORK_BITS,
            nonce=0,
        )
        return (BlockSeen(cycle=duty.cycle, rank=duty.rank, header=header.encode()),)


class FalseWitness(Host):
    """Votes for a block that nobody made, before the winner has made one."""

    correct = False
    replica_class = _FalseWitness


class Mute(Host):
    """Says nothing any more once there is a key; the ceremony before it waits for everybody."""

    correct = False

    def outgoing(self, send: pbft.Send) -> list[tuple[int, bytes]]:
        return super().outgoing(send) if self.replica.state.phase == Phase.KEYGEN else []


class Equivocator(Host):
    """As primary, proposes two batches for each sequence number, one to each half of the others."""

    correct = False

    def outgoing(self, send: pbft.Send) -> list[tuple[int, bytes]]:
        plain = super().outgoing(send)
        if claimed_epoch(send.message) != self.member.epoch:
            return plain
        found = self.world.open(send.message, self.member)
        message = found.message
        if not isinstance(message, PrePrepare) or send.to is not None or not found.attachment:
            return plain
        batch = decode_batch(found.attachment)
        other = encode(Batch(timestamp_ms=batch.timestamp_ms + 1, requests=batch.requests))
        header = pre_prepare(
            self.member.members, message.view, message.sequence, batch_digest(other)
        )
        twin = sign_message(header, self.member.members, self.key.sign, other).frame
        half = len(plain) // 2
        return [*plain[:half], *((to, twin) for to, _ in plain[half:])]


class _WrongSharing(CoordinatorReplica):
    def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:
        return tuple(_spoilt(said) for said in super()._fulfil(duty, started, now_ms))


def _spoilt(said: Record) -> Record:
    """A dealing with two shares exchanged, a share that is another signature."""
    match said:
        case DkgDealing() if len(said.ciphertexts) > 1:
            first, second, *rest = said.ciphertexts
            return replace(said, ciphertexts=(second, first, *rest))
        case ShareProof() | ActivationShare():
            return replace(said, share=sign_share(KeyShare(index=0, secret=LIE), said.session))
    return said


class BadDealer(Host):
    """Deals bad shares, and signs wrongly whatever a change of members asks for."""

    correct = False
    replica_class = _WrongSharing


class Absent(Host):
    """Takes no part in any change of members."""

    correct = False

    class _Absence(CoordinatorReplica):
        def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:
            if self.state.change is not None and isinstance(duty, custody.Duty):
                return ()
            return super()._fulfil(duty, started, now_ms)

    replica_class = _Absence


RESHARING_FAULTS: dict[str, type[Host]] = {"bad-dealer": BadDealer, "absent": Absent}
"""Those that a world without changes of members never sees."""

FAULTS: dict[str, type[Host]] = {
    "lying-scorer": LyingScorer,
    "bad-share": ShareCorrupter,
    "wrong-model": WrongModel,
    "impatient": Impatient,
    "false-witness": FalseWitness,
    "mute": Mute,
    "equivocator": Equivocator,
}
