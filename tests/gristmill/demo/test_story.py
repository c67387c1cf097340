"""What people are told follows from the log's records."""

from bft.codec.canonical import encode
from chain.records.evaluation import EvaluationTable
from chain.records.score_log import decode_leaf
from gristmill.demo.counterfactual import winners_without
from gristmill.demo.story import Story
from tests.chain.audit.mill import Mill


def test_a_cycle_is_told_from_assignment_to_block() -> None:
    mill = Mill().found().cycle()
    story = Story({})
    lines = [story.tell(decode_leaf(entry.leaf)) for entry in mill.entries]
    told = story.cycles[1]
    assert told.closed == "BLOCK"
    assert told.height == 1
    assert told.revealed == told.committed == told.units > 0
    assert story.federation_key == mill.state.federation_key.key  # type: ignore[union-attr]
    text = "\n".join(lines)
    for part in ("work units assigned", "the draw: ", "certificate for", "block 1 is final"):
        assert part in text


def test_the_story_calls_miners_by_name_or_by_the_beginning_of_their_key() -> None:
    mill = Mill().found().cycle()
    story = Story({})
    for entry in mill.entries:
        story.tell(decode_leaf(entry.leaf))
    winner = story.cycles[1].winner
    assert story.name(winner) == winner.hex()[:12]
    assert Story({winner: "miner 5"}).name(winner) == "miner 5"


class Alike(Mill):
    """Replicas on machines of one kind: their tables are the same."""

    def table(self, replica: int) -> EvaluationTable:
        return super().table(0)


def test_a_lie_in_a_table_changes_no_winner() -> None:
    """The lower median of a strong quorum's tables lies between honest values."""
    mill = Alike().found().to_aggregation(liar=3)
    winners = winners_without(mill.genesis, [encode(entry) for entry in mill.entries], 3)
    assert set(winners) == {1}
    drawn, other = winners[1]
    assert drawn == other
