"""The log as files that never change: entry bundles and tiles of hashes, 256 to a file.

Source: C2SP tlog-tiles.  Beside what it asks for stand, in the same shape, `proofs/` with each
entry's quorum proof, and `leaf/` with leaves too long for a bundle, by digest.
Pure: callers read and write the files.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from bft.crypto.hashing import sha256
from bft.crypto.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash, root_of_hashes
from bft.errors import DecodeError
from chain.records.score_log import TREE_ENTRY_BYTES_MAX, tree_entry

TILE_BITS = 8
TILE_WIDTH = 1 << TILE_BITS
LEVELS_MAX = 8  # 2^64 entries
LENGTH_BYTES = 2
BUNDLE_BYTES_MAX = TILE_WIDTH * (LENGTH_BYTES + TREE_ENTRY_BYTES_MAX)

CHECKPOINT = "checkpoint"
CERTIFIED = "certified"
"""The newest checkpoint under which the federation's own line stands."""

_NUMBER = r"(x\d{3}/){0,6}\d{3}(\.p/[1-9]\d{0,2})?"
SERVED = re.compile(
    rf"checkpoint|certified|genesis|keys/[0-9a-f]{{66}}|cosignatures/\d{{1,19}}|leaf/[0-9a-f]{{64}}"
    rf"|tile/[0-7]/{_NUMBER}|tile/entries/{_NUMBER}|proofs/{_NUMBER}"
)
"""Paths that a log has, below its prefix."""

File = tuple[str, bytes]
"""(path below the log's prefix, content)."""


def number_path(number: int, width: int = TILE_WIDTH) -> str:
    """`number` in groups of three digits; `.p/` says that the file is partial.

    1234067 -> x001/x234/067.
    """
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    path = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Where `width` hashes of a level stand."""
    return f"tile/{level}/{number_path(number, width)}"


def bundle_path(number: int, width: int = TILE_WIDTH) -> str:
    """Where `width` entries stand."""
    return f"tile/entries/{number_path(number, width)}"


def proofs_path(number: int, width: int = TILE_WIDTH) -> str:
    """Where the quorum proofs beside `width` entries stand."""
    return f"proofs/{number_path(number, width)}"


def leaf_path(digest: bytes) -> str:
    """Where a leaf stands that no bundle holds."""
    return f"leaf/{digest.hex()}"


def encode_bundle(items: Sequence[bytes]) -> bytes:
    """Each item behind its length, two big-endian bytes."""
    return b"".join(len(item).to_bytes(LENGTH_BYTES, "big") + item for item in items)


def decode_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """The `width` items of a bundle.  Raises DecodeError: not exactly so many."""
    items: list[bytes] = []
    place = 0
    while place < len(data):
        start = place + LENGTH_BYTES
        place = start + int.from_bytes(data[place:start], "big")
        if place > len(data) or start > len(data):
            raise DecodeError(f"item {len(items)} of a bundle is cut off")
        items.append(data[start:place])
    if len(items) != width:
        raise DecodeError(f"a bundle has {len(items)} items; {width} are expected")
    return tuple(items)


def widths(size: int) -> Iterator[tuple[int, int]]:
    """(number, width) of the bundles that hold `size` entries."""
    full, rest = divmod(size, TILE_WIDTH)
    yield from ((number, TILE_WIDTH) for number in range(full))
    if rest:
        yield full, rest


class TileTree:
    """The right edge of the log: takes entries, gives files."""

    def __init__(self) -> None:
        self.size = 0
        self._entries: list[bytes] = []  # of the bundle that is not full
        self._proofs: list[bytes] = []
        self._edge: list[list[bytes]] = [[]]  # by level, the hashes of the tile that is not full

    @classmethod
    def load(cls, size: int, read: Callable[[str], bytes]) -> "TileTree":
        """The edge of a log of `size` entries, from its partial files.

        Raises:
            DecodeError: a file is not what it should be.  Whatever `read` raises.
        """
        tree = cls()
        tree.size = size
        number, width = divmod(size, TILE_WIDTH)
        if width:
            tree._entries = list(decode_bundle(read(bundle_path(number, width)), width))
            tree._proofs = list(decode_bundle(read(proofs_path(number, width)), width))
        tree._edge = []
        for level in range(LEVELS_MAX):
            number, width = divmod(size >> TILE_BITS * level, TILE_WIDTH)
            if not number and not width:
                break
            data = read(tile_path(level, number, width)) if width else b""
            if len(data) != width * HASH_BYTES:
                raise DecodeError(f"tile {number} of level {level} has {len(data)} bytes")
            tree._edge.append(split_hashes(data))
        tree._edge = tree._edge or [[]]
        if [leaf_hash(entry) for entry in tree._entries] != tree._edge[0]:
            raise DecodeError("the newest bundle is not the one that the newest tile names")
        return tree

    @classmethod
    def before(cls, size: int, whole: int, read: Callable[[str], bytes]) -> "TileTree":
        """The edge of a log when it had `size` entries, from its files when it has `whole`.

        Args:
            size: of full bundles, so that no entry is needed.

        Raises:
            DecodeError: a file is not what it should be.  Whatever `read` raises.
        """
        assert size % TILE_WIDTH == 0 and size <= whole
        tree, hashes = cls(), Hashes(whole, read)
        tree.size = size
        level = 1
        while size >> TILE_BITS * level:
            number, width = divmod(size >> TILE_BITS * level, TILE_WIDTH)
            tree._edge.append(hashes.tile(level, number)[:width] if width else [])
            level += 1
        return tree

    def append(self, leaf: bytes, proof: bytes) -> list[File]:
        """One more entry; the files that are complete with it."""
        entry, files = tree_entry(leaf), []
        if entry is not leaf:
            files.append((leaf_path(sha256(leaf)), leaf))
        self._entries.append(entry)
        self._proofs.append(proof)
        number = self.size >> TILE_BITS
        self.size += 1
        if len(self._entries) == TILE_WIDTH:
            files.append((bundle_path(number), encode_bundle(self._entries)))
            files.append((proofs_path(number), encode_bundle(self._proofs)))
            self._entries, self._proofs = [], []
        files += self._push(leaf_hash(entry))
        return files

    def _push(self, hashed: bytes) -> list[File]:
        files: list[File] = []
        for level in range(LEVELS_MAX):
            if level == len(self._edge):
                self._edge.append([])
            self._edge[level].append(hashed)
            if len(self._edge[level]) < TILE_WIDTH:
                break
            tile, self._edge[level] = self._edge[level], []
            number = (self.size >> TILE_BITS * (level + 1)) - 1
            files.append((tile_path(level, number), b"".join(tile)))
            hashed = root_of_hashes(tile)
        return files

    def partial(self) -> list[File]:
        """The files at the edge, as far as they are filled."""
        number, width = divmod(self.size, TILE_WIDTH)
        files: list[File] = []
        if width:
            files.append((bundle_path(number, width), encode_bundle(self._entries)))
            files.append((proofs_path(number, width), encode_bundle(self._proofs)))
        for level, tile in enumerate(self._edge):
            if tile:
                number = (self.size >> TILE_BITS * level) // TILE_WIDTH
                files.append((tile_path(level, number, len(tile)), b"".join(tile)))
        return files

    def partial_at(self, size: int, read: Callable[[str], bytes]) -> list[File]:
        """The partial files of the log when it had `size` entries.

        Args:
            read: a file that is full by now.
        """
        if size > self.size:
            raise DecodeError(f"the log has {self.size} entries, and not yet {size}")
        number, width = divmod(size, TILE_WIDTH)
        files: list[File] = []
        if width:
            here = number == self.size // TILE_WIDTH
            for path, held in ((bundle_path, self._entries), (proofs_path, self._proofs)):
                items = held if here else decode_bundle(read(path(number)), TILE_WIDTH)
                files.append((path(number, width), encode_bundle(items[:width])))
        for level in range(LEVELS_MAX):
            number, width = divmod(size >> TILE_BITS * level, TILE_WIDTH)
            if width:
                here = number == (self.size >> TILE_BITS * level) // TILE_WIDTH
                tile = self._edge[level] if here else split_hashes(read(tile_path(level, number)))
                files.append((tile_path(level, number, width), b"".join(tile[:width])))
        return files

    def root(self) -> bytes:
        """32 bytes, over all entries."""
        root: bytes | None = None
        for tile in self._edge:
            hashes = tile if root is None else [*tile, root]
            root = root_of_hashes(hashes) if hashes else None
        return EMPTY_ROOT if root is None else root


def split_hashes(tile: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [tile[place : place + HASH_BYTES] for place in range(0, len(tile), HASH_BYTES)]


class Hashes:
    """Subtree hashes of a log of `size` entries, read from its tiles."""

    def __init__(self, size: int, read: Callable[[str], bytes]) -> None:
        """`read`: a file by its path; raises whatever it likes."""
        self._size, self._read = size, read
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def consistency(self, old: int) -> tuple[bytes, ...]:
        """The proof that the first `old` entries are the whole of the log then.

        Source: RFC 6962 section 2.1.2.  Raises DecodeError: a tile is not what it should be.
        """
        if not 0 <= old <= self._size:
            raise DecodeError(f"a log of {self._size} entries never had {old} as its past")
        return self._part(old, 0, self._size, True) if 0 < old < self._size else ()

    def _part(self, old: int, first: int, end: int, whole: bool) -> tuple[bytes, ...]:
        """SUBPROOF(old, D[first:end], whole), `old` counted from `first`."""
        if old == end - first:
            return () if whole else (self.root(first, end),)
        split = 1 << ((end - first - 1).bit_length() - 1)
        middle = first + split
        if old <= split:
            return (*self._part(old, first, middle, whole), self.root(middle, end))
        return (*self._part(old - split, middle, end, False), self.root(first, middle))

    def root(self, first: int, end: int) -> bytes:
        """Root over the entries first..end-1, a node of the tree."""
        span = end - first
        if span & (span - 1) == 0:
            return self._subtree(first, span.bit_length() - 1)
        split = 1 << ((span - 1).bit_length() - 1)
        return node_hash(self.root(first, first + split), self.root(first + split, end))

    def _subtree(self, first: int, height: int) -> bytes:
        """Root of a full subtree of 2^height entries."""
        level = height // TILE_BITS
        wide = 1 << height - level * TILE_BITS
        place = first >> level * TILE_BITS
        number, offset = divmod(place, TILE_WIDTH)
        return root_of_hashes(self.tile(level, number)[offset : offset + wide])

    def tile(self, level: int, number: int) -> list[bytes]:
        found = self._tiles.get((level, number))
        if found is None:
            width = min(TILE_WIDTH, (self._size >> TILE_BITS * level) - number * TILE_WIDTH)
            data = self._read(tile_path(level, number, width))
            if len(data) != width * HASH_BYTES:
                raise DecodeError(f"tile {number} of level {level} has {len(data)} bytes")
            found = self._tiles[level, number] = split_hashes(data)
        return found
