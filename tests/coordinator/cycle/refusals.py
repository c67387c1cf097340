"""How the tests below say that a step was refused."""

from bft.codec.canonical import Record, encode
from bft.crypto.identity import PrivateKey
from coordinator.cycle.state import LogState, State
from tests.chain.audit.mill import Mill


def still(state: State) -> State:
    """The state without what every batch moves: its sequence, its time, its own leaf."""
    return state.set(sequence=0, agreed_ms=0, log=LogState(size=0, peaks=()))


def assert_refused(mill: Mill, author: PrivateKey, record: Record, code: str) -> None:
    """The operation is refused with this word, and nothing has changed."""
    state, clients = still(mill.state), mill.clients.encode()
    assert mill.say(author, record) == [code], mill.answers[0].text
    assert mill.answers[0].text
    assert still(mill.state) == state
    assert encode(still(mill.state)) == encode(state)
    assert mill.clients.encode() == clients
