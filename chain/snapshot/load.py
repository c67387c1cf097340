"""Beginning a node's store from a snapshot file; all of it is checked, the coins by their digest.

Certified headers, the federation's word and the last block prove themselves under the federation
key.  The coins do not: nothing in a block says what they are.  So whoever loads a snapshot names
its digest, which he has from somebody whom he trusts, for example from his own other node; what
was loaded is counted again from block 0 afterwards (chain/snapshot/checking.py).
Source: Bitcoin Core, doc/design/assumeutxo.md.
"""

import os
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bft.errors import ConfigError, Refused, Unavailable
from chain.durable import sync_directory
from chain.network import network_of
from chain.node.store import Store
from chain.records.block import CertifiedHeader, decode_block, decode_certified_header
from chain.records.evidence import Finality, decode_finality
from chain.records.federation import Genesis
from chain.snapshot.file import SnapshotHead, SnapshotReader
from chain.validation import (
    ParentView,
    check_authorship,
    check_header,
    genesis_view,
    verify_certificates,
    verify_finality,
)

BATCH = 1_000  # certificates that are verified together
LOADING = ".loading"  # at the end of the name of a store that is not whole yet


def load_snapshot(
    path: Path, database: Path, genesis: Genesis, federation_key: bytes, digest: bytes
) -> SnapshotHead:
    """Makes the store `database` from the file `path`: the whole of it or nothing.

    Args:
        digest: 32 bytes, of the coins, as the operator trusts them.

    Raises:
        ConfigError: there is a store already.
        DecodeError, BadSignature, Refused: the file is malformed, or something in it does not
            stand; codes "other-chain", "other-digest", "snapshot-digest", "snapshot-checksum",
            "other-block", and those of headers.
        Unavailable: the disk failed, or is full.
    """
    if database.exists():
        raise ConfigError(f"{database} exists; a snapshot begins a store, it does not change one")
    loading = database.with_name(database.name + LOADING)
    _remove(loading)
    try:
        with path.open("rb") as file:
            reader = SnapshotReader(file)
            _check_head(reader.head, genesis, digest)
            store = Store(loading, genesis.chain_id, genesis_view(genesis))
            try:
                _fill(store, reader, genesis, federation_key)
            finally:
                store.close()
        _settle(loading, database)
    except sqlite3.Error as error:
        _remove(loading)
        raise Unavailable(f"the store {database} cannot be written: {error}") from None
    except BaseException:
        _remove(loading)
        raise
    return reader.head


def _check_head(head: SnapshotHead, genesis: Genesis, digest: bytes) -> None:
    if head.chain_id != genesis.chain_id:
        raise Refused(
            "other-chain",
            f"the snapshot is of chain {head.chain_id.hex()[:16]}; "
            f"this is {genesis.chain_id.hex()[:16]}",
        )
    if head.digest != digest:
        raise Refused(
            "other-digest",
            f"the snapshot's coins have digest {head.digest[::-1].hex()}; "
            f"{digest[::-1].hex()} is trusted",
        )


def _fill(store: Store, reader: SnapshotReader, genesis: Genesis, federation_key: bytes) -> None:
    head = reader.head
    with store.filling(head.height, head.block, head.digest) as filling:
        parent, previous = genesis_view(genesis), genesis_view(genesis)
        for certified in _verified(reader, genesis, federation_key):
            filling.header(certified)
            previous, parent = parent, _view(certified)
        if parent.hash != head.block:
            raise Refused(
                "other-block", "the snapshot's headers lead to another block than it says"
            )
        word = decode_finality(reader.finality())
        _check_word(word, parent, genesis, federation_key)
        block = decode_block(reader.block())
        if block.hash != head.block:
            raise Refused("other-block", "the block in the snapshot is not the one that it is of")
        check_authorship(block, previous, network_of(genesis))
        filling.last(block, word)
        for outpoint, coin in reader.coins():
            filling.coin(outpoint, coin)


def _verified(
    reader: SnapshotReader, genesis: Genesis, federation_key: bytes
) -> Iterator[CertifiedHeader]:
    profile, parent = network_of(genesis), genesis_view(genesis)
    headers = map(decode_certified_header, reader.headers())
    while several := list(islice(headers, BATCH)):
        certificates = [each.coinbase.certificate for each in several]
        verify_certificates(certificates, federation_key, genesis.chain_id)
        for certified in several:
            check_header(certified, parent, profile)
            parent = _view(certified)
            yield certified


def _check_word(word: Finality, last: ParentView, genesis: Genesis, federation_key: bytes) -> None:
    if (word.height, word.block) != (last.height, last.hash):
        raise Refused("other-block", f"the federation's word in it is on block {word.height}")
    verify_finality(federation_key, genesis.chain_id, word.height, word.block, word.signature)


def _view(certified: CertifiedHeader) -> ParentView:
    return ParentView(
        hash=certified.hash, height=certified.certificate.height, time=certified.header.time
    )


def _settle(loading: Path, database: Path) -> None:
    """On disk under its name when this returns; whenever power fails, there is all or nothing."""
    handle = os.open(loading, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    loading.replace(database)
    sync_directory(database.parent)


def _remove(loading: Path) -> None:
    """What a load that was cut off left behind."""
    for suffix in ("", "-wal", "-shm"):
        loading.with_name(loading.name + suffix).unlink(missing_ok=True)
