"""Receipts that a third party believes: put together by a client, verified alone by anybody.

Pure: the genesis record's members are all that is needed, no network and no log.
"""

from collections.abc import Mapping

from bft.codec.canonical import decode, encode
from bft.codec.envelope import Envelope, open_as, pre_authentication_encoding
from bft.crypto.identity import verify
from bft.errors import DecodeError
from bft.membership import Membership
from chain.records.commands import COMMANDS_MAX
from chain.records.receipt import ExecutionReceipt, ReceiptSignature, RequestReceipt

EXECUTION_RECEIPT_BYTES_MAX = 1024 + COMMANDS_MAX * 70
"""Sealed, with as many of the longest outcomes as there can be."""
REQUEST_RECEIPT_BYTES_MAX = EXECUTION_RECEIPT_BYTES_MAX + 1024 * 80


def open_execution_receipt(data: bytes, membership: Membership) -> tuple[int, ExecutionReceipt]:
    """(replica, what it says) of a sealed receipt.

    Raises:
        DecodeError: malformed, of a stranger, or of another chain or epoch.
        BadSignature: the signature does not stand.
    """
    signer, receipt = open_as(ExecutionReceipt, data, bytes_max=EXECUTION_RECEIPT_BYTES_MAX)
    replica = membership.index_by_key.get(signer)
    if replica is None:
        raise DecodeError(f"a receipt of {signer.hex()[:16]}... came, who is no member")
    _check_place(receipt, membership)
    return replica, receipt


def join_receipts(sealed: Mapping[int, bytes], membership: Membership) -> bytes:
    """The encoded RequestReceipt of `weak` replicas' receipts that say the same.

    Args:
        sealed: replica -> its receipt, which `open_execution_receipt` has let in.
    """
    assert len(sealed) >= membership.weak, "one correct replica must be among them"
    chosen = sorted(sealed)[: membership.weak]
    envelopes = {replica: decode(Envelope, sealed[replica]) for replica in chosen}
    bodies = {envelope.body for envelope in envelopes.values()}
    assert len(bodies) == 1, "they must say the same"
    return encode(
        RequestReceipt(
            execution=decode(ExecutionReceipt, bodies.pop()),
            signatures=tuple(
                ReceiptSignature(replica=replica, signature=envelope.signature)
                for replica, envelope in envelopes.items()
            ),
        )
    )


def verify_receipt(data: bytes, membership: Membership) -> ExecutionReceipt:
    """What a correct member of `membership` has executed, by an encoded RequestReceipt.

    Whoever has the sealed request too compares its SHA-256 with `request`.

    Raises:
        DecodeError: malformed, of another chain or epoch, not exactly `weak` signatures, or
            replicas not strictly ascending.
        BadSignature: a signature does not stand under this receipt.
    """
    receipt = decode(RequestReceipt, data, bytes_max=REQUEST_RECEIPT_BYTES_MAX)
    _check_place(receipt.execution, membership)
    indices = [entry.replica for entry in receipt.signatures]
    if len(indices) != membership.weak:
        raise DecodeError(f"{len(indices)} signatures came; {membership.weak} expected")
    if sorted(set(indices)) != indices or indices[-1] >= membership.n:
        raise DecodeError("the signatures must be of distinct members, ascending by index")
    tag = ExecutionReceipt.TAG.encode()
    message = pre_authentication_encoding(tag, encode(receipt.execution))
    for entry in receipt.signatures:
        verify(membership.keys[entry.replica], entry.signature, message)
    return receipt.execution


def _check_place(receipt: ExecutionReceipt, membership: Membership) -> None:
    if (receipt.chain_id, receipt.epoch) != (membership.chain_id, membership.epoch):
        raise DecodeError(
            f"a receipt of chain {receipt.chain_id.hex()[:16]}, epoch {receipt.epoch}, came; "
            f"chain {membership.chain_id.hex()[:16]}, epoch {membership.epoch} expected"
        )
