"""Bringing a wallet's book up to the newest final block of a node or a replica.

A wallet that has the genesis record and the federation key believes no server: it takes only blocks
that the next certificate or the federation's word proves (chain/light/follow.py).  Without them the
server is the wallet's own, or believed; blocks must still be whole and stand on each other.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from bft.errors import DecodeError, Refused
from chain.federation import api
from chain.federation.fetch import fetch
from chain.light.follow import LightChain, begin, finalise, follow
from chain.light.source import Source
from chain.records.block import Block, decode_block, decode_certified_header
from chain.records.federation import Genesis
from chain.records.transaction import bitcoin_merkle_root
from chain.validation import ParentView
from chain.wallet.book import Book

STATUS_BYTES_MAX = 1024 * 1024
SAVE_EVERY = 500  # blocks


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """What makes servers checkable."""

    genesis: Genesis
    federation_key: bytes  # 96


def final_height(url: str) -> int:
    """Of the newest final block that a server has.  Raises Unavailable, DecodeError."""
    data = fetch(url.rstrip("/") + api.STATUS, STATUS_BYTES_MAX)
    try:
        told = json.loads(data)
        # A node says what is final; to a replica every block it has is.
        height = told["final_height"] if "final_height" in told else told["height"]
    except (ValueError, TypeError, KeyError, RecursionError):
        height = None
    if type(height) is not int:  # neither true nor 1e999
        raise DecodeError(f"{url} answered with something that is no status")
    return height


def catch_up(
    book: Book, url: str, save: Callable[[Book], None], pinned: Pinned | None = None
) -> int:
    """Apply all final blocks that are not in the book yet; how many those were.

    Raises:
        Unavailable, DecodeError: no answer, or none that makes sense.
        BadSignature, Refused: with `pinned`, what the server shows is not the federation's.
        Refused: "behind": the server has fewer blocks than the book.
    """
    newest, begun = final_height(url), book.height
    if newest < book.height and book.block:
        raise Refused("behind", f"{url} is at block {newest}; the wallet has seen {book.height}")
    proofs = None if pinned is None else _Proofs(Source(url), book, pinned)
    for height in range(book.height + 1, newest + 1):
        wanted = None if proofs is None else proofs.hash_at(height)
        if proofs is not None and wanted is None:
            break  # certified, but not proven yet
        block = _fetched(url, height)
        if wanted is not None and block.hash != wanted:
            raise DecodeError(f"another block came than the one that is proven at height {height}")
        header = block.header
        book.apply(height, block.hash, header.previous, header.time, block.transactions)
        if height % SAVE_EVERY == 0:
            save(book)
    if book.height > begun:
        save(book)
    return book.height - begun


def _fetched(url: str, height: int) -> Block:
    """The block at a height, whole: its transactions are those of its header."""
    path = api.BLOCK.format(height=height)
    block = decode_block(fetch(url.rstrip("/") + path, api.BLOCK_BYTES_MAX))
    if block.certificate.height != height:
        raise DecodeError(f"block {block.certificate.height} came; {height} was asked for")
    if bitcoin_merkle_root([each.txid for each in block.transactions]) != block.header.merkle_root:
        raise DecodeError(f"block {height} came with other transactions than its header's")
    return block


class _Proofs:
    """Hashes of proven blocks, from certified headers, as many at a time as an answer holds."""

    def __init__(self, source: Source, book: Book, pinned: Pinned) -> None:
        self._source, self._hashes = source, dict[int, bytes]()
        self._chain: LightChain = begin(pinned.genesis, pinned.federation_key)
        if book.block:
            # Its time is not kept; every certificate above it says more about time anyway.
            here = ParentView(hash=book.block, height=book.height, time=0)
            self._chain = replace(self._chain, proven=here)

    def hash_at(self, height: int) -> bytes | None:
        """32 bytes; None: the block at this height is not proven."""
        before = -1
        while height > self._chain.proven.height > before:
            before = self._chain.proven.height
            self._more()
        return self._hashes.get(height) if height <= self._chain.proven.height else None

    def _more(self) -> None:
        headers = self._source.headers(self._chain.height + 1)
        chain = follow(self._chain, headers)
        for data in headers:
            found = decode_certified_header(data)
            self._hashes[found.certificate.height] = found.hash
        if len(headers) < api.HEADERS_LIMIT_MAX and chain.tip is not None:
            word = self._source.finality(chain.height)
            chain = chain if word is None else finalise(chain, word)
        self._chain = chain
