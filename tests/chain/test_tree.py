"""The block tree: fork choice, finality, and what convicts a winner or the federation."""

import pytest

from bft.errors import Refused
from chain.records.block import Block
from chain.records.evidence import (
    Equivocation,
    FederationFault,
    contradict,
    decode_statement,
)
from chain.tree import (
    BLOCKS_PER_CERTIFICATE_MAX,
    CANDIDATES_MAX,
    BlockTree,
    Change,
    Finalised,
    TipChanged,
)
from chain.validation import ParentView
from tests.chain.federation_fixture import (
    OTHER,
    START,
    block_on,
    finality_of,
    make_chain,
    view_of,
)

FIRST, SECOND = make_chain(2)
RUNNER_UP = block_on(START, miner=OTHER, rank=1)
TWIN = block_on(START, time=START.time + 11)
EMPTY = BlockTree(START)


def add(tree: BlockTree, *blocks: Block) -> tuple[BlockTree, tuple[Change, ...]]:
    changes: tuple[Change, ...] = ()
    for block in blocks:
        tree, more = tree.add(block.certified_header)
        changes += more
    return tree, changes


def changed(view: ParentView, undone: tuple[Block, ...], applied: tuple[Block, ...]) -> TipChanged:
    return TipChanged(
        view=view,
        disconnected=tuple(block.hash for block in undone),
        connected=tuple(block.hash for block in applied),
    )


def test_the_tip_is_the_final_block_until_a_candidate_comes() -> None:
    assert EMPTY.tip == START
    tree, changes = add(EMPTY, FIRST)
    assert tree.tip == view_of(FIRST)
    assert changes == (changed(view_of(FIRST), (), (FIRST,)),)


def test_a_known_block_changes_nothing() -> None:
    tree, _ = add(EMPTY, FIRST)
    assert add(tree, FIRST) == (tree, ())


@pytest.mark.parametrize("order", [(FIRST, RUNNER_UP), (RUNNER_UP, FIRST)])
def test_the_lower_rank_wins_whichever_came_first(order: tuple[Block, Block]) -> None:
    tree, _ = add(EMPTY, *order)
    assert tree.tip == view_of(FIRST)


def test_a_better_rank_replaces_the_tip() -> None:
    tree, _ = add(EMPTY, RUNNER_UP)
    tree, changes = add(tree, FIRST)
    assert changes == (changed(view_of(FIRST), (RUNNER_UP,), (FIRST,)),)


def test_a_later_cycle_wins_because_the_earlier_one_was_closed_without_a_block() -> None:
    later = block_on(START, cycle=2, rank=1)
    tree, _ = add(EMPTY, FIRST, later)
    assert tree.tip == view_of(later)


def test_between_two_blocks_of_one_winner_the_smaller_hash_wins() -> None:
    for order in ((FIRST, TWIN), (TWIN, FIRST)):
        tree, _ = add(EMPTY, *order)
        assert tree.tip.hash == min(FIRST.hash, TWIN.hash, key=lambda h: int.from_bytes(h, "big"))


def test_a_valid_child_makes_its_parent_final() -> None:
    """A certificate names the finalised tip as its parent."""
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    tree, changes = add(tree, SECOND)
    assert tree.final == view_of(FIRST)
    assert [c.certificate.height for c in tree.candidates] == [2]
    assert changes == (Finalised(view=view_of(FIRST)), changed(view_of(SECOND), (), (SECOND,)))


def test_finality_overrides_the_fork_choice() -> None:
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    tree, changes = tree.finalise(finality_of(RUNNER_UP))
    assert tree.final == tree.tip == view_of(RUNNER_UP)
    assert changes == (
        Finalised(view=view_of(RUNNER_UP)),
        changed(view_of(RUNNER_UP), (FIRST,), (RUNNER_UP,)),
    )


def test_a_child_of_the_worse_candidate_moves_tip_and_finality_together() -> None:
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    child = block_on(view_of(RUNNER_UP))
    tree, changes = add(tree, child)
    assert changes == (
        Finalised(view=view_of(RUNNER_UP)),
        changed(view_of(child), (FIRST,), (RUNNER_UP, child)),
    )


def test_no_reorganisation_reaches_below_the_final_block() -> None:
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    tree, _ = tree.finalise(finality_of(FIRST))
    with pytest.raises(Refused) as caught:
        add(tree, RUNNER_UP)
    assert caught.value.code == "stale"
    with pytest.raises(Refused) as caught:
        add(tree, block_on(view_of(RUNNER_UP)))
    assert caught.value.code == "unknown-parent"


def test_finality_of_an_unknown_block_or_another_height_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        EMPTY.finalise(finality_of(FIRST))
    assert caught.value.code == "unknown-block"
    tree, _ = add(EMPTY, FIRST, SECOND)
    tree, _ = tree.finalise(finality_of(SECOND))
    with pytest.raises(Refused) as caught:
        tree.finalise(finality_of(FIRST))
    assert caught.value.code == "stale"


def test_finality_said_twice_changes_nothing_more() -> None:
    tree, _ = add(EMPTY, FIRST)
    tree, _ = tree.finalise(finality_of(FIRST))
    assert tree.finalise(finality_of(FIRST)) == (tree, ())


def test_two_blocks_of_one_certificate_are_evidence_and_a_third_is_not_kept() -> None:
    tree, changes = add(EMPTY, FIRST, TWIN)
    assert sum(isinstance(change, Equivocation) for change in changes) == 1
    assert len(tree.candidates) == BLOCKS_PER_CERTIFICATE_MAX
    third = block_on(START, time=START.time + 12)
    with pytest.raises(Refused) as caught:
        add(tree, third)
    assert caught.value.code == "too-many"
    tree, _ = tree.add(third.certified_header, wanted=True)
    tree, _ = tree.finalise(finality_of(third))
    assert tree.tip == view_of(third)


def test_a_twin_of_the_final_block_is_evidence_too() -> None:
    tree, _ = add(EMPTY, FIRST)
    tree, _ = tree.finalise(finality_of(FIRST))
    after, changes = add(tree, TWIN)
    assert after == tree
    assert [type(change) for change in changes] == [Equivocation]


def test_candidates_are_bounded_and_the_worst_gives_way() -> None:
    ranked = [block_on(START, cycle=9, rank=rank) for rank in range(CANDIDATES_MAX)]
    tree, _ = add(EMPTY, *ranked)
    assert len(tree.candidates) == CANDIDATES_MAX
    with pytest.raises(Refused) as caught:
        add(tree, block_on(START, cycle=8))
    assert caught.value.code == "too-many"
    better = block_on(START, cycle=10)
    tree, _ = add(tree, better)
    assert len(tree.candidates) == CANDIDATES_MAX
    assert tree.find(ranked[-1].hash) is None
    assert tree.tip == view_of(better)
    worst = block_on(START, cycle=7)
    tree, _ = tree.add(worst.certified_header, wanted=True)
    assert len(tree.candidates) == CANDIDATES_MAX
    assert tree.find(worst.hash) is not None


def test_two_certificates_for_one_slot_are_a_federation_fault() -> None:
    tree, _ = add(EMPTY, FIRST)
    other = block_on(START, tickets=8)
    fault = tree.fault_of(other.certified_header)
    assert isinstance(fault, FederationFault)
    assert contradict(decode_statement(fault.first), decode_statement(fault.second))
    assert tree.fault_of(RUNNER_UP.certified_header) is None
    assert tree.fault_of(TWIN.certified_header) is None
    assert tree.fault_of(block_on(START, cycle=2).certified_header) is None


def test_a_certificate_on_another_parent_than_the_final_block_is_a_federation_fault() -> None:
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    tree, _ = tree.finalise(finality_of(FIRST))
    elsewhere = block_on(view_of(RUNNER_UP))
    assert tree.fault_of(elsewhere.certified_header) is not None
    assert tree.fault_of(SECOND.certified_header) is None


def test_finality_of_two_blocks_at_one_height_is_a_federation_fault() -> None:
    tree, _ = add(EMPTY, FIRST, RUNNER_UP)
    tree, _ = tree.finalise(finality_of(FIRST))
    assert tree.fault_of_finality(finality_of(RUNNER_UP)) is not None
    assert tree.fault_of_finality(finality_of(FIRST)) is None
    tree, _ = add(tree, SECOND)
    assert tree.fault_of_finality(finality_of(RUNNER_UP)) is not None
