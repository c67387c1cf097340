"""What an auditor reads again: its own state."""

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from chain.audit.bookmark import (
    DIGEST_BYTES,
    MAGIC,
    Bookmark,
    decode_bookmark,
    encode_bookmark,
)
from chain.audit.replay import Auditor
from tests.chain.audit.mill import Mill
from tests.fuzz.target import Target

MILL = Mill().found().to_evaluation()
GENESIS = encode(MILL.genesis)


def _sample() -> bytes:
    auditor = Auditor(GENESIS)
    for entry in MILL.entries:
        auditor.take(entry)
    newest = auditor.roots.newest
    assert newest is not None
    return encode_bookmark(
        Bookmark(
            chain_id=auditor.chain_id,
            release=b"1.0",
            audited=b"2026-11-23",
            passed=1,
            root=newest.root(),
            walk=auditor.walk(),
        )
    )


def _read(data: bytes) -> bytes:
    """A bookmark that is taken gives an auditor of the same state."""
    bookmark = decode_bookmark(data)
    encoded = encode_bookmark(bookmark)
    auditor = Auditor(GENESIS, bookmark=bookmark)
    assert auditor.resumable and auditor.report().passed
    return encoded


def _sealed(body: bytes) -> bytes:
    return MAGIC + sha256(body) + body


def targets() -> tuple[Target, ...]:
    """By room."""
    sample = _sample()
    return (
        Target(
            name="bookmark",
            read=_read,
            samples=(sample,),
            inner=(sample[len(MAGIC) + DIGEST_BYTES :],),
            wrap=_sealed,
            covers=("chain.audit.bookmark:decode_bookmark",),
        ),
    )
