"""What a client keeps to show anybody that its request was executed: f + 1 replicas' signatures.

One of f + 1 is correct, and a correct replica signs only what it has executed and made durable.
Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U16, U32, U63, Bytes32, IdentityKey, IdentitySignature, Name
from chain.records.commands import COMMANDS_MAX


class ExecutionReceipt(Record):
    """A replica says: this request was executed in batch `sequence`, with these outcomes.

    Sealed by the replica; PBFT's REPLY (section 4.1), without the view, which proves nothing.
    """

    TAG = "gristmill.execution-receipt/1"

    chain_id: Bytes32
    epoch: U32
    client: IdentityKey
    cseq: U63
    request: Bytes32  # SHA-256 of the sealed request
    sequence: U63  # of the batch
    # Code by operation: "accepted", or a refusal's word.  One alone where the request as a whole
    # was refused.
    outcomes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=COMMANDS_MAX)]


class ReceiptSignature(Record):
    """One replica's signature under the receipt beside it."""

    replica: U16
    signature: IdentitySignature


class RequestReceipt(Record):
    """Exactly `weak` replicas' signatures under one and the same execution receipt."""

    TAG = "gristmill.request-receipt/1"

    execution: ExecutionReceipt
    # By replica, ascending.
    signatures: Annotated[tuple[ReceiptSignature, ...], Meta(min_length=1, max_length=1024)]
