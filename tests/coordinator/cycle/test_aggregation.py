"""Which step is taken: by the lower median of what the agreeing replicas measured."""

from chain.records.evaluation import NextModel, SnapshotVote
from coordinator.cycle.phases.aggregation import chosen


def vote(*losses: int) -> SnapshotVote:
    """One replica's challenge losses, of the full step first."""
    models = tuple(
        NextModel(digest=bytes([halvings]) * 32, challenge_loss=loss, loss=0, correct=0)
        for halvings, loss in enumerate(losses)
    )
    return SnapshotVote(cycle=1, models=models, records=10)


def test_one_replica_cannot_choose_the_step_alone() -> None:
    honest = vote(500, 400, 450)
    assert chosen((honest, honest, vote(0, 900, 900))) == 1
    assert chosen((honest, honest, vote(900, 900, 0))) == 1


def test_of_an_even_number_the_lower_of_the_two_in_the_middle_counts() -> None:
    assert chosen((vote(1, 9), vote(2, 9), vote(30, 9), vote(40, 9))) == 0
    assert chosen((vote(1, 9), vote(20, 9), vote(30, 9), vote(40, 9))) == 1


def test_of_equal_losses_the_larger_step_is_taken() -> None:
    assert chosen((vote(300, 300, 300),) * 3) == 0
    assert chosen((vote(301, 300, 300),) * 3) == 1
