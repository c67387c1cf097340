"""Agreed time never runs back, whatever time a primary proposes."""

from bft.codec.canonical import encode
from bft.ordering.batch import NULL_BATCH, Batch
from bft.pbft.clients import ClientTable
from chain.records.score_log import Ordered
from coordinator.cycle.machine import execute
from coordinator.cycle.state import Rules, State, opening_state
from tests.chain.audit.mill import make_genesis


def after(rules: Rules, state: State, batch: bytes) -> tuple[State, int]:
    """The state after one batch, and the time under which the log has it."""
    done = execute(rules, state, ClientTable(), state.sequence + 1, batch)
    ordered = done.records[0]
    assert isinstance(ordered, Ordered)
    return done.state, ordered.agreed_ms


def test_a_batch_with_an_earlier_time_is_executed_at_the_time_of_the_one_before() -> None:
    """Scenario 51: bounded at the vote, monotone at execution; null batches let no time pass."""
    rules = Rules(make_genesis())
    state, times = opening_state(rules), []
    for batch in (5_000, 4_000, None, 5_001):
        data = NULL_BATCH if batch is None else encode(Batch(timestamp_ms=batch, requests=()))
        state, agreed_ms = after(rules, state, data)
        assert agreed_ms == state.agreed_ms
        times.append(agreed_ms)
    assert times == [5_000, 5_000, 5_000, 5_001]
