"""The cycle's state, its log, the signatures it waits for: docs/PROTOCOL.md, sections 7 and 15."""

from hashlib import sha256
from typing import Any

from tests.oracle import blocks, scores
from tests.oracle.primitives import leaf, tagged, threshold_signature, weak
from tests.oracle.records import decode, encode, layouts, numbers, pack
from tests.oracle.session import Session

Fields = dict[str, Any]
KEYGEN, ACTIVATION, REGISTRATION, TRAINING, REVEAL, CHALLENGE = range(6)
EVALUATION, DRAW, AGGREGATION, CERTIFICATION, BLOCK, FINALITY = range(6, 12)
ENTRY_BYTES_MAX = 65_535


class Refused(Exception):
    """An operation that changes nothing; the word says why."""


def require(holds: bool, word: str) -> None:
    """Raises Refused."""
    if not holds:
        raise Refused(word)


class State:
    """What outlives an operation, and the log so far."""

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
        self.rank, self.window, self.body, self.header = 0, (0, 0), b"", b""

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

    @property
    def heldout_predictions(self) -> int:
        """Text has one for each byte of its context; every other family one a record."""
        sizes = {size["name"]: size["value"] for size in self.job["sizes"]}
        each = sizes[b"context"] if self.job["family"] == b"gpt" else 1
        return int(self.job["heldout_records"] * each)

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
