"""Tiles: which files a log of some size has, what stands in them, and what they prove."""

import pytest

from bft.crypto.hashing import sha256
from bft.crypto.merkle import leaf_hash, merkle_root
from bft.errors import DecodeError
from chain.records.score_log import TREE_ENTRY_BYTES_MAX, Ordered, encode_leaf
from chain.tlog.tiles import (
    SERVED,
    Hashes,
    TileTree,
    bundle_path,
    decode_bundle,
    encode_bundle,
    leaf_path,
    number_path,
    tile_path,
    widths,
)

SIZES = (0, 1, 2, 255, 256, 257, 511, 512, 700)


def leaf(index: int) -> bytes:
    return b"leaf %d" % index


def built(size: int) -> tuple[TileTree, dict[str, bytes]]:
    """A log, and all its files."""
    tree, files = TileTree(), dict[str, bytes]()
    for index in range(size):
        files.update(tree.append(leaf(index), b"proof %d" % index))
    files.update(tree.partial())
    return tree, files


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "000"),
        (7, 12, "007.p/12"),
        (1_234_067, 256, "x001/x234/067"),  # Source: C2SP tlog-tiles, "Merkle tree"
        (999_999, 1, "x999/999.p/1"),
    ],
)
def test_numbers_are_written_in_groups_of_three(number: int, width: int, path: str) -> None:
    assert number_path(number, width) == path
    assert SERVED.fullmatch(tile_path(1, number, width))


@pytest.mark.parametrize("size", SIZES)
def test_the_root_is_the_trees_and_the_files_hold_every_entry(size: int) -> None:
    tree, files = built(size)
    leaves = [leaf(index) for index in range(size)]
    assert tree.root() == merkle_root(leaves)
    held = [entry for n, w in widths(size) for entry in decode_bundle(files[bundle_path(n, w)], w)]
    assert held == leaves
    assert all(SERVED.fullmatch(path) for path in files)


@pytest.mark.parametrize("size", SIZES)
def test_a_log_is_continued_from_its_files(size: int) -> None:
    _, files = built(size)
    tree = TileTree.load(size, files.__getitem__)
    more = dict(files)
    for index in range(size, 800):
        more.update(tree.append(leaf(index), b"proof %d" % index))
    more.update(tree.partial())
    whole, expected = built(800)
    assert tree.root() == whole.root()
    assert {path: more[path] for path in expected} == expected


@pytest.mark.parametrize("size", SIZES)
def test_the_partial_files_of_an_earlier_size_are_what_they_were(size: int) -> None:
    earlier, _ = built(size)
    tree, files = built(800)
    assert tree.partial_at(size, files.__getitem__) == earlier.partial()
    with pytest.raises(DecodeError, match="not yet"):
        tree.partial_at(801, files.__getitem__)


def test_a_log_is_not_continued_from_a_bundle_that_the_tiles_do_not_name() -> None:
    _, files = built(3)
    files[bundle_path(0, 3)] = encode_bundle([leaf(0), leaf(1), b"another"])
    with pytest.raises(DecodeError, match="bundle"):
        TileTree.load(3, files.__getitem__)


def test_the_tiles_above_hold_the_roots_of_those_below() -> None:
    _, files = built(512)
    first = merkle_root([leaf(index) for index in range(256)])
    second = merkle_root([leaf(index) for index in range(256, 512)])
    assert files[tile_path(1, 0, 2)] == first + second
    assert files[tile_path(0, 0)][:32] == leaf_hash(leaf(0))


def naive(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word by word."""
    if old == len(leaves):
        return [] if whole else [merkle_root(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return [*naive(old, leaves[:split], whole), merkle_root(leaves[split:])]
    return [*naive(old - split, leaves[split:], False), merkle_root(leaves[:split])]


@pytest.mark.parametrize("size", [1, 2, 7, 256, 257, 600])
def test_consistency_proofs_are_those_of_the_rfc(size: int) -> None:
    _, files = built(size)
    hashes = Hashes(size, files.__getitem__)
    leaves = [leaf(index) for index in range(size)]
    for old in {1, 2, 3, 5, 255, 256, 257, 300, size - 1} & set(range(1, size)):
        assert list(hashes.consistency(old)) == naive(old, leaves)
    assert hashes.consistency(0) == hashes.consistency(size) == ()
    with pytest.raises(DecodeError, match="past"):
        hashes.consistency(size + 1)


def test_a_leaf_too_long_for_a_bundle_stands_beside_it_by_its_digest() -> None:
    long = encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes(TREE_ENTRY_BYTES_MAX)))
    tree = TileTree()
    files = dict(tree.append(long, b"proof"))
    assert files == {leaf_path(sha256(long)): long}
    (entry,) = decode_bundle(dict(tree.partial())[bundle_path(0, 1)], 1)
    assert sha256(long) in entry and len(entry) < 200


@pytest.mark.parametrize(
    ("data", "width"), [(b"", 1), (b"\x00", 1), (b"\x00\x02a", 1), (b"\x00\x01a", 2), (b"\0\1a", 0)]
)
def test_a_bundle_with_more_or_less_than_it_should_have_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(DecodeError):
        decode_bundle(data, width)


@pytest.mark.parametrize(
    "path",
    ["../journal.db", "tile/0/../1", "tile/8/000", "tile/0/0", "leaf/AB", "keys/", "checkpoint/"],
)
def test_only_a_logs_own_files_are_served(path: str) -> None:
    assert SERVED.fullmatch(path) is None
