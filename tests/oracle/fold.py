"""What ends a phase, and what follows then: docs/PROTOCOL.md, section 7.  Changes: members.py."""

from collections.abc import Callable
from hashlib import sha256

from tests.oracle import blocks, scores
from tests.oracle.hearing import Hearing
from tests.oracle.primitives import strong, tree, weak
from tests.oracle.session import DONE, FAILED, Session
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
)


class Fold(Hearing):
    """What follows from the executed operations."""

    def move(self) -> bool:
        """One step, if the cycle can go on."""
        return MOVES[self.phase](self)

    def move_keygen(self) -> bool:
        """On to ACTIVATION, or another attempt."""
        if self.session.phase == DONE:
            self.enter(ACTIVATION)
            return True
        if self.session.phase != FAILED and not self.timed_out:
            return False
        following = self.session.attempt + 1
        self.session = Session(self.chain, 0, following, self.keys, self.keys, [])
        self.again()
        return True

    def move_activation(self) -> bool:
        """The key counts."""
        signature = self.signature()
        if signature is None:
            return False
        record = {
            "chain_id": self.chain,
            "epoch": self.epoch,
            "members": self.members,
            "commitments": self.session.commitments,
            "qualified": self.session.qualified,
            "activation": signature,
        }
        self.key_record = self.newest_record = record
        self.log("KeyActivated", {"federation_key": record, "boundary": 0})
        self.cycle = 1
        self.enter(REGISTRATION)
        return True

    def move_registration(self) -> bool:
        """Assign."""
        awaited = {miner for miner in self.veterans if not self._barred(miner, self.cycle)}
        back = awaited and awaited <= set(self.registered)
        if not back and not self.timed_out:
            return False
        if not self.registered:
            self.close("NO_MINERS")
            return True
        self.units = scores.assigned(
            self.randomness, self.registered, self.standings, self.params, self.job
        )
        self.log(
            "Assigned",
            {
                "cycle": self.cycle,
                "seed": self.randomness,
                "base": self.model,
                "units": self.units,
            },
        )
        self.registered = {}
        self.enter(TRAINING)
        return True

    def move_training(self) -> bool:
        """Commitments are in."""
        if len(self.commitments) < len(self.units) and not self.timed_out:
            return False
        return self._units_or_close("Committed", sorted(self.commitments), REVEAL)

    def move_reveal(self) -> bool:
        """Reveals are in."""
        if len(self.reveals) < len(self.commitments) and not self.timed_out:
            return False
        return self._units_or_close("Revealed", sorted(self.reveals), CHALLENGE)

    def _units_or_close(self, name: str, units: list[int], phase: int) -> bool:
        if not units:
            self.close("NO_REVEALS")
            return True
        self.log(name, {"cycle": self.cycle, "units": units})
        self.enter(phase)
        return True

    def _round(self) -> bool:
        signature = self.signature()
        if signature is None:
            return False
        self.log("BeaconRound", {"round": self.awaited[1], "signature": signature})
        self.randomness = sha256(signature).digest()
        return True

    def move_challenge(self) -> bool:
        """Round 2c."""
        if not self._round():
            return False
        self.enter(EVALUATION)
        return True

    def move_evaluation(self) -> bool:
        """Scores."""
        if len(self.tables) < self.n:
            if not self.timed_out:
                return False
            if len(self.tables) < strong(self.n):
                if self.attempt:
                    self.close("NO_QUORUM_OF_TABLES")
                else:
                    self.again()
                return True
        self.scored = scores.scored(
            self.cycle,
            self.units,
            self.tables,
            self.references,
            self.randomness,
            self.params,
            self.job,
            self.standings,
        )
        self.log("Scored", self.scored)
        rows = self.scored["rows"]
        self.references = scores.next_references(self.references, rows, self.params)
        self.standings = scores.standings_after(
            self.standings, self.units, self.scored, self.params
        )
        for miner in self.scored["struck"]:
            self.registered.pop(miner, None)
        if self.scored["tickets_total"]:
            self.enter(DRAW)
        else:
            self.close("NO_TICKETS")
        return True

    def move_draw(self) -> bool:
        """Round 2c + 1, and the winner."""
        if not self._round():
            return False
        rows, most = self.scored["rows"], self.params["ranks_max"]
        self.ranks = scores.drawn(self.randomness, rows, most)
        self.log(
            "Drawn",
            {"cycle": self.cycle, "randomness": self.randomness, "ranks": self.ranks},
        )
        self.enter(AGGREGATION)
        return True

    def move_aggregation(self) -> bool:
        """The next model."""
        said = [vote["models"] for vote in self.votes.values()]
        lists = {tuple(model["digest"] for model in models) for models in said}
        for digests in sorted(lists):
            votes = [models for models in said if tuple(m["digest"] for m in models) == digests]
            if len(votes) >= strong(self.n):
                losses = [
                    scores.median([models[place]["challenge_loss"] for models in votes])
                    for place in range(len(digests))
                ]
                halvings = losses.index(min(losses))
                self.model = digests[halvings]
                made = {
                    "cycle": self.cycle,
                    "digest": self.model,
                    "halvings": halvings,
                    "loss": scores.median([models[halvings]["loss"] for models in votes]),
                    "correct": scores.median([models[halvings]["correct"] for models in votes]),
                    "records": self.heldout_predictions,
                }
                self.log("Aggregated", made)
                self._certify(0)
                return True
        if not self.timed_out:
            return False
        if self.attempt:
            self.close("NO_SNAPSHOT")
        else:
            self.again()
        return True

    def _certify(self, rank: int) -> None:
        place, now = self.ranks[rank], self.agreed_ms // 1000
        own = [
            row for row in self.scored["rows"] if row["miner"] == place["miner"] and row["tickets"]
        ]
        first = max(now, self.tip.time + 1)
        self.window = first, max(first, now + 4 * self.params["block_ms"] // 1000)
        assert self.newest_record is not None
        self.body = blocks.certificate_body(
            {
                "chain_id": self.chain,
                "epoch": self.epoch,
                "cycle": self.cycle,
                "height": self.tip.height + 1,
                "rank": rank,
                "parent": self.tip.hash,
                "not_before": self.window[0],
                "not_after": self.window[1],
                "nonce": self.randomness,
                "winner": place["miner"],
                "parameters": sum(row["parameters"] for row in own),
                "loss_reduction": sum(row["gain"] for row in own),
                "tickets": place["tickets"],
                "tickets_total": self.scored["tickets_total"],
                "contributions_root": self.scored["contributions_root"],
                "log_root": tree(self.hashes),
                "log_size": len(self.hashes),
                "model_snapshot": self.model,
                "next_federation": blocks.key_record_digest(self.newest_record),
            }
        )
        self.rank = rank
        self.enter(CERTIFICATION)

    def move_certification(self) -> bool:
        """The certificate is signed."""
        signature = self.signature()
        if signature is None:
            return False
        self.log("Certified", {"certificate": self.body + signature})
        self.seen = {}
        self.enter(BLOCK, attempt=self.rank)
        return True

    def move_block(self) -> bool:
        """A block was seen, or the rank's time is over."""
        headers = list(self.seen.values())
        for header in sorted(set(headers)):
            if headers.count(header) >= weak(self.n):
                self.header = header
                self.enter(FINALITY)
                return True
        if not self.timed_out:
            return False
        self.log("RankVoided", {"cycle": self.cycle, "rank": self.rank})
        if self.rank + 1 < len(self.ranks):
            self._certify(self.rank + 1)
        else:
            self.close("NO_BLOCK")
        return True

    def move_finality(self) -> bool:
        """The block is the tip."""
        signature = self.signature()
        if signature is None:
            return False
        height, time = self.tip.height + 1, blocks.previous_and_time(self.header)[1]
        self.log(
            "BlockFinal",
            {
                "cycle": self.cycle,
                "height": height,
                "header": self.header,
                "signature": signature,
            },
        )
        self.tip = blocks.Tip(height, blocks.double(self.header), time)
        self.close("BLOCK")
        return True


MOVES: dict[int, Callable[[Fold], bool]] = {
    KEYGEN: Fold.move_keygen,
    ACTIVATION: Fold.move_activation,
    REGISTRATION: Fold.move_registration,
    TRAINING: Fold.move_training,
    REVEAL: Fold.move_reveal,
    CHALLENGE: Fold.move_challenge,
    EVALUATION: Fold.move_evaluation,
    DRAW: Fold.move_draw,
    AGGREGATION: Fold.move_aggregation,
    CERTIFICATION: Fold.move_certification,
    BLOCK: Fold.move_block,
    FINALITY: Fold.move_finality,
}
