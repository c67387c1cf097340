"""A second implementation takes and refuses the same, and says the same word."""

import json
from typing import Any

from bft.codec.canonical import decode, encode
from bft.dkg.fold import hear
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady, Message
from bft.dkg.transcript import Transcript, open_session
from bft.errors import Refused
from tests.chain.audit.test_derivation import Chaos
from tests.oracle.records import decode as decoded
from tests.oracle.replay import Replay
from tests.oracle.session import Session
from tests.vectors.generate import PATH


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


def refusal(transcript: Transcript, author: bytes, message: Message) -> str:
    """Our word; empty where the message is taken."""
    try:
        hear(transcript, author, message)
    except Refused as error:
        return error.code
    return ""


def test_a_session_refuses_by_the_same_words() -> None:
    """At every place of the vectors' session, all that anybody says before or after."""
    case: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))["sessions"]["genesis"]
    chain = bytes.fromhex(case["chain_id"])
    keys = [bytes.fromhex(key) for key in case["receivers"]]
    ours = open_session(chain, 0, 0, tuple(keys), case["threshold"])
    naive = Session(chain, 0, 0, keys, keys, [])
    kinds: dict[str, Any] = {
        kind.TAG: kind for kind in (DkgKeys, DkgDealing, DkgComplaint, DkgReady)
    }
    log = [
        (keys[each["author"]], kinds[each["tag"]], bytes.fromhex(each["encoded"]))
        for each in case["log"]
    ]
    heard = set()
    for author, kind, data in log:
        for other, what, said in log:
            for teller in {other, author}:
                if word := refusal(ours, teller, decode(what, said)):
                    assert naive.hear(teller, what.__name__, decoded(what.__name__, said)) == word
                    heard.add(word)
        stranger = naive.hear(bytes(33), kind.__name__, decoded(kind.__name__, data))
        assert stranger == refusal(ours, bytes(33), decode(kind, data)) == "not-a-member"
        ours = hear(ours, author, decode(kind, data))
        assert naive.hear(author, kind.__name__, decoded(kind.__name__, data)) == ""
    assert heard == {"wrong-phase", "twice", "already-out", "not-its-key"}
    assert naive.qualified == case["qualified"]
