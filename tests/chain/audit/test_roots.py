"""What an auditor remembers of roots: the newest sizes, those it watches for, and no more."""

from bft.crypto.hashing import sha256
from bft.crypto.merkle import root_of_hashes
from chain.audit.roots import FRONTIERS_KEPT, Roots

LEAVES = [sha256(b"%d" % number) for number in range(FRONTIERS_KEPT + 10)]


def pushed(count: int, roots: Roots | None = None) -> Roots:
    found = Roots() if roots is None else roots
    for leaf in LEAVES[:count]:
        found.push(leaf)
    return found


def test_roots_of_the_newest_sizes_are_known_and_older_ones_are_not() -> None:
    roots = pushed(len(LEAVES))
    oldest = len(LEAVES) - FRONTIERS_KEPT + 1
    assert roots.at(oldest - 1) is None and roots.at(len(LEAVES) + 1) is None
    for size in (oldest, oldest + 1, len(LEAVES)):
        assert roots.at(size) == root_of_hashes(LEAVES[:size])


def test_a_root_that_is_watched_for_is_remembered() -> None:
    roots = Roots()
    roots.watch(3)
    pushed(3, roots)
    roots.watch(2)  # already past, and still known
    for leaf in LEAVES[3:]:
        roots.push(leaf)
    assert roots.at(3) == root_of_hashes(LEAVES[:3])
    assert roots.at(2) == root_of_hashes(LEAVES[:2])
    assert roots.at(4) is None


def test_what_is_kept_makes_an_equal_one() -> None:
    for count in (0, 1, 7, len(LEAVES)):
        roots = pushed(count)
        again = Roots(*roots.kept())
        assert again.kept() == roots.kept() and again.newest == roots.newest
        assert again.last_leaf == (LEAVES[count - 1] if count else None)


def test_after_an_entry_that_cannot_be_read_no_further_root_is_known() -> None:
    roots = pushed(5)
    roots.lose()
    roots.push(LEAVES[5])
    assert roots.newest is None and roots.at(6) is None
    assert roots.at(5) == root_of_hashes(LEAVES[:5])
