"""The auditor: one walk along the score log; the genesis record is the only thing it trusts.

Each entry is decoded strictly and placed; each batch's quorum proof and each request's signature is
verified; the fold (chain/audit/fold.py) says which leaves must follow, byte for byte.  After the
first leaf that does not follow, nothing more can be derived; proofs and signatures are still
checked to the end.
Source: docs/AUDITING.md, which lists the checks in order.
Pure: streaming, with memory for one cycle and for the report.
"""

from collections import deque
from collections.abc import Callable, Iterable

from bft.codec.canonical import Record, decode
from bft.errors import DecodeError, Refused
from bft.membership import Membership
from bft.ordering.batch import Batch, batch_digest, decode_batch
from bft.ordering.proof import QuorumProof, verify_quorum_proof
from bft.ordering.request import Request, open_request
from chain.audit.bookmark import Bookmark, Executed, Walk, keep_books, restore_books
from chain.audit.books import Books
from chain.audit.certify import Underivable
from chain.audit.differences import difference
from chain.audit.findings import (
    FINDINGS_MAX,
    AuditReport,
    Before,
    CycleSummary,
    Finding,
    Severity,
)
from chain.audit.fold import Fold
from chain.audit.roots import Roots
from chain.audit.signed import verify_derived
from chain.audit.succession import Succession
from chain.audit.summary import detailed, summarised
from chain.audit.window import RequestWindow
from chain.records.certificate import BlockCertificate
from chain.records.score_log import (
    ENTRY_BYTES_MAX,
    CycleClosed,
    KeyActivated,
    LogEntry,
    Ordered,
    decode_leaf,
    encode_leaf,
    entry_hash,
)
from chain.rules.founding import open_genesis

ENTRY_FRAME_BYTES = 64
"""What an encoded entry has besides its leaf and its proof, at most."""
LOG_ENTRY_BYTES_MAX = 2 * ENTRY_BYTES_MAX + ENTRY_FRAME_BYTES


def audit(genesis: bytes, entries: Iterable[LogEntry | bytes]) -> AuditReport:
    """The report on a whole log, from its first entry on.

    Args:
        genesis: the encoded genesis record, the trust anchor.
        entries: in order; encoded ones are decoded strictly.

    Raises:
        ConfigError: `genesis` is no genesis record.
    """
    auditor = Auditor(genesis)
    for entry in entries:
        auditor.take(entry)
    return auditor.report()


class Auditor:
    """Takes a log entry by entry; `report` may be asked for at any time."""

    def __init__(
        self,
        genesis: bytes,
        on_cycle: Callable[[CycleSummary], None] | None = None,
        *,
        details: bool = False,
        check_models: Callable[[Books, tuple[bytes, ...]], None] | None = None,
        bookmark: Bookmark | None = None,
    ) -> None:
        """Args:
            genesis: the encoded genesis record.
            on_cycle: takes each cycle's summary when the next one begins, so that memory does not
                grow with the log; without it they are kept for the report.
            details: summaries say how each unit was measured and how the draw fell.
            check_models: see chain/audit/models.py; None: their digests are believed.
            bookmark: where an earlier audit of this log came to; the entry after it is taken next.

        Raises:
            ConfigError: `genesis` is no genesis record.
            DecodeError: the bookmark is of another chain, or its parts do not fit.
        """
        self._on_cycle, self._details = on_cycle, details
        self._genesis = open_genesis(genesis)
        self._epochs = Succession(self._genesis.membership)
        self._fold = Fold(self._genesis)
        self._fold.books.check_models = check_models
        self._due: deque[Record] = deque()  # derived records that must follow next
        self._derivable = True
        self._entries = 0
        self._batches = 0
        self._sequence = 0
        self._agreed_ms = 0
        self._roots = Roots()  # of the leaves that stand in the log
        self._signers: tuple[int, ...] = ()  # under the newest batch
        self._cycles: list[CycleSummary] = []
        self._findings: list[Finding] = []
        self._cycle = 0  # to which the entry at hand belongs
        self._found = dict.fromkeys(Severity, 0)
        self._before: Before | None = None
        if bookmark is not None:
            self._go_on_from(bookmark)

    def take(self, entry: LogEntry | bytes) -> None:
        """Check the next entry."""
        self._entries += 1
        if isinstance(entry, bytes):
            try:
                entry = decode(LogEntry, entry, bytes_max=LOG_ENTRY_BYTES_MAX)
            except DecodeError as error:
                self._roots.lose()
                self._break("entry", f"this entry cannot be read: {error}")
                return
        if entry.index != self._here:
            self._break("index", f"index {entry.index} stands there; {self._here} follows")
        self._roots.push(entry_hash(entry.leaf))
        try:
            record = decode_leaf(entry.leaf)
        except DecodeError as error:
            self._break("leaf", f"the leaf cannot be read: {error}{self._expected()}")
            return
        if isinstance(record, Ordered):
            self._take_batch(entry, record)
        else:
            self._take_derived(entry, record)

    @property
    def chain_id(self) -> bytes:
        """32 bytes, of the log that is audited."""
        return self._genesis.chain_id

    @property
    def books(self) -> Books:
        """What follows from the log so far; for reading."""
        return self._fold.books

    @property
    def entries(self) -> int:
        """So many lie behind it."""
        return self._entries

    @property
    def cycle(self) -> int:
        """The one to which the next entry belongs; 0 before the first."""
        return self._cycle

    @property
    def accusations(self) -> list[Finding]:
        """Those that the report lists, in the order in which they were found."""
        return [each for each in self._findings if each.severity is Severity.ACCUSATION]

    @property
    def memberships(self) -> tuple[Membership, ...]:
        """Of the newest epochs, the newest last."""
        return self._epochs.newest

    @property
    def roots(self) -> Roots:
        """Of the log so far."""
        return self._roots

    @property
    def settled(self) -> bool:
        """Whether everything that follows from the newest batch stands in the log."""
        return not self._due

    @property
    def resumable(self) -> bool:
        """Whether another auditor can go on from here: nothing is due, and nothing is broken."""
        return self.settled and self._derivable and not self._found[Severity.BROKEN]

    def walk(self) -> Walk:
        """The state, where it is `resumable`."""
        assert self.resumable
        base, hashes = self._roots.kept()
        running = self._cycles[-1] if self._cycles and self._cycles[-1].closed is None else None
        return Walk(
            base=base,
            hashes=hashes,
            batches=self._batches,
            sequence=self._sequence,
            agreed_ms=self._agreed_ms,
            cycle=self._cycle,
            epochs=self._epochs.kept(),
            running=running,
            accusations=tuple(self._findings),
            accused=self._found[Severity.ACCUSATION],
            executed=tuple(
                Executed(client=client, cseqs=cseqs) for client, cseqs in self._fold.window
            ),
            books=keep_books(self._fold.books),
        )

    def _go_on_from(self, bookmark: Bookmark) -> None:
        chain_id, walk = self._genesis.chain_id, bookmark.walk
        if bookmark.chain_id != chain_id:
            raise DecodeError(f"it is of chain {bookmark.chain_id.hex()}")
        self._roots = Roots(walk.base, walk.hashes)
        newest = self._roots.newest
        if newest is None or newest.root() != bookmark.root:
            raise DecodeError("its hashes do not lead to its root")
        self._epochs.restore(walk.epochs)
        self._entries, self._batches = walk.entries, walk.batches
        self._sequence, self._agreed_ms, self._cycle = walk.sequence, walk.agreed_ms, walk.cycle
        self._cycles = [walk.running] if walk.running is not None else []
        self._findings = list(walk.accusations)
        self._found[Severity.ACCUSATION] = walk.accused
        self._fold.window = RequestWindow((each.client, each.cseqs) for each in walk.executed)
        restore_books(self._fold.books, walk.books)
        self._fold.books.frontier = newest
        self._before = Before(
            entries=walk.entries,
            cycles=max(0, walk.cycle - 1),
            audited=bookmark.audited.decode(errors="replace"),
            passed=bool(bookmark.passed),
        )

    def report(self, cosigned: int | None = None) -> AuditReport:
        """What was found so far.  A log that ends before its last derived leaf is broken, but for
        one that ends at a `cosigned` checkpoint: a cycle may begin in the batch that ends one."""
        findings, breaks = list(self._findings), self._found[Severity.BROKEN]
        if self._derivable and self._due and self._entries != cosigned:
            breaks += 1
            text = f"the log ends here{self._expected()}"
            findings.append(self._finding(Severity.BROKEN, "end", text, self._entries))
        federation_key, newest = self._fold.books.key, self._roots.newest
        return AuditReport(
            chain_id=self._genesis.chain_id,
            name=self._genesis.name.decode(errors="replace"),
            replicas=self._epochs.membership.n,
            federation_key=federation_key.key if federation_key is not None else None,
            entries=self._entries,
            sequences=self._batches,
            log_root=newest.root() if newest is not None else None,
            epochs=self._epochs.told,
            cycles=tuple(self._cycles),
            breaks=breaks,
            findings=tuple(sorted(findings, key=lambda finding: finding.entry)),
            findings_left_out=sum(self._found.values()) - len(self._findings),
            before=self._before,
        )

    # An ordered entry.

    def _take_batch(self, entry: LogEntry, record: Ordered) -> None:
        self._batches += 1
        if self._due:
            self._break("missing", f"the next batch stands there{self._expected()}")
        self._check_proof(entry, record)
        requests = self._check_batch(record)
        if not self._derivable:
            return
        books = self._fold.books
        try:
            derived = self._fold.apply(
                self._here, entry.leaf, record.sequence, record.agreed_ms, requests
            )
        except Underivable as error:
            self._break("derivation", str(error))
            derived = ()
        for accusation in books.accusations:
            self._record(accusation)
        books.accusations.clear()
        self._due.extend(derived)

    def _check_proof(self, entry: LogEntry, record: Ordered) -> None:
        """The batch stands where a strong quorum decided it, and no batch is missing before it."""
        following = self._sequence + 1
        self._signers = ()
        self._epochs.enter(record.sequence)
        try:
            digest = batch_digest(record.batch)
            verify_quorum_proof(entry.proof, self._epochs.membership, record.sequence, digest)
        except DecodeError as error:
            self._break("proof", f"no strong quorum decided this batch here: {error}")
            self._sequence = following
        else:
            signatures = decode(QuorumProof, entry.proof).signatures
            self._signers = tuple(signature.replica for signature in signatures)
            self._sequence = record.sequence
        if record.sequence != following:
            self._break("sequence", f"batch {record.sequence} stands there; {following} follows")

    def _check_batch(self, record: Ordered) -> list[Request]:
        """The batch's requests, each signed by its client; the time is monotone."""
        try:
            batch: Batch = decode_batch(record.batch)
        except DecodeError as error:
            self._break("batch", f"the decided batch cannot be read: {error}", self._signers)
            return []
        self._agreed_ms = max(self._agreed_ms, batch.timestamp_ms)
        if record.agreed_ms != self._agreed_ms:
            text = f"agreed time {record.agreed_ms} stands there; {self._agreed_ms} follows"
            self._break("time", text)
        requests = []
        for place, sealed in enumerate(batch.requests):
            try:
                requests.append(open_request(sealed, self._genesis.chain_id))
            except DecodeError as error:
                text = f"request {place} of the decided batch does not stand: {error}"
                self._break("request", text, self._signers)
        return requests

    # A derived entry.

    def _take_derived(self, entry: LogEntry, record: Record) -> None:
        kind = type(record).__name__
        if entry.proof:
            self._break("derived-proof", f"a {kind} with a proof stands there; it needs none")
        if self._derivable:
            if not self._due:
                self._break("extra", f"a {kind} stands there; nothing but a batch follows")
            else:
                follows = self._due.popleft()
                if entry.leaf != encode_leaf(follows):
                    self._break(_rule(follows), difference(record, follows))
        self._check_signature(record)
        if self._derivable:
            self._summarise(record)
        else:
            self._cycle = getattr(record, "cycle", self._cycle)  # as it says, unproven

    def _check_signature(self, record: Record) -> None:
        """Whatever the federation signed verifies under its one key, as it does for nodes."""
        key = self._fold.books.key
        if key is None:
            return
        try:
            certificate = verify_derived(record, key.key, self.chain_id)
        except (DecodeError, Refused) as error:
            self._break(f"{_rule(record)}-signature", str(error))
            return
        if certificate is not None:
            self._check_root(certificate)
        if isinstance(record, KeyActivated):
            self._epochs.announce(record.federation_key.membership, record.boundary)

    def _check_root(self, certificate: BlockCertificate) -> None:
        """The root that the federation signed is the one over the leaves that stand here."""
        size = certificate.log_size
        root = self._roots.at(size)
        if root is not None and root != certificate.log_root:
            self._break(
                "log-root",
                f"the federation signed root {certificate.log_root.hex()[:16]} over the first "
                f"{size} entries; here it is {root.hex()[:16]}: this copy "
                "is not the log that the federation signed",
            )

    def _summarise(self, record: Record) -> None:
        if isinstance(record, KeyActivated):
            self._cycle = max(self._cycle, 1)
            return
        if not self._cycles or self._cycles[-1].cycle != self._cycle:
            self._cycles.append(CycleSummary(cycle=self._cycle))
            while self._on_cycle is not None and len(self._cycles) > 1:
                self._on_cycle(self._cycles.pop(0))
        summary = summarised(self._cycles[-1], record)
        if self._details:
            summary = detailed(summary, record, self._fold.books.tables_of(self._cycle))
        self._cycles[-1] = summary
        if isinstance(record, CycleClosed):
            self._cycle += 1

    # Findings.

    @property
    def _here(self) -> int:
        """Index of the entry at hand."""
        return self._entries - 1

    def _expected(self) -> str:
        if not self._derivable:
            return ""
        return f"; a {type(self._due[0]).__name__} follows" if self._due else "; a batch follows"

    def _break(self, rule: str, text: str, replicas: tuple[int, ...] = ()) -> None:
        """The entry at hand does not follow; nothing can be derived any more."""
        self._record(self._finding(Severity.BROKEN, rule, text, self._here, replicas))
        self._derivable = False
        self._due.clear()

    def _finding(
        self, severity: Severity, rule: str, text: str, entry: int, replicas: tuple[int, ...] = ()
    ) -> Finding:
        return Finding(
            severity=severity,
            entry=entry,
            sequence=self._sequence,
            cycle=self._cycle,
            rule=rule,
            text=text,
            replicas=replicas,
            epoch=self._epochs.membership.epoch,
        )

    def _record(self, finding: Finding) -> None:
        """Keep the first FINDINGS_MAX of each severity; count the rest."""
        self._found[finding.severity] += 1
        if self._found[finding.severity] <= FINDINGS_MAX:
            self._findings.append(finding)


def _rule(record: Record) -> str:
    """`log.block-final/1` -> `block-final`."""
    return record.TAG.removeprefix("log.").split("/")[0]
