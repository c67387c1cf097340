"""Which operations are taken, and from whom: docs/PROTOCOL.md, section 7."""

from tests.oracle import blocks, evidence, model, scores
from tests.oracle.primitives import opened, signed_by, tagged, weak
from tests.oracle.records import Malformed, layouts
from tests.oracle.session import TAKEN
from tests.oracle.state import (
    ACTIVATION,
    AGGREGATION,
    BLOCK,
    CERTIFICATION,
    CHALLENGE,
    DRAW,
    EVALUATION,
    FINALITY,
    KEYGEN,
    REGISTRATION,
    REVEAL,
    TRAINING,
    Fields,
    State,
    require,
)

TIMED = (KEYGEN, REGISTRATION, TRAINING, REVEAL, EVALUATION, AGGREGATION, BLOCK)
RECEIPT_BYTES_MAX = 1024


class Hearing(State):
    """One operation after the other; a refused one changes nothing."""

    def take(self, author: bytes, name: str, said: Fields) -> None:
        """One operation.  Raises Refused; then nothing has changed."""
        phases, who = OPERATIONS[name]
        require(self.phase in phases, "wrong-phase")
        if name in CLIENTS:
            getattr(self, who)(author, said)
            return
        require(author in self.keys, "not-a-replica")
        getattr(self, who)(self.keys.index(author), said)

    def on_ceremony(self, author: int, name: str, said: Fields) -> None:
        """A message of the genesis session."""
        require(self.phase == KEYGEN, "wrong-phase")
        word = self.session.hear(self.keys[author], name, said)
        require(word == TAKEN, word)

    def on_register(self, miner: bytes, said: Fields) -> None:
        """For the cycle that is open."""
        open_cycle = self.cycle if self.phase == REGISTRATION else self.cycle + 1
        require(said["cycle"] == open_cycle, "wrong-cycle")
        taken = self.keys + [member["key"] for member in self.coming]
        require(miner not in taken, "replica")
        require(miner not in self.registered, "twice")
        require(not self._barred(miner, said["cycle"]), "barred")
        room = len(self.registered) < self.params["miners_max"]
        require(room or scores.proven(self.standings, miner) > 0, "full")
        require(scores.units_earned(said["profile"], self.params) > 0, "too-small")
        self.registered[miner] = said["profile"]

    def _barred(self, miner: bytes, cycle: int) -> bool:
        return scores.barred_until(self.standings, miner) > cycle

    def on_evidence(self, author: bytes, said: Fields) -> None:
        """Two blocks of one winner."""
        certificate = said["certificate"]
        require(certificate[0] == 1, "malformed")
        require(evidence.read(certificate, "chain_id") == self.chain, "other-chain")
        cycle, winner = evidence.number(certificate, "cycle"), evidence.read(certificate, "winner")
        require(cycle <= self.cycle, "wrong-cycle")
        until = cycle + 1 + self.params["barred_cycles"]
        require(until > self.cycle + 1, "too-old")
        require(scores.barred_until(self.standings, winner) < until, "twice")
        told = [evidence.winner_message(certificate, said[name]) for name in ("first", "second")]
        require(told[0] != told[1], "one-block")
        for message, name in zip(told, ("first", "second"), strict=True):
            require(signed_by(winner, said[name]["signature"], message), "bad-signature")
        assert self.key_record is not None
        key = self.key_record["commitments"][0]
        require(blocks.certificate_holds(certificate, key, self.chain), "bad-certificate")
        self.standings[winner] = {
            "passed": 0,
            "units": 0,
            "segment": 0,
            "cycle": cycle,
            "barred_until": until,
        }
        self.registered.pop(winner, None)
        self.veterans.discard(winner)
        self.log(
            "EvidenceShown",
            {
                "cycle": cycle,
                "height": evidence.number(certificate, "height"),
                "rank": evidence.number(certificate, "rank"),
                "miner": winner,
                "barred_until": until,
            },
        )

    def _own(self, miner: bytes, said: Fields) -> int:
        require(said["cycle"] == self.cycle, "wrong-cycle")
        unit: int = said["unit"]
        require(unit < len(self.units) and self.units[unit]["miner"] == miner, "not-assigned")
        return unit

    def on_commitment(self, miner: bytes, said: Fields) -> None:
        """A hash of an update."""
        unit = self._own(miner, said)
        require(unit not in self.commitments, "twice")
        self.commitments[unit] = said["commitment"]

    def on_reveal(self, miner: bytes, said: Fields) -> None:
        """The update's digest, and who holds its bytes."""
        unit = self._own(miner, said)
        require(unit in self.commitments, "not-committed")
        require(unit not in self.reveals, "twice")
        place = self.cycle.to_bytes(8, "big") + unit.to_bytes(4, "big")
        told = self.chain + place + miner + said["digest"] + said["salt"]
        hidden = tagged("gristmill/commitment/v1", told)
        require(hidden == self.commitments[unit], "mismatch")
        require(0 < said["size"] <= self.params["update_bytes_max"], "too-long")
        shapes = model.segment(self.job, self.units[unit]["segment"])
        require(said["parameters"] == model.weights(shapes), "wrong-parameters")
        require(len(self._holders(miner, said)) >= weak(self.n), "unavailable")
        self.reveals.add(unit)

    def _holders(self, miner: bytes, said: Fields) -> set[bytes]:
        wanted = {
            "chain_id": self.chain,
            "cycle": self.cycle,
            "miner": miner,
            "digest": said["digest"],
            "size": said["size"],
        }
        found = set()
        for sealed in said["receipts"][: self.n]:
            try:
                tag = layouts()["StorageReceipt"].tag
                signer, receipt = opened(sealed, tag, "StorageReceipt")
            except Malformed:
                continue
            if len(sealed) <= RECEIPT_BYTES_MAX and signer in self.keys and receipt == wanted:
                found.add(signer)
        return found

    def on_table(self, author: int, said: Fields) -> None:
        """A replica's measurements."""
        require(said["cycle"] == self.cycle, "wrong-cycle")
        require(author not in self.tables, "twice")
        require([row["unit"] for row in said["rows"]] == sorted(self.reveals), "wrong-units")
        for row in said["rows"]:
            require(row["valid"] in (0, 1) and row["replay"] <= 2**16, "out-of-range")
        self.tables[author] = said

    def on_vote(self, author: int, said: Fields) -> None:
        """A replica's next model."""
        require(said["cycle"] == self.cycle, "wrong-cycle")
        require(author not in self.votes, "twice")
        held, models = self.heldout_predictions, said["models"]
        require(said["records"] == held, "out-of-range")
        require(len(models) == self.job["backtracking"] + 1, "out-of-range")
        require(all(model["correct"] <= held for model in models), "out-of-range")
        self.votes[author] = said

    def on_share(self, author: int, said: Fields) -> None:
        """A share of the signature that the phase waits for."""
        named = tuple(said[name] for name in ("purpose", "subject", "rank", "epoch"))
        require(named == (*self.awaited[:3], self.epoch), "late")
        require(author not in self.shares, "twice")
        self.shares[author] = said["share"]

    def on_seen(self, author: int, said: Fields) -> None:
        """A vote for a block."""
        require((said["cycle"], said["rank"]) == (self.cycle, self.rank), "late")
        require(author not in self.seen, "twice")
        previous, time = blocks.previous_and_time(said["header"])
        require(previous == self.tip.hash, "wrong-parent")
        require(self.window[0] <= time <= self.window[1], "wrong-time")
        self.seen[author] = said["header"]

    def on_elapsed(self, author: int, said: Fields) -> None:
        """A clock."""
        here = (self.cycle, self.phase, self.attempt)
        require((said["cycle"], said["phase"], said["attempt"]) == here, "late")
        require(self.phase in TIMED, "untimed")
        require(author not in self.elapsed, "twice")
        self.elapsed.add(author)


CLIENTS = ("Register", "UpdateCommitment", "UpdateReveal", "ShowEvidence")
OPERATIONS: dict[str, tuple[tuple[int, ...], str]] = {
    "Register": (tuple(range(REGISTRATION, 12)), "on_register"),
    "ShowEvidence": (tuple(range(REGISTRATION, 12)), "on_evidence"),
    "UpdateCommitment": ((TRAINING,), "on_commitment"),
    "UpdateReveal": ((REVEAL,), "on_reveal"),
    "EvaluationTable": ((EVALUATION,), "on_table"),
    "SnapshotVote": ((AGGREGATION,), "on_vote"),
    "SignatureShare": ((ACTIVATION, CHALLENGE, DRAW, CERTIFICATION, FINALITY), "on_share"),
    "BlockSeen": ((BLOCK,), "on_seen"),
    "Elapsed": (tuple(range(12)), "on_elapsed"),
}
"""Operation -> (phases that take it, who takes it)."""
