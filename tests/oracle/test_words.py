"""A second implementation takes and refuses the same, and says the same word."""

from bft.codec.canonical import encode
from tests.chain.audit.test_derivation import Chaos
from tests.oracle.replay import Replay


class Heard(Chaos):
    """Anybody says anything; and what everybody was told."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.answers: list[str] = []

    def step(self) -> None:
        super().step()
        self.answers += [answer.code for answer in self.mill.answers]


def test_whatever_is_said_both_answer_alike() -> None:
    """Also the words of refusals are those of docs/PROTOCOL.md."""
    chaos = Heard(1)
    for _ in range(70):
        chaos.step()
    replay = Replay(encode(chaos.mill.genesis), [(e.leaf, e.proof) for e in chaos.mill.entries])
    assert replay.mill.cycle == chaos.mill.state.cycle
    told = [outcomes[0] for outcomes in replay.outcomes]
    assert told[-len(chaos.answers) :] == chaos.answers
    assert len(set(chaos.answers)) > 6
