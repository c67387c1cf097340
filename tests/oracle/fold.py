"""The cycle: docs/PROTOCOL.md, section 7.  State, operations, moves; members.py has the changes."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tests.oracle import blocks, evidence, model, scores
from tests.oracle.primitives import (
    leaf,
    opened,
    signed_by,
    strong,
    tagged,
    threshold_signature,
    tree,
    weak,
)
from tests.oracle.records import Malformed, decode, encode, layouts, numbers, pack
from tests.oracle.session import DONE, FAILED, Session

Fields = dict[str, Any]
KEYGEN, ACTIVATION, REGISTRATION, TRAINING, REVEAL, CHALLENGE = range(6)
EVALUATION, DRAW, AGGREGATION, CERTIFICATION, BLOCK, FINALITY = range(6, 12)
TIMED = (KEYGEN, REGISTRATION, TRAINING, REVEAL, EVALUATION, AGGREGATION, BLOCK)
RECEIPT_BYTES_MAX = 1024
ENTRY_BYTES_MAX = 65_535


class Refused(Exception):
    """An operation that changes nothing; the word says why."""


def require(holds: bool, word: str) -> None:
    """Raises Refused."""
    if not holds:
        raise Refused(word)


class Fold:
    """What follows from the executed operations, and the log so far."""

    def __init__(self, genesis: bytes, claimed: frozenset[bytes]) -> None:
        """`claimed`: signatures that stand in the log; all of them are verified at the end."""
        self.genesis = decode("Genesis", genesis)
        self.chain = tagged("gristmill.genesis/1", genesis)
        self.params, self.job = self.genesis["params"], self.genesis["job"]
        self.claimed, self.used = claimed, list[tuple[bytes, bytes]]()
        self.hashes: list[bytes] = []  # of the log's entries
        self.due: list[tuple[str, Fields]] = []  # leaves that follow
        self.sequence = self.agreed_ms = 0
        self.epoch, self.members = 0, self.genesis["members"]
        self.session = Session(self.chain, 0, 0, self.keys, self.keys, [])
        self.key_record: Fields | None = None
        self.newest_record: Fields | None = None
        self.phase, self.cycle, self.attempt = KEYGEN, 0, 0
        self.elapsed: set[int] = set()
        self.shares: dict[int, bytes] = {}
        self.randomness, self.model = self.chain, self.job["genesis_model"]
        self.references = scores.first_references(self.params, self.job)
        self.tip = blocks.block_0(self.chain, self.genesis)
        self.registered: dict[bytes, Fields] = {}
        self.veterans: set[bytes] = set()
        self.standings: dict[bytes, Fields] = {}
        self.coming: list[Fields] = []  # members proposed or activated
        self._forget()

    def _forget(self) -> None:
        self.units: list[Fields] = []
        self.commitments: dict[int, bytes] = {}
        self.reveals: set[int] = set()
        self.tables: dict[int, Fields] = {}
        self.votes: dict[int, Fields] = {}
        self.seen: dict[int, bytes] = {}
        self.scored: Fields = {}
        self.ranks: list[Fields] = []
        self.rank, self.body, self.header = 0, b"", b""

    @property
    def keys(self) -> list[bytes]:
        """Identity keys of the running epoch's members."""
        return [member["key"] for member in self.members]

    @property
    def n(self) -> int:
        """Members."""
        return len(self.members)

    @property
    def timed_out(self) -> bool:
        """`weak` clocks said so."""
        return len(self.elapsed) >= weak(self.n)

    # The log.

    def log(self, name: str, fields: Fields) -> None:
        """One more leaf."""
        self.due.append((name, fields))
        self.push(name, fields)

    def push(self, name: str, fields: Fields) -> bytes:
        """The leaf's bytes, which the log's tree has from now on."""
        data = pack([layouts()[name].tag.encode(), encode(name, fields)])
        entry = data
        if len(data) > ENTRY_BYTES_MAX:
            short = {"size": len(data), "digest": sha256(data).digest()}
            entry = pack([b"log.by-digest/1", pack(list(short.values()))])
        self.hashes.append(leaf(entry))
        return data

    # Operations.

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
        require(self.session.hear(self.keys[author], name, said), "ceremony")

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

    @property
    def heldout_predictions(self) -> int:
        """Text has one for each byte of its context; every other family one a record."""
        sizes = {size["name"]: size["value"] for size in self.job["sizes"]}
        each = sizes[b"context"] if self.job["family"] == b"gpt" else 1
        return int(self.job["heldout_records"] * each)

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

    # Signatures.

    @property
    def awaited(self) -> tuple[int, int, int, bytes]:
        """(purpose, subject, rank, message)."""
        purposes = numbers("Purpose")
        match self.phase:
            case 1:
                commitments = self.session.commitments
                message = blocks.activation_message(
                    self.chain, self.epoch, self.members, commitments
                )
                return purposes["ACTIVATION"], self.epoch, 0, message
            case 5 | 7:
                number = 2 * self.cycle + (self.phase == DRAW)
                return purposes["BEACON"], number, 0, blocks.beacon_message(number)
            case 9:
                message = tagged("gristmill/certificate/v1", self.body)
                return purposes["CERTIFICATE"], self.cycle, self.rank, message
            case 11:
                block = blocks.double(self.header)
                message = blocks.finality_message(self.chain, self.tip.height + 1, block)
                return purposes["FINALITY"], self.cycle, self.rank, message
        raise Refused("wrong-phase")

    def signature(self) -> bytes | None:
        """Of what the phase waits for, if t shares of it are good."""
        commitments = self.session.commitments
        return self.made(self.shares, commitments, self.awaited[3])

    def made(
        self, shares: dict[int, bytes], commitments: list[bytes], message: bytes
    ) -> bytes | None:
        """The signature that these shares under this sharing make."""
        found = threshold_signature(shares, commitments, message, self.claimed)
        if found is not None:
            self.used.append((message, found))
        return found

    # Moves.

    def enter(self, phase: int, attempt: int = 0) -> None:
        """In another phase, with fresh clocks and shares."""
        self.phase, self.attempt, self.elapsed, self.shares = phase, attempt, set(), {}

    def again(self) -> None:
        """The same phase once more."""
        self.attempt, self.elapsed = (self.attempt + 1) % 256, set()

    def close(self, reason: str) -> None:
        """The next cycle opens."""
        self.before_close()
        number = numbers("CloseReason")[reason]
        self.log("CycleClosed", {"cycle": self.cycle, "reason": number})
        self.veterans = {self.units[unit]["miner"] for unit in self.reveals}
        self._forget()
        self.cycle += 1
        self.enter(REGISTRATION)

    def before_close(self) -> None:
        """For members.py."""

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
