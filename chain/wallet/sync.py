"""Bringing a wallet's book up to the newest final block of a node or a replica.

The server is the wallet's own, or believed: blocks are decoded and must stand on each other, but
certificates are not checked here; `gristmill verify --from` and a node of one's own do that.
"""

import json
from collections.abc import Callable

from bft.errors import DecodeError, Refused
from chain.federation import api
from chain.federation.fetch import fetch
from chain.records.block import decode_block
from chain.wallet.book import Book

STATUS_BYTES_MAX = 1024 * 1024
SAVE_EVERY = 500  # blocks


def final_height(url: str) -> int:
    """Of the newest final block that a server has.  Raises Unavailable, DecodeError."""
    data = fetch(url.rstrip("/") + api.STATUS, STATUS_BYTES_MAX)
    try:
        told = json.loads(data)
        # A node says what is final; to a replica every block it has is.
        return int(told["final_height"] if "final_height" in told else told["height"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DecodeError(f"{url} answered with something that is no status") from None


def catch_up(book: Book, url: str, save: Callable[[Book], None]) -> int:
    """Apply all final blocks that are not in the book yet; how many those were.

    Raises:
        Unavailable, DecodeError: no answer, or none that makes sense.
        Refused: "behind": the server has fewer blocks than the book.
    """
    newest, begun = final_height(url), book.height
    if newest < book.height and book.block:
        raise Refused("behind", f"{url} is at block {newest}; the wallet has seen {book.height}")
    for height in range(book.height + 1, newest + 1):
        data = fetch(url.rstrip("/") + api.BLOCK.format(height=height), api.BLOCK_BYTES_MAX)
        block = decode_block(data)
        if block.certificate.height != height:
            raise DecodeError(f"block {block.certificate.height} came; {height} was asked for")
        view = block.header
        book.apply(height, block.hash, view.previous, view.time, block.transactions)
        if height % SAVE_EVERY == 0:
            save(book)
    if book.height > begun:
        save(book)
    return book.height - begun
