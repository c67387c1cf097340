"""Byzantine replicas: the real replica with one lie each.  At most f of them in one world."""

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import tagged_hash
from bft.crypto.threshold import KeyShare, sign_share
from bft.ordering.batch import Batch, batch_digest, decode_batch
from bft.pbft import events as pbft
from bft.pbft.certificates import pre_prepare
from bft.pbft.messages import PrePrepare, open_message, sign_message
from chain.records.evaluation import EvaluationRow
from chain.records.votes import SignatureShare
from coordinator.cycle import duties
from coordinator.cycle.duties import Measurement
from coordinator.cycle.state import Phase
from coordinator.effects import Evaluated
from coordinator.replica import CoordinatorReplica
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
    def _share(self, duty: duties.Sign) -> SignatureShare:
        honest = super()._share(duty)
        assert isinstance(self._key_share, KeyShare)
        other = tagged_hash("sim/wrong-share", duty.asked.message)
        return replace(honest, share=sign_share(self._key_share, other))


class ShareCorrupter(Host):
    """Signs something else whenever the federation signs."""

    correct = False
    replica_class = _WrongShares


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
        found = open_message(send.message, self.world.rules.membership)
        message = found.message
        if not isinstance(message, PrePrepare) or send.to is not None or not found.attachment:
            return plain
        batch = decode_batch(found.attachment)
        other = encode(Batch(timestamp_ms=batch.timestamp_ms + 1, requests=batch.requests))
        header = pre_prepare(
            self.world.rules.membership, message.view, message.sequence, batch_digest(other)
        )
        twin = sign_message(header, self.world.rules.membership, self.key.sign, other).frame
        half = len(plain) // 2
        return [*plain[:half], *((to, twin) for to, _ in plain[half:])]


FAULTS: dict[str, type[Host]] = {
    "lying-scorer": LyingScorer,
    "bad-share": ShareCorrupter,
    "mute": Mute,
    "equivocator": Equivocator,
}
