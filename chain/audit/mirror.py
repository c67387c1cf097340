"""A log in files, as replicas publish it and any web server mirrors it: the way back to entries.

Source: C2SP tlog-tiles; docs/PROTOCOL.md section 15.  Nothing in the files is trusted: entries go
to the auditor, and every tile of hashes is compared with the one that the entries lead to.  Where
only the newest entries are read, the tiles before them say what lies there: with the new entries
they must lead to the checkpoint's root.
Pure: callers read the files.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.audit.findings import Finding, Severity
from chain.records.score_log import (
    TREE_ENTRY_BYTES_MAX,
    ByDigest,
    Leaf,
    LogEntry,
)
from chain.tlog.tiles import (
    TILE_WIDTH,
    File,
    TileTree,
    bundle_path,
    decode_bundle,
    leaf_path,
    proofs_path,
    widths,
)

TILE_FINDINGS_MAX = 100

Read = Callable[[str], bytes]
"""A file by its path; raises Unavailable."""


class Mirror:
    """The entries that a checkpoint covers."""

    def __init__(self, size: int, root: bytes, read: Read) -> None:
        """`size` and `root`: of the checkpoint."""
        self.size, self._root, self._read = size, root, read
        self.findings: list[Finding] = []
        self._tree = TileTree()

    def entries(self, first: int = 0) -> Iterator[bytes]:
        """Encoded entries from `first` on; one that cannot be read comes out empty, as the last."""
        bundles = first // TILE_WIDTH  # before the one that holds the entry
        if first >= self.size:
            return
        try:
            self._tree = TileTree.before(bundles * TILE_WIDTH, self.size, self._read)
        except DecodeError:
            yield b""
            return
        for number, width in islice(widths(self.size), bundles, None):
            try:
                bundle = decode_bundle(self._read(bundle_path(number, width)), width)
                proofs = decode_bundle(self._read(proofs_path(number, width)), width)
            except DecodeError:
                yield b""
                return
            for offset, (entry, proof) in enumerate(zip(bundle, proofs, strict=True)):
                leaf = self._leaf(entry)
                self._compare(self._tree.append(leaf, proof))
                index = number * TILE_WIDTH + offset
                if index >= first:
                    yield encode(LogEntry(index=index, leaf=leaf, proof=proof))
        self._compare(self._tree.partial())
        if first and self._tree.root() != self._root:  # else the auditor's root tells
            here, told = self._tree.root().hex()[:16], self._root.hex()[:16]
            self._find(f"entries and tiles lead to root {here}; the checkpoint says {told}")

    def _leaf(self, entry: bytes) -> bytes:
        """The encoded leaf for which an entry stands; the entry itself if there is no such leaf."""
        try:
            told = decode(Leaf, entry, bytes_max=TREE_ENTRY_BYTES_MAX)
            if told.tag != ByDigest.TAG.encode():
                return entry
            named = decode(ByDigest, told.body)
        except DecodeError:
            return entry
        leaf = self._read(leaf_path(named.digest))
        return leaf if (len(leaf), sha256(leaf)) == (named.size, named.digest) else entry

    def _compare(self, files: list[File]) -> None:
        """The tiles of hashes that stand there are those that follow from the entries."""
        for path, follows in files:
            tile = path.startswith("tile/") and not path.startswith("tile/entries/")
            if tile and self._read(path) != follows:
                self._find(f"{path} holds other hashes than those that follow from the entries")

    def _find(self, text: str) -> None:
        if len(self.findings) < TILE_FINDINGS_MAX:
            self.findings.append(
                Finding(
                    severity=Severity.BROKEN,
                    entry=self._tree.size - 1,
                    sequence=0,
                    cycle=0,
                    rule="tile",
                    text=text,
                )
            )
