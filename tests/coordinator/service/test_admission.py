"""Who says what at a member's door: miners their work, operators a change, joiners their part."""

import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.crypto.identity import PrivateKey
from bft.dkg.messages import DkgKeys
from bft.errors import Refused
from bft.ordering.request import Request, seal_request
from chain.records.contribution import UpdateCommitment
from chain.records.conviction import ShowEvidence
from chain.records.membership import ActivationShare, Approve, CeremonyElapsed, Propose, ShareProof
from chain.records.operations import encode_operation
from chain.records.votes import Elapsed
from coordinator.cycle.state import Change, State, opening_state
from coordinator.service.admission import check_evidence, check_operations
from tests.coordinator.cycle.test_barring import caught
from tests.coordinator.test_epochs import member
from tests.sim.world import World

JOINER, MINER = (PrivateKey(bytes([number]) * 32) for number in (91, 92))
WORLD = World(1)
MEMBER = WORLD.keys[0]
PROPOSE = Propose(epoch=1, members=(member(JOINER.public_key),), reason=b"")
EVIDENCE = caught().evidence
SAID = {
    "commitment": UpdateCommitment(cycle=1, unit=0, commitment=bytes(32)),
    "propose": PROPOSE,
    "approve": Approve(proposal=bytes(32)),
    "keys": DkgKeys(session=bytes(32), keys=(bytes(32),)),
    "proof": ShareProof(session=bytes(32), share=bytes(48)),
    "activation": ActivationShare(session=bytes(32), share=bytes(48)),
    "clock": CeremonyElapsed(session=bytes(32), phase=1),
    "elapsed": Elapsed(cycle=1, phase=2, attempt=0),
    "evidence": EVIDENCE,
}


def state() -> State:
    """With a change open that lets the joiner in."""
    change = Change(proposal=PROPOSE, proposer=MEMBER.public_key, cycle=1, approvals=(0,))
    return replace(opening_state(WORLD.rules), change=change)


def taken(key: PrivateKey, name: str, at: State) -> bool:
    """Whether this key may say that here."""
    encoded = encode_operation(SAID[name])
    sealed = seal_request(WORLD.rules.chain_id, key.public_key, 1, encoded, key.sign)
    request = decode(Request, decode(Envelope, sealed).body)
    try:
        check_operations(request, at)
    except Refused as error:
        return error.code != "not-for-clients"
    return True


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        (MINER, {"commitment", "evidence"}),
        (MEMBER, {"propose", "approve", "evidence"}),
        (JOINER, {"keys", "proof", "evidence"}),
    ],
    ids=["miner", "member", "joiner"],
)
def test_each_says_what_is_its_own(key: PrivateKey, allowed: set[str]) -> None:
    assert {name for name in SAID if taken(key, name, state())} == allowed


def test_without_a_change_the_joiner_is_a_client_like_any_other() -> None:
    at = opening_state(WORLD.rules)
    assert {name for name in SAID if taken(JOINER, name, at)} == {"commitment", "evidence"}


def test_evidence_that_bars_nobody_stops_at_the_door() -> None:
    """So that no stranger has every replica check what one replica knows to be false."""
    mill = caught()

    def check(said: ShowEvidence) -> None:
        encoded = encode_operation(said)
        name = MINER.public_key
        sealed = seal_request(mill.rules.chain_id, name, 1, encoded, MINER.sign)
        request = decode(Request, decode(Envelope, sealed).body)
        check_evidence(request, mill.rules, mill.state)

    check(mill.evidence)
    with pytest.raises(Refused, match="the winner did not sign that"):
        check(replace(mill.evidence, second=replace(mill.evidence.second, time=0)))
    mill.say(MINER, mill.evidence)
    with pytest.raises(Refused, match="barred up to cycle"):
        check(mill.evidence)
