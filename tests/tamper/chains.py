"""What nodes and light clients check: certificates, headers, blocks, finality, evidence, receipts.

Blocks and finality come to a node's deciding half as a peer's messages; it must name the change and
keep nothing of it.
"""

import itertools
from collections.abc import Callable

from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.crypto.merkle import inclusion_proof
from chain.epochs import verify_epoch
from chain.gossip_events import Drop, Event, MessageCame, PeerConnected, PeerLost
from chain.receipts import verify_receipt
from chain.records.block import Block
from chain.records.certificate import BlockCertificate
from chain.records.evidence import encode_evidence, equivocation, federation_fault
from chain.records.federation import FederationKey
from chain.records.peer_message import PROTOCOL_VERSION, Version
from chain.records.score_log import Certified, KeyActivated, Scored, decode_leaf
from chain.validation import (
    validate_header,
    verify_certificate,
    verify_contribution,
)
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    block_on,
    certificate_on,
    finality_of,
    signed,
)
from tests.chain.gossip_network import Node
from tests.chain.test_receipts import MEMBERS, joined
from tests.chain.test_spending import FEE, MATURE, PARENT, REWARD, spend_of
from tests.tamper.logs import mill
from tests.tamper.subject import Missed, Subject, refusal

HASH_BYTES = 32
_GREETING = Version(protocol=PROTOCOL_VERSION, time=0, nonce=99, user_agent=b"/x/", height=0)


def of_the_log() -> list[Subject]:
    """Everything under the federation's key in the log of `mill`, as strangers verify it alone."""
    chain_id = mill().genesis.chain_id
    leaves = [decode_leaf(entry.leaf) for entry in mill().entries]
    epochs = [leaf.federation_key for leaf in leaves if isinstance(leaf, KeyActivated)]
    key = epochs[0].key
    subjects = [_epoch(made, key, chain_id) for made in epochs]
    scored = {leaf.cycle: leaf.rows for leaf in leaves if isinstance(leaf, Scored)}

    def certificate(data: bytes) -> BlockCertificate:
        return verify_certificate(data, key, chain_id)

    for leaf in leaves:
        if isinstance(leaf, Certified):
            made = certificate(leaf.certificate)
            name = f"certificate of cycle {made.cycle}"
            subjects.append(checked(name, leaf.certificate, certificate))
            subjects.append(_contribution([encode(row) for row in scored[made.cycle]], made))
    return subjects


def checked(name: str, data: bytes, check: Callable[[bytes], object]) -> Subject:
    """A subject that a function of the product checks alone."""
    check(data)
    return Subject(
        name=name, data=data, judge=lambda changed: f"verify: {refusal(lambda: check(changed))}"
    )


def _epoch(made: FederationKey, key: bytes, chain_id: bytes) -> Subject:
    """An epoch's certificate.

    Its signature covers all of it but `qualified`, the dealers: those the record's digest covers,
    which block certificates name (docs/PROTOCOL.md, section 5).
    """

    def judge(changed: bytes) -> str:
        try:
            return f"verify: {refusal(lambda: check(changed))}"
        except Missed:
            found = decode(FederationKey, changed)
            if found.digest == made.digest or replace(found, qualified=made.qualified) != made:
                raise
            return "digest: the dealers are others than under block certificates"

    def check(data: bytes) -> None:
        verify_epoch(decode(FederationKey, data), key, chain_id)

    check(encode(made))
    return Subject(name=f"certificate of epoch {made.epoch}", data=encode(made), judge=judge)


def _contribution(rows: list[bytes], made: BlockCertificate) -> Subject:
    """A score row with its proof under a certificate: row, then hashes."""
    size = len(rows[1])

    def check(data: bytes) -> object:
        hashes = range(size, len(data), HASH_BYTES)
        proof = [data[at : at + HASH_BYTES] for at in hashes]
        return verify_contribution(data[:size], 1, len(rows), proof, made)

    data = rows[1] + b"".join(inclusion_proof(rows, 1))
    return checked(f"contribution in cycle {made.cycle}", data, check)


class Door:
    """A node that holds 100 blocks, and a new peer for every message."""

    def __init__(self) -> None:
        self.node = Node(1, MATURE)
        self._numbers = itertools.count(1)

    def send(self, command: str, payload: bytes) -> list[str]:
        """Why the node drops the peer that sends this, if it does."""
        peer = next(self._numbers)
        greeting = MessageCame(peer=peer, command="version", payload=_GREETING.encode())
        said: list[str] = []
        events: tuple[Event, ...] = (
            PeerConnected(peer=peer, outbound=False),
            greeting,
            MessageCame(peer=peer, command="verack", payload=b""),
            MessageCame(peer=peer, command=command, payload=payload),
        )
        for event in events:
            wire = self.node.step(event)
            said += [effect.reason for effect in wire if isinstance(effect, Drop)]
        if not said:
            self.node.step(PeerLost(peer=peer))
        return said

    def subject(self, name: str, command: str, payload: bytes) -> Subject:
        """A message that the node would take, and does not when a byte of it is changed."""

        def judge(changed: bytes) -> str:
            before = self.node.tree, len(self.node.saved)
            said = self.send(command, changed)
            if (self.node.tree, len(self.node.saved)) != before:
                raise Missed("the node has kept something of it")
            if not said:
                raise Missed("the node keeps the peer that sent it")
            return "node: drops the peer"

        return Subject(name=name, data=payload, judge=judge)


def spending() -> Block:
    """A block on the node's chain that spends the first reward."""
    return block_on(PARENT, reward=REWARD + FEE, transactions=[spend_of(MATURE[0])])


def at_the_door() -> list[Subject]:
    """What peers tell a node."""
    door, block = Door(), spending()
    finality = finality_of(block)
    alike = [block_on(PARENT, time=PARENT.time + later) for later in (10, 11)]
    forged = [signed(certificate_on(PARENT, model_snapshot=bytes([n]) * 32)) for n in (1, 2)]
    twins = encode_evidence(equivocation(*(each.certified_header for each in alike)))
    fault = encode_evidence(federation_fault(forged[0], forged[1]))
    return [
        door.subject("block", "block", block.data),
        door.subject("finality", "finality", finality.encode()),
        door.subject("evidence against a winner", "evidence", twins),
        door.subject("evidence against the federation", "evidence", fault),
        checked(
            "certified header",
            block.certified_header.encode(),
            lambda data: validate_header(data, FEDERATION_KEY, CHAIN_ID, PARENT),
        ),
        checked("receipt", joined(0, 2), lambda data: verify_receipt(data, MEMBERS)),
    ]
