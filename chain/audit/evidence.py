"""Evidence: what a replica signed and should not have, so that a third party can check it alone.

A bundle holds the requests themselves, each under its author's identity key, and what they are
compared with.  Who checks it needs no log, and trusts the genesis record and the federation key.
Rules: docs/AUDITING.md, "Accusations".  Accusations of a key ceremony have no bundle: the first
entries of the log are it.
Pure.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope
from bft.codec.types import U16, U32, U63
from bft.crypto.threshold import PublicPolynomial, verify_share
from bft.errors import BadSignature, DecodeError, Refused
from bft.membership import Membership
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request, open_request
from chain.audit.certify import header_fault
from chain.audit.findings import Finding
from chain.epochs import verify_epoch
from chain.records.block import block_hash
from chain.records.certificate import decode_certificate, finality_message
from chain.records.commands import readable_operations
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.federation import FederationKey, Genesis
from chain.records.score_log import (
    BlockFinal,
    Certified,
    KeyActivated,
    LogEntry,
    Ordered,
    Scored,
    decode_leaf,
)
from chain.records.votes import BlockSeen, Purpose, SignatureShare
from chain.rules.beacon import round_message
from chain.rules.founding import open_genesis
from chain.rules.scoring import agree, deviations

EVIDENCE_BYTES_MAX = 64 * 1024 * 1024
CYCLES_KEPT = 3
"""Cycles whose requests are at hand: a late message is held against its author in the next one."""

Said = EvaluationTable | SnapshotVote | SignatureShare | BlockSeen
Context = Scored | Certified | BlockFinal


class Evidence(Record):
    """One accusation, with all that proves it."""

    TAG = "gristmill.evidence/1"

    genesis: bytes  # encoded Genesis
    activated: bytes  # encoded FederationKey of `epoch`
    rule: Annotated[bytes, Meta(max_length=64)]
    replica: U16  # of `epoch`
    epoch: U32
    cycle: U63
    text: Annotated[bytes, Meta(max_length=4096)]  # what the auditor wrote
    requests: tuple[bytes, ...]  # sealed; the first is the accused replica's
    leaves: tuple[bytes, ...]  # encoded, with which they are compared


class EvidenceKeeper:
    """Walks along the log beside the auditor, and keeps what accusations may need."""

    def __init__(self, genesis: bytes) -> None:
        self._genesis = genesis
        self._activated: dict[int, FederationKey] = {}  # by epoch
        self._cycles: deque[tuple[int, list[tuple[int, bytes]], list[bytes]]] = deque(
            maxlen=CYCLES_KEPT
        )

    def take(self, data: bytes, cycle: int, bytes_max: int) -> None:
        """The next encoded entry; one that cannot be read is the auditor's business."""
        if not self._cycles or self._cycles[-1][0] != cycle:
            self._cycles.append((cycle, [], []))
        _, requests, leaves = self._cycles[-1]
        try:
            entry = decode(LogEntry, data, bytes_max=bytes_max)
            record = decode_leaf(entry.leaf)
            if isinstance(record, Ordered):
                batch = decode_batch(record.batch)
                requests += [(entry.index, s) for s in batch.requests if any(_operations(s, Said))]
        except DecodeError:
            return
        if isinstance(record, Context):
            leaves.append(entry.leaf)
        elif isinstance(record, KeyActivated):
            self._activated[record.federation_key.epoch] = record.federation_key

    def evidence(self, finding: Finding) -> Evidence | None:
        """The bundle of an accusation; None where there is none for its rule."""
        made = self._activated.get(finding.epoch)
        if made is None or finding.rule not in _CHECKS or len(finding.replicas) != 1:
            return None
        (replica,) = finding.replicas
        kind, key = _KINDS[finding.rule], made.members[replica].key
        own, others = [], []
        for index, sealed in self._requests(kind, finding.cycle):
            author = decode(Request, decode(Envelope, sealed).body).client
            if author != key:
                others.append(sealed)
            elif index == finding.entry:
                own.append(sealed)
        if not own:
            return None
        return Evidence(
            genesis=self._genesis,
            activated=encode(made),
            rule=finding.rule.encode(),
            replica=replica,
            epoch=finding.epoch,
            cycle=finding.cycle,
            text=finding.text.encode()[:4096],
            requests=(own[-1], *(others if kind is not SignatureShare else ())),
            leaves=tuple(leaf for _, _, leaves in self._cycles for leaf in leaves),
        )

    def _requests(self, kind: type[Said], cycle: int) -> Iterator[tuple[int, bytes]]:
        """(entry, sealed request) with an operation of this kind, and cycle where it has one."""
        for _, requests, _ in self._cycles:
            for index, sealed in requests:
                said = _operations(sealed, kind)
                if any(getattr(each, "cycle", cycle) == cycle for each in said):
                    yield index, sealed


def open_evidence(data: bytes) -> Evidence:
    """Raises DecodeError: no bundle."""
    return decode(Evidence, data, bytes_max=EVIDENCE_BYTES_MAX)


def check_evidence(evidence: Evidence, federation_key: bytes | None) -> tuple[str, ...]:
    """What the bundle proves, line by line.

    Args:
        federation_key: 96 bytes, pinned; None: the one that the bundle brings is believed.

    Raises:
        ConfigError: its genesis record is none.
        DecodeError: it is malformed, or a signature in it does not stand.
        Refused: "no-evidence", it does not prove what it says.
    """
    genesis = open_genesis(evidence.genesis)
    made = decode(FederationKey, evidence.activated, bytes_max=EVIDENCE_BYTES_MAX)
    verify_epoch(made, federation_key or made.key, genesis.chain_id)
    rule = evidence.rule.decode("ascii", "replace")
    if made.epoch != evidence.epoch or evidence.replica >= len(made.members):
        raise Refused("no-evidence", f"epoch {made.epoch} has no replica {evidence.replica}")
    if rule not in _CHECKS or not evidence.requests:
        raise Refused("no-evidence", f"nothing can be proven by the rule {rule[:64]!r}")
    said = _opened(evidence, genesis.chain_id, made.membership)
    leaves = [decode_leaf(leaf) for leaf in evidence.leaves]
    proof = _CHECKS[rule](evidence, genesis, made, said, leaves)
    who = made.members[evidence.replica]
    operator = who.operator.decode("utf-8", "replace")
    return (
        f"chain {genesis.chain_id.hex()}",
        f"replica {evidence.replica} of epoch {evidence.epoch}: {operator!r}, key {who.key.hex()}",
        f"signed in cycle {evidence.cycle}: {rule}",
        proof,
    )


Authored = list[tuple[int, Said]]


def _opened(evidence: Evidence, chain_id: bytes, membership: Membership) -> Authored:
    """(author, what it said), the accused replica's first; every signature verified."""
    found: Authored = []
    for place, sealed in enumerate(evidence.requests):
        request = open_request(sealed, chain_id)
        author = membership.index_by_key.get(request.client)
        if place == 0 and author != evidence.replica:
            raise Refused("no-evidence", "the first request is not the accused replica's")
        if author is not None:
            found += [(author, each) for each in _operations(sealed, Said)]
    return found


def _operations(sealed: bytes, kind: object) -> list[Said]:
    request = decode(Request, decode(Envelope, sealed).body)
    return [each for each in readable_operations(request.operation) if isinstance(each, kind)]  # type: ignore[arg-type, misc]


def _own(said: Authored, replica: int, kind: type[Said]) -> Iterable[Said]:
    return (each for author, each in said if author == replica and isinstance(each, kind))


def _check_evaluation(
    evidence: Evidence, genesis: Genesis, made: FederationKey, said: Authored, leaves: list[Record]
) -> str:
    """The table is farther from the medians of those that were counted than is tolerated."""
    cycle = evidence.cycle
    counted = next((s for s in leaves if isinstance(s, Scored) and s.cycle == cycle), None)
    tables: dict[int, EvaluationTable] = {}
    for author, each in said:
        if isinstance(each, EvaluationTable) and each.cycle == cycle:
            tables.setdefault(author, each)
    own = tables.get(evidence.replica)
    chosen = {r: tables[r] for r in (counted.evaluators if counted else ()) if r in tables}
    if own is None or counted is None or len(chosen) < made.membership.strong:
        raise Refused("no-evidence", "a strong quorum's tables and the accused's are expected")
    units = [[row.unit for row in table.rows] for table in (own, *chosen.values())]
    if any(listed != units[0] for listed in units):
        raise Refused("no-evidence", "the tables do not list the same units")
    agreed = agree(chosen)
    found = deviations({evidence.replica: own}, agreed, genesis.params)
    if not found:
        raise Refused("no-evidence", "the table is within the tolerance")
    return (
        f"{len(found)} of {len(own.rows)} measurements are farther than "
        f"{genesis.params.tolerance_micronats} micro-nats from the medians of replicas "
        f"{', '.join(map(str, sorted(chosen)))}, whose signed tables are here"
    )


def _check_snapshot(
    evidence: Evidence, genesis: Genesis, made: FederationKey, said: Authored, leaves: list[Record]
) -> str:
    """A strong quorum of others computed another model."""
    votes: dict[int, tuple[bytes, ...]] = {}
    for author, each in said:
        if isinstance(each, SnapshotVote) and each.cycle == evidence.cycle:
            votes.setdefault(author, tuple(model.digest for model in each.models))
    own = votes.pop(evidence.replica, None)
    for digests in set(votes.values()):
        quorum = sorted(author for author in votes if votes[author] == digests)
        if own is not None and own != digests and len(quorum) >= made.membership.strong:
            return (
                f"it voted for model {own[0].hex()}; replicas {', '.join(map(str, quorum))} "
                f"signed for {digests[0].hex()}"
            )
    raise Refused("no-evidence", "no strong quorum voted for another model")


def _check_share(
    evidence: Evidence, genesis: Genesis, made: FederationKey, said: Authored, leaves: list[Record]
) -> str:
    """The share is not under the replica's part of the federation key."""
    public = PublicPolynomial(commitments=made.commitments)
    for share in _own(said, evidence.replica, SignatureShare):
        assert isinstance(share, SignatureShare)
        message = _message(share, genesis.chain_id, leaves)
        if share.epoch != evidence.epoch or message is None:
            continue
        try:
            verify_share(public, evidence.replica, share.share, message)
        except BadSignature:
            name = Purpose(share.purpose).name.lower()
            return (
                f"its {name} share for subject {share.subject}, rank {share.rank} does not verify "
                f"under its part of the federation key"
            )
    raise Refused("no-evidence", "its shares verify, or what they sign is not in the bundle")


def _message(share: SignatureShare, chain_id: bytes, leaves: list[Record]) -> bytes | None:
    """What the federation was to sign, where a leaf of the bundle says so."""
    if share.purpose == Purpose.BEACON:
        return round_message(share.subject)
    for leaf in leaves:
        if isinstance(leaf, Certified) and share.purpose == Purpose.CERTIFICATE:
            certificate, _ = decode_certificate(leaf.certificate)
            if (certificate.cycle, certificate.rank) == (share.subject, share.rank):
                return certificate.message()
        if (
            isinstance(leaf, BlockFinal)
            and share.purpose == Purpose.FINALITY
            and leaf.cycle == share.subject
        ):
            return finality_message(chain_id, leaf.height, block_hash(leaf.header))
    return None


def _check_header(
    evidence: Evidence, genesis: Genesis, made: FederationKey, said: Authored, leaves: list[Record]
) -> str:
    """It voted for a header that no block of the chain can have."""
    for seen in _own(said, evidence.replica, BlockSeen):
        assert isinstance(seen, BlockSeen)
        fault = header_fault(seen.header, genesis.params)
        if fault and seen.cycle == evidence.cycle:
            return f"it voted for a block: {fault}"
    raise Refused("no-evidence", "the headers that it voted for are those of blocks")


_KINDS: Mapping[str, type[Said]] = {
    "evaluation": EvaluationTable,
    "snapshot": SnapshotVote,
    "bad-share": SignatureShare,
    "block-header": BlockSeen,
}
_CHECKS = {
    "evaluation": _check_evaluation,
    "snapshot": _check_snapshot,
    "bad-share": _check_share,
    "block-header": _check_header,
}
