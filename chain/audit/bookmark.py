"""An auditor's state after an entry of the log, from which another audit goes on.

    bytes = MAGIC || SHA-256 of the body || body

The body is the one encoding of a `Bookmark`.  It holds the whole state of the fold, the right edge
of the log's Merkle tree and the accusations found so far: what was read once need not be read
again, and a log that goes on from another past has another root.  It is trusted when it is read,
as a pinned key is: the digest tells damage, and whoever can write it can make its reader believe
another past.  It serves one chain, and the release that wrote it: a later one may check more.
Source: docs/AUDITING.md, "The next audit".
Pure.
"""

from dataclasses import fields, is_dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U63, Bytes32, IdentityKey
from bft.crypto.hashing import sha256
from bft.crypto.merkle import Frontier
from bft.dkg.transcript import Transcript
from bft.errors import DecodeError, FederationError
from bft.ordering.request import CLIENTS_MAX, CSEQ_WINDOW
from chain.audit.books import Books, Change, CycleBooks, Judged, What
from chain.audit.findings import FINDINGS_MAX, CycleSummary, Finding, Severity
from chain.audit.roots import FRONTIERS_KEPT
from chain.audit.succession import KeptSuccession
from chain.records.contribution import Profile, Standing
from chain.records.evaluation import References
from chain.records.federation import FederationKey
from chain.records.phase import Phase
from chain.records.score_log import KeyActivated

MAGIC = b"gristmill-bookmark/1\n"
"""Name and version of the layout."""
DIGEST_BYTES = 32
BOOKMARK_BYTES_MAX = 256 * 1024 * 1024
"""A hundred miners make some 200 kB; a bookmark that would be longer is not kept."""
RELEASE_BYTES_MAX = 64
DATE_BYTES_MAX = 64


class BookmarkTooLong(FederationError):
    """The state does not fit; the next audit begins anew."""


class KeptBooks(Record):
    """The fields of chain/audit/books.py's Books that the genesis record does not determine."""

    phase: Phase
    cycle: U63
    attempt: U63
    elapsed: set[int]
    began: U63
    change: Change | None
    successor: tuple[KeyActivated, Transcript] | None
    transcript: Transcript
    key: FederationKey | None
    wanted: What | None
    shares: dict[int, bytes]
    given: set[int]
    randomness: Bytes32
    model: Bytes32
    references: tuple[References, ...]
    tip_height: U63
    tip_hash: Bytes32
    tip_time: U63
    registrations: dict[IdentityKey, Profile]
    standings: dict[IdentityKey, Standing]
    veterans: tuple[IdentityKey, ...]
    now: CycleBooks
    judged: Judged
    judged_before: Judged


class Executed(Record):
    """Which requests of a client were executed, as far as it matters."""

    client: IdentityKey
    cseqs: Annotated[tuple[U63, ...], Meta(min_length=1, max_length=CSEQ_WINDOW)]  # ascending


class Walk(Record):
    """The state of chain/audit/replay.py's Auditor, everything before it being as it should."""

    base: Frontier  # of the oldest size whose root is known
    hashes: Annotated[tuple[Bytes32, ...], Meta(max_length=FRONTIERS_KEPT - 1)]  # leaves after it
    batches: U63
    sequence: U63
    agreed_ms: U63
    cycle: U63
    epochs: KeptSuccession
    running: CycleSummary | None  # of the cycle that is not closed
    accusations: Annotated[tuple[Finding, ...], Meta(max_length=FINDINGS_MAX)]
    accused: U63  # accusations, listed or not
    executed: Annotated[tuple[Executed, ...], Meta(max_length=CLIENTS_MAX)]  # longest ago first
    books: KeptBooks

    @property
    def entries(self) -> int:
        """So many entries lie behind it."""
        return self.base.size + len(self.hashes)


class Bookmark(Record):
    """A walk, and whose it is."""

    chain_id: Bytes32
    release: Annotated[bytes, Meta(min_length=1, max_length=RELEASE_BYTES_MAX)]  # of the software
    audited: Annotated[bytes, Meta(max_length=DATE_BYTES_MAX)]  # when, for people
    passed: Annotated[int, Meta(ge=0, le=1)]  # 0: of an audit that is under way
    root: Bytes32  # of the log over the walk's entries
    walk: Walk


def keep_books(books: Books) -> KeptBooks:
    """The state of a fold between two batches."""
    return KeptBooks(**{name: getattr(books, name) for name in KeptBooks.__struct_fields__})


def restore_books(books: Books, kept: KeptBooks) -> None:
    """Bring the books of a fold that has begun to where it was kept."""
    for name in KeptBooks.__struct_fields__:
        setattr(books, name, getattr(kept, name))
    if kept.key is not None:
        books.members, books.membership = kept.key.members, kept.key.membership


def encode_bookmark(bookmark: Bookmark) -> bytes:
    """Raises BookmarkTooLong: it is longer than BOOKMARK_BYTES_MAX."""
    body = _encoder.encode(_ordered(bookmark))
    if len(body) > BOOKMARK_BYTES_MAX:
        raise BookmarkTooLong(f"{len(body)} bytes; at most {BOOKMARK_BYTES_MAX} are kept")
    return MAGIC + sha256(body) + body


def decode_bookmark(data: bytes) -> Bookmark:
    """The bookmark in `data`.

    Raises:
        DecodeError: another layout, damaged, or not the one encoding of a state.
    """
    start = len(MAGIC) + DIGEST_BYTES
    if data[: len(MAGIC)] != MAGIC:
        raise DecodeError(f"it does not begin with {MAGIC!r}")
    body = data[start:]
    if len(body) > BOOKMARK_BYTES_MAX:
        raise DecodeError(f"it has {len(body)} bytes; at most {BOOKMARK_BYTES_MAX} are read")
    if sha256(body) != data[len(MAGIC) : start]:
        raise DecodeError("its digest is not that of its bytes: it is damaged")
    try:
        bookmark = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DecodeError(f"not the state of an audit: {error}") from None
    if _encoder.encode(_ordered(bookmark)) != body:
        raise DecodeError("not the canonical encoding of an audit's state")
    _check_parts(bookmark.walk)
    return bookmark


def _check_parts(walk: Walk) -> None:
    """What types do not say.  Raises DecodeError."""
    base = walk.base
    if base.size < 0 or len(base.peaks) != base.size.bit_count():
        raise DecodeError(f"a tree of {base.size} leaves has not {len(base.peaks)} peaks")
    if any(len(peak) != DIGEST_BYTES for peak in base.peaks):
        raise DecodeError("a peak is no digest")
    if any(finding.severity is not Severity.ACCUSATION for finding in walk.accusations):
        raise DecodeError("a finding breaks the log; nothing goes on from there")
    if walk.accused < len(walk.accusations):
        raise DecodeError(f"{len(walk.accusations)} accusations stand there; {walk.accused} count")
    if walk.running is not None and walk.running.closed is not None:
        raise DecodeError("the cycle that runs is closed")


def _ordered(value: Any) -> Any:
    """The same with sets and maps in the order of their items, so that it has one encoding."""
    if isinstance(value, (Walk, Bookmark, KeptBooks, KeptSuccession)):
        return [_ordered(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, Record):
        return value
    if is_dataclass(value):
        return {each.name: _ordered(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, tuple):
        return [_ordered(item) for item in value]
    return value


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Bookmark, strict=True)
